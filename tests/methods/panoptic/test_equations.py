"""Eq. 1 to 5, 10 and 11: values by hand, loops, gradients."""

import math

import pytest
import torch
from torch.autograd import gradcheck
from torch.nn import functional as F

from tests.methods.panoptic.maps import array, mean_of_images, random_numbers, random_truth
from tests.reference import panoptic_equations as loops
from upseg.methods.panoptic import equations as eq
from upseg.methods.panoptic.equations import (
    centre_embedding,
    cross_entropy,
    embedding_distance,
    positional_embedding,
    semantic_smoothness,
    total_variation,
    weighted_pixel_mean,
)


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


class TestEdgeDistanceSampling:
    def test_by_hand(self) -> None:
        found = eq.edge_distance_weights(torch.tensor([0.0, 20.0, 40.0, math.inf]))
        assert found.tolist() == pytest.approx([1, math.exp(-1), math.exp(-4), 0])
        found = eq.edge_distance_weights(torch.tensor([0.0, 3.0, math.inf]), minimum=0.2, reach=3.0)
        assert found.tolist() == pytest.approx([1, 0.2 + 0.8 * math.exp(-1), 0.2])

    @pytest.mark.parametrize("minimum", [0.0, 0.3])
    def test_against_the_loop(self, minimum: float) -> None:
        distances = random_numbers(0, 30).abs() * 20
        found = eq.edge_distance_weights(distances, minimum, 12.0)
        assert found.tolist() == pytest.approx([loops.edge_weight(d, minimum, 12.0) for d in distances.tolist()])

    def test_gradient(self) -> None:
        assert gradcheck(lambda d: eq.edge_distance_weights(d, 0.1, 3.0), random_numbers(0, 5).requires_grad_())


class TestWeightedMean:
    def test_by_hand(self) -> None:
        losses = torch.tensor([[[1.0, 2.0, 30.0]], [[5.0, 6.0, 7.0]], [[1.0, 1.0, 1.0]]])
        weights = torch.tensor([[[1.0, 0.5, 0.0]], [[0.0, 0.0, 1.0]], [[0.0, 0.0, 0.0]]])
        # the last image has no weight and counts as 0
        assert weighted_pixel_mean(losses, weights).item() == pytest.approx((2 / 1.5 + 7 + 0) / 3)

    def test_scale_of_the_weights_means_nothing(self) -> None:
        losses, weights = random_numbers(0, 2, 3, 4).abs(), random_numbers(1, 2, 3, 4).abs()
        expected = weighted_pixel_mean(losses, weights)
        assert weighted_pixel_mean(losses, weights * 1e-9).item() == pytest.approx(expected.item())

    def test_gradient(self) -> None:
        weights = random_numbers(1, 2, 3, 4).abs()
        weights[1] = 0
        losses = random_numbers(0, 2, 3, 4).requires_grad_()
        assert gradcheck(lambda values: weighted_pixel_mean(values, weights), losses)


class TestCrossEntropy:
    def test_agrees_with_torch(self) -> None:
        logits, labels = random_numbers(0, 2, 5, 3, 4), torch.randint(0, 5, (2, 3, 4))
        expected = F.cross_entropy(logits, labels, reduction="none")
        assert torch.allclose(cross_entropy(logits.log_softmax(1), labels), expected)

    def test_unlabelled_pixels_have_a_finite_loss(self) -> None:
        logits = random_numbers(0, 1, 5, 1, 2)
        found = cross_entropy(logits.log_softmax(1), torch.tensor([[[-1, -7]]]))
        assert torch.equal(found, -logits.log_softmax(1)[:, 0])


class TestTotalVariation:
    MAP = torch.tensor([[[[0.0, 9.0, 2.0], [9.0, 0.0, 3.0]], [[0.0, 0.0, 0.0], [0.0, 4.0, 0.0]]]])

    def test_by_hand(self) -> None:
        # two pixels have both neighbours: (0, 4) with (9, 0) above and left, (3, 0) with (2, 0) above and (0, 4) left
        expected = (math.hypot(9, 4) * 2 + 1 + 5) / 2
        assert total_variation(self.MAP).item() == pytest.approx(expected)

    def test_turning_the_image_round_changes_which_pixels_count(self) -> None:
        """The two last rows and columns are not interchangeable, as the equation has it; transposing is."""
        values = random_numbers(0, 2, 4, 5, 6)
        assert total_variation(values).item() == pytest.approx(total_variation(values.mT).item())

    def test_constant_maps_have_none_and_no_gradient(self) -> None:
        values = torch.ones(1, 4, 3, 3, requires_grad=True)
        loss = total_variation(values)
        loss.backward()
        assert loss == 0
        assert values.grad is not None
        assert values.grad.eq(0).all()

    def test_gradient(self) -> None:
        assert gradcheck(total_variation, random_numbers(0, 2, 4, 3, 3).requires_grad_())


class TestSmoothness:
    def test_by_hand(self) -> None:
        probabilities = torch.tensor([[0.5, 0.25], [0.25, 0.5]])
        maps = torch.stack([probabilities, 1 - probabilities])[None].log()
        # one pixel, (½, ½), has both neighbours below and right: both (¼, ¾)
        expected = -0.5 * math.log(0.25) - 0.5 * math.log(0.75)
        assert semantic_smoothness(maps).item() == pytest.approx(expected)

    def test_against_the_loop(self) -> None:
        logits = random_numbers(0, 3, 4, 5, 4)
        expected = mean_of_images([loops.smoothness(array(image)) for image in logits])
        assert semantic_smoothness(logits.log_softmax(1)).item() == pytest.approx(expected)

    def test_certain_and_equal_neighbours_cost_nothing(self) -> None:
        logits = torch.zeros(1, 3, 4, 4)
        logits[:, 1] = 200
        assert semantic_smoothness(logits.log_softmax(1)).item() == 0

    def test_gradient(self) -> None:
        logits = random_numbers(0, 2, 3, 3, 3).requires_grad_()
        assert gradcheck(lambda values: semantic_smoothness(values.log_softmax(1)), logits)


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (5, 1)])
def test_maps_without_inner_pixels(size: tuple[int, int]) -> None:
    values = torch.randn(2, 4, *size, requires_grad=True)
    loss = total_variation(values) + semantic_smoothness(values.log_softmax(1))
    loss.backward()
    assert loss == 0
    assert values.grad is not None
    assert values.grad.eq(0).all()
