"""Eq. 6 to 9."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import gradcheck

from tests.methods.panoptic.maps import array, mean_of_images, random_numbers
from tests.reference import panoptic_equations as loops
from upseg.methods.panoptic.equations import (
    aligned_disparity,
    log_metric_depth,
    median_and_scale,
    metric_depth,
    metric_depth_loss,
    relative_depth_loss,
)


def random_valid(seed: int, *shape: int) -> Tensor:
    """Some of the pixels, none of the last image."""
    valid = torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) < 0.6
    valid[-1] = False
    return valid


class TestMedianAndScale:
    def test_by_hand(self) -> None:
        disparity = torch.tensor([[0.5, 0.1, 0.9, 0.2, 0.0], [0.4, 0.1, 0.3, 0.2, 9.0], [1.0, 2.0, 3.0, 4.0, 5.0]])
        valid = torch.tensor([[True] * 5, [True, True, True, True, False], [False] * 5])
        median, scale = median_and_scale(disparity, valid)
        # of four values the lower one in the middle
        assert median.tolist() == pytest.approx([0.2, 0.2, 0])
        assert scale.tolist() == pytest.approx([(0.3 + 0.1 + 0.7 + 0 + 0.2) / 5, (0.2 + 0.1 + 0.1 + 0) / 4, 0])

    def test_aligned(self) -> None:
        disparity, valid = random_numbers(0, 3, 9), torch.ones(3, 9, dtype=torch.bool)
        median, scale = median_and_scale(aligned_disparity(disparity, valid), valid)
        assert median.tolist() == pytest.approx([0] * 3)
        assert scale.tolist() == pytest.approx([1] * 3)


class TestRelative:
    def test_by_hand(self) -> None:
        truth, guess = torch.tensor([[[0.0, 0.5, 1.0]]]), torch.tensor([[[0.0, 0.0, 3.0]]])
        # aligned: (-1.5, 0, 1.5) and (0, 0, 3)
        loss = relative_depth_loss(guess, truth, torch.ones(1, 1, 3, dtype=torch.bool))
        assert loss.item() == pytest.approx((1.5 + 0 + 1.5) / 3)

    def test_against_the_loop(self) -> None:
        guess, truth = random_numbers(0, 3, 4, 5), random_numbers(1, 3, 4, 5)
        valid = random_valid(2, 3, 4, 5)
        expected = [
            loops.relative_depth_loss(array(g), array(t), array(v)) for g, t, v in zip(guess, truth, valid, strict=True)
        ]
        assert expected[2] == 0
        assert relative_depth_loss(guess, truth, valid).item() == pytest.approx(mean_of_images(expected))

    @settings(max_examples=20, deadline=None)
    @given(shift=st.floats(-5, 5), scale=st.floats(0.1, 10), seed=st.integers(0, 2**16))
    def test_shift_and_scale_mean_nothing(self, shift: float, scale: float, seed: int) -> None:
        guess, truth = random_numbers(seed, 2, 3, 4), random_numbers(seed + 1, 2, 3, 4)
        valid = torch.ones(2, 3, 4, dtype=torch.bool)
        expected = relative_depth_loss(guess, truth, valid).item()
        assert relative_depth_loss(guess * scale + shift, truth, valid).item() == pytest.approx(expected)
        assert relative_depth_loss(truth * scale + shift, truth, valid).item() == pytest.approx(0, abs=1e-9)

    def test_gradient(self) -> None:
        truth, valid = random_numbers(1, 3, 3, 3), random_valid(2, 3, 3, 3)
        guess = random_numbers(0, 3, 3, 3).requires_grad_()
        assert gradcheck(lambda values: relative_depth_loss(values, truth, valid), guess)

    @pytest.mark.parametrize("unknown", [0.0, math.nan, math.inf])
    def test_what_unknown_depths_hold_means_nothing(self, unknown: float) -> None:
        truth, valid = random_numbers(1, 3, 3, 3), random_valid(2, 3, 3, 3)
        guess = random_numbers(0, 3, 3, 3).requires_grad_()
        expected = relative_depth_loss(guess, truth, valid)
        loss = relative_depth_loss(guess, truth.masked_fill(~valid, unknown), valid)
        loss.backward()
        assert loss.item() == expected.item()
        assert guess.grad is not None
        assert guess.grad.isfinite().all()
        assert guess.grad[~valid].eq(0).all()

    def test_constant_maps(self) -> None:
        guess = torch.full((2, 3, 3), 0.3, requires_grad=True)
        loss = relative_depth_loss(guess, torch.full((2, 3, 3), 0.7), torch.ones(2, 3, 3, dtype=torch.bool))
        loss.backward()
        assert loss == 0
        assert guess.grad is not None
        assert guess.grad.isfinite().all()


class TestMetric:
    def test_by_hand(self) -> None:
        guess, truth = torch.tensor([[[2.0, 1.0, 5.0]]]), torch.tensor([[[1.0, 2.0, 0.0]]])
        # δ = log 2 and -log 2: the mean of squares is log² 2, the mean 0
        loss = metric_depth_loss(guess.log(), truth, truth > 0)
        assert loss.item() == pytest.approx(math.log(2) ** 2)
        # δ = log 2 for both
        loss = metric_depth_loss(guess.log(), torch.tensor([[[1.0, 0.5, 0.0]]]), truth > 0)
        assert loss.item() == pytest.approx(math.log(2) ** 2 / 2)

    def test_against_the_loop(self) -> None:
        output, truth = random_numbers(0, 3, 4, 5), random_numbers(1, 3, 4, 5).abs() * 6
        truth[2] = 0
        truth[0, 0, :2] = torch.tensor([0.0005, 11.0])
        valid = (truth >= 0.001) & (truth <= 10)
        expected = [loops.metric_depth_loss(array(o), array(t), 10.0) for o, t in zip(output, truth, strict=True)]
        found = metric_depth_loss(log_metric_depth(output, 10.0), truth, valid)
        assert found.item() == pytest.approx(mean_of_images(expected))

    def test_with_full_invariance_scale_means_nothing(self) -> None:
        guess, truth = random_numbers(0, 2, 3, 4), random_numbers(1, 2, 3, 4).exp()
        valid = torch.ones(2, 3, 4, dtype=torch.bool)
        expected = metric_depth_loss(guess, truth, valid, invariance=1.0)
        assert metric_depth_loss(guess + 2, truth, valid, invariance=1.0).item() == pytest.approx(expected.item())
        assert metric_depth_loss(guess + 2, truth, valid) != metric_depth_loss(guess, truth, valid)

    def test_gradient(self) -> None:
        truth, valid = random_numbers(1, 3, 3, 3).exp(), random_valid(2, 3, 3, 3)
        output = random_numbers(0, 3, 3, 3).requires_grad_()
        assert gradcheck(lambda v: metric_depth_loss(log_metric_depth(v, 10.0), truth, valid), output)

    def test_depth_of_an_output(self) -> None:
        assert metric_depth(torch.tensor([0.0, 100.0, -100.0]), 10.0).tolist() == pytest.approx([5, 10, 0])
        output = torch.linspace(-20, 20, 9)
        assert torch.allclose(log_metric_depth(output, 10.0), metric_depth(output, 10.0).log(), atol=1e-5)

    def test_outputs_beyond_the_sigmoid_still_learn(self) -> None:
        output = torch.full((1, 2, 2), -200.0, requires_grad=True)
        truth = torch.ones(1, 2, 2)
        metric_depth_loss(log_metric_depth(output, 10.0), truth, truth > 0).backward()
        assert output.grad is not None
        assert output.grad.isfinite().all()
        assert output.grad.lt(0).all()
