"""Eq. 2 to 4: values by hand, loops, gradients."""

import math

import pytest
import torch
from torch.autograd import gradcheck

from tests.methods.panoptic.maps import array, random_numbers, random_truth
from tests.reference import panoptic_equations as loops
from upseg.methods.panoptic.positional import centre_embedding, embedding_distance, positional_embedding


def test_embedding_by_hand() -> None:
    found = positional_embedding(torch.tensor([0.5, -0.25]), 2)
    half = math.sqrt(0.5)
    assert found[0].tolist() == pytest.approx([1, 0, 0, -1], abs=1e-6)  # π/2, π
    assert found[1].tolist() == pytest.approx([-half, half, -1, 0], abs=1e-6)  # -π/4, -π/2


def test_embedding_against_the_loop() -> None:
    coordinates = torch.linspace(-1, 1, 11, dtype=torch.float64)
    found = positional_embedding(coordinates, 4)
    for row, coordinate in zip(found.tolist(), coordinates.tolist(), strict=True):
        assert row == pytest.approx(loops.gamma(coordinate, 4), abs=1e-12)


@pytest.mark.parametrize("dim", [0, 1, 2, -1, -2])
def test_embedding_goes_where_it_is_asked_to(dim: int) -> None:
    coordinates = random_numbers(0, 2, 3)
    found = positional_embedding(coordinates, 4, dim)
    assert torch.equal(found.movedim(dim, -1), positional_embedding(coordinates, 4))


def test_the_norm_is_the_root_of_the_frequencies_and_the_ends_are_one() -> None:
    found = positional_embedding(torch.linspace(-1, 1, 21, dtype=torch.float64), 5)
    assert torch.allclose(found.norm(dim=1), torch.tensor(math.sqrt(5), dtype=torch.float64))
    assert torch.allclose(found[0], found[-1])


def test_contrast_of_distances_is_that_of_the_paper() -> None:
    """Sec. 4: over 80 cells the farthest is some 5 times as far as the nearest, against 79 times for the coordinate."""
    codes = positional_embedding((2 * torch.arange(80, dtype=torch.float64) + 1) / 80 - 1, 4)
    distances = torch.cdist(codes, codes)[0, 1:]
    assert 3.5 < distances.max() / distances.min() < 6


def test_centres_by_hand() -> None:
    centres = torch.tensor([0.5, 0.0])[None, :, None, None].expand(1, 2, 1, 2)
    found = centre_embedding(centres, torch.tensor([[[True, False]]]), 1)
    assert found[0, :, 0, 0].tolist() == pytest.approx([1, 0, 0, 1], abs=1e-6)
    assert found[0, :, 0, 1].eq(0).all()


def test_distance_by_hand() -> None:
    truth = torch.tensor([3.0, 4.0, 0.0, 1.0])[None, :, None, None]
    assert embedding_distance(torch.zeros(1, 4, 1, 1), truth).item() == pytest.approx((5 + 1) / 2)


def test_distance_against_the_loop() -> None:
    truth, predicted = random_truth(0), random_numbers(1, 3, 12, 5, 4)
    found = embedding_distance(predicted, centre_embedding(truth.centres, truth.inside, 3))
    encoding = loops.Positional(3, (2, 2))
    for image in range(3):
        inside, centres = array(truth.inside[image]), array(truth.centres[image])
        for pixel in loops.pixels_of(inside):
            vector = loops.vector_at(array(predicted[image]), pixel)
            expected = encoding.loss(vector, loops.centre_of(centres, inside, pixel))
            assert found[image][pixel].item() == pytest.approx(expected)


def test_gradients() -> None:
    predicted, truth = random_numbers(0, 2, 4, 2, 3).requires_grad_(), random_numbers(1, 2, 4, 2, 3)
    assert gradcheck(embedding_distance, (predicted, truth))
    assert gradcheck(lambda p: positional_embedding(p, 3), random_numbers(2, 4).requires_grad_())


def test_no_gradient_where_the_prediction_is_right() -> None:
    predicted = random_numbers(0, 1, 4, 2, 2).requires_grad_()
    embedding_distance(predicted, predicted.detach().clone()).sum().backward()
    assert predicted.grad is not None
    assert predicted.grad.eq(0).all()
