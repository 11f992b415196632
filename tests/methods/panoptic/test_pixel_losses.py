"""Eq. 1, 10, 11 and the cross-entropy."""

import math

import pytest
import torch
from torch.autograd import gradcheck
from torch.nn import functional as F

from tests.methods.panoptic.maps import array, mean_of_images, random_numbers
from tests.reference import panoptic_equations as loops
from upseg.methods.panoptic.pixel_losses import (
    cross_entropy,
    semantic_smoothness,
    total_variation,
    weighted_pixel_mean,
)


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

    def test_groups_by_hand(self) -> None:
        expected = ((9 + 4) * 2 + 1 + (3 + 4)) / 2
        assert total_variation(self.MAP, groups=2).item() == pytest.approx(expected)

    def test_turning_the_image_round_changes_which_pixels_count(self) -> None:
        """The two last rows and columns are not interchangeable, as the equation has it; transposing is."""
        values = random_numbers(0, 2, 4, 5, 6)
        assert total_variation(values).item() == pytest.approx(total_variation(values.mT).item())

    def test_constant_maps_have_none_and_no_gradient(self) -> None:
        values = torch.ones(1, 4, 3, 3, requires_grad=True)
        loss = total_variation(values, groups=2)
        loss.backward()
        assert loss == 0
        assert values.grad is not None
        assert values.grad.eq(0).all()

    def test_gradient(self) -> None:
        assert gradcheck(lambda v: total_variation(v, 2), random_numbers(0, 2, 4, 3, 3).requires_grad_())


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
    loss = total_variation(values, 2) + semantic_smoothness(values.log_softmax(1))
    loss.backward()
    assert loss == 0
    assert values.grad is not None
    assert values.grad.eq(0).all()
