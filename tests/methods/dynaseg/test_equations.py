"""The equations: values by hand, the loops, gradients, invariances, degenerate images; the fused loss."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck

from tests.reference import dynaseg as loops
from upseg.methods.dynaseg import equations as eq
from upseg.methods.dynaseg import losses as fused

# one row of three pixels, two channels: the differences are |1 - 3|, |3 - 3| and |0 - 1|, |1 - -1|
HAND = torch.tensor([[[[1.0, 3.0, 3.0]], [[0.0, 1.0, -1.0]]]], dtype=torch.float64)

seeds = st.integers(0, 2**32 - 1)
shapes = st.tuples(st.integers(1, 2), st.integers(1, 4), st.integers(1, 4), st.integers(1, 4))


def random_response(seed: int, shape: tuple[int, ...], scale: float = 2.0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * scale


def total(response: torch.Tensor, labels: torch.Tensor, weight: float) -> torch.Tensor:
    return eq.total_loss(eq.feature_similarity_loss(response, labels), eq.spatial_continuity_loss(response), weight)


def gradient_of(loss: torch.Tensor, response: torch.Tensor) -> torch.Tensor:
    return torch.autograd.grad(loss, response)[0]


class TestHandComputed:
    def test_labels_and_their_number(self) -> None:
        response = torch.tensor([[[[0.0, 2.0]], [[1.0, 2.0]], [[1.0, 5.0]]]])
        labels = eq.cluster_labels(response)
        assert labels.tolist() == [[[1, 2]]]  # the lowest channel wins the tie
        assert eq.labels_in_use(labels, 3).sum().item() == 2

    def test_equation_1(self) -> None:
        expected = (math.log(1 + math.exp(-1)) + math.log(1 + math.exp(-2)) + math.log(1 + math.exp(-4))) / 3
        value = eq.feature_similarity_loss(HAND, eq.cluster_labels(HAND))
        assert value.item() == pytest.approx(expected, rel=1e-12)

    def test_equation_1_with_other_labels(self) -> None:
        uniform = torch.zeros(1, 4, 2, 2)
        assert eq.feature_similarity_loss(uniform, torch.tensor([[[0, 1], [2, 3]]])).item() == pytest.approx(
            math.log(4)
        )

    def test_equations_2_and_4(self) -> None:
        assert eq.horizontal_differences(HAND).tolist() == [[[[2.0, 0.0]], [[1.0, 2.0]]]]
        assert eq.horizontal_norm(HAND).item() == 5 / 4
        assert eq.vertical_norm(HAND).item() == 0.0

    def test_equations_3_and_5(self) -> None:
        turned = HAND.transpose(2, 3)
        assert eq.vertical_differences(turned).tolist() == [[[[2.0], [0.0]], [[1.0], [2.0]]]]
        assert eq.vertical_norm(turned).item() == 5 / 4
        assert eq.horizontal_norm(turned).item() == 0.0

    def test_equation_6(self) -> None:
        square = torch.tensor([[[[0.0, 1.0], [4.0, 2.0]]]])
        assert eq.spatial_continuity_loss(square).item() == (1 + 2) / 2 + (4 + 1) / 2

    def test_equation_7(self) -> None:
        assert eq.total_loss(torch.tensor(1.5), torch.tensor(2.0), 0.25).item() == 2.0

    def test_equations_8_and_9(self) -> None:
        assert eq.feature_similarity_focus_weight(30) == 2.0
        assert eq.spatial_continuity_focus_weight(25) == 2.0
        assert eq.fixed_weight(25) == 5.0


class TestAgainstTheLoops:
    @settings(max_examples=30, deadline=None)
    @given(seed=seeds, shape=shapes)
    def test_equations_1_to_6(self, seed: int, shape: tuple[int, int, int, int]) -> None:
        response = random_response(seed, shape)
        nested = response.tolist()
        labels = eq.cluster_labels(response)
        assert labels.tolist() == loops.cluster_labels(nested)
        assert eq.feature_similarity_loss(response, labels).item() == pytest.approx(
            loops.feature_similarity_loss(nested, labels.tolist()), abs=1e-12
        )
        assert eq.horizontal_differences(response).tolist() == loops.horizontal_differences(nested)
        assert eq.vertical_differences(response).tolist() == loops.vertical_differences(nested)
        for name in ("horizontal_norm", "vertical_norm", "spatial_continuity_loss"):
            assert getattr(eq, name)(response).item() == pytest.approx(getattr(loops, name)(nested), abs=1e-12)

    @settings(max_examples=30, deadline=None)
    @given(seed=seeds, shape=shapes, weighting=st.sampled_from(["fsf", "scf", "fixed"]), alpha=st.floats(0.5, 100))
    def test_equations_7_to_9(self, seed: int, shape: tuple[int, int, int, int], weighting: str, alpha: float) -> None:
        response = random_response(seed, shape)
        labels = eq.cluster_labels(response)
        used = len(set(labels.flatten().tolist()))
        assert eq.labels_in_use(labels, shape[1]).sum().item() == used
        weight = eq.WEIGHTINGS[weighting](used, alpha)
        assert weight == pytest.approx(loops.balance(weighting, used, alpha))
        assert total(response, labels, weight).item() == pytest.approx(
            loops.total_loss(response.tolist(), weight), abs=1e-10
        )


class TestGradients:
    @pytest.mark.parametrize("shape", [(1, 3, 3, 4), (2, 2, 1, 3), (1, 4, 1, 1)])
    def test_gradcheck(self, shape: tuple[int, ...]) -> None:
        response = random_response(3, shape).requires_grad_()
        labels = eq.cluster_labels(response)
        assert gradcheck(lambda r: eq.feature_similarity_loss(r, labels), response)
        assert gradcheck(eq.spatial_continuity_loss, response)
        assert gradcheck(lambda r: total(r, labels, 2.5), response)
        assert gradcheck(lambda r: fused.fused_total_loss(r, labels, 2.5), response)

    def test_continuity_carries_gradient(self) -> None:
        response = HAND.clone().requires_grad_()
        gradient = gradient_of(eq.spatial_continuity_loss(response), response)
        # each of the four differences weighs 1/4: down for the lower side, up for the higher; equal pixels get none
        assert gradient.tolist() == [[[[-0.25, 0.25, 0.0]], [[-0.25, 0.5, -0.25]]]]

    def test_continuity_moves_the_total(self) -> None:
        response = random_response(5, (1, 3, 4, 4)).requires_grad_()
        labels = eq.cluster_labels(response)
        with_it, without = (gradient_of(total(response, labels, weight), response) for weight in (2.0, 0.0))
        continuity = gradient_of(eq.spatial_continuity_loss(response), response)
        assert continuity.abs().max() > 0
        torch.testing.assert_close(with_it - without, 2 * continuity)

    def test_labels_carry_none(self) -> None:
        assert not eq.cluster_labels(HAND.clone().requires_grad_()).requires_grad


class TestInvariances:
    @settings(max_examples=20, deadline=None)
    @given(seed=seeds, shape=shapes)
    def test_similarity_does_not_see_where_pixels_are(self, seed: int, shape: tuple[int, int, int, int]) -> None:
        response = random_response(seed, shape)
        order = torch.randperm(shape[2] * shape[3], generator=torch.Generator().manual_seed(seed))
        shuffled = response.flatten(2)[:, :, order].reshape(shape)
        before, after = (eq.feature_similarity_loss(r, eq.cluster_labels(r)) for r in (response, shuffled))
        torch.testing.assert_close(before, after)

    @settings(max_examples=20, deadline=None)
    @given(seed=seeds, shape=shapes, weight=st.floats(0, 10))
    def test_flips_and_channel_order(self, seed: int, shape: tuple[int, int, int, int], weight: float) -> None:
        response = random_response(seed, shape)
        order = torch.randperm(shape[1], generator=torch.Generator().manual_seed(seed))
        expected = total(response, eq.cluster_labels(response), weight)
        for other in (response.flip(2), response.flip(3), response[:, order]):
            torch.testing.assert_close(total(other, eq.cluster_labels(other), weight), expected)
        turned = response.transpose(2, 3)
        torch.testing.assert_close(eq.horizontal_norm(turned), eq.vertical_norm(response))

    def test_similarity_ignores_a_shift_and_continuity_scales(self) -> None:
        response = random_response(1, (1, 3, 4, 5))
        labels = eq.cluster_labels(response)
        torch.testing.assert_close(
            eq.feature_similarity_loss(response + 7, labels), eq.feature_similarity_loss(response, labels)
        )
        torch.testing.assert_close(
            eq.spatial_continuity_loss(-3 * response + 7), 3 * eq.spatial_continuity_loss(response)
        )


class TestDegenerate:
    @pytest.mark.parametrize("shape", [(1, 3, 1, 1), (1, 3, 1, 5), (1, 3, 5, 1), (1, 1, 3, 3)])
    def test_small_images_give_finite_values_and_gradients(self, shape: tuple[int, ...]) -> None:
        response = random_response(2, shape).requires_grad_()
        labels = eq.cluster_labels(response)
        for loss in (total(response, labels, 4.0), fused.fused_total_loss(response, labels, 4.0)):
            assert torch.isfinite(loss)
            assert torch.isfinite(gradient_of(loss, response)).all()
        assert (eq.horizontal_norm(response).item() == 0) == (shape[3] == 1)
        assert (eq.vertical_norm(response).item() == 0) == (shape[2] == 1)

    def test_one_label_without_doubt_costs_nothing(self) -> None:
        response = torch.zeros(1, 3, 4, 4)
        response[:, 1] = 200.0
        labels = eq.cluster_labels(response)
        assert eq.labels_in_use(labels, 3).sum().item() == 1
        assert total(response, labels, 10.0).item() == 0.0

    def test_constant_response(self) -> None:
        response = torch.full((1, 5, 3, 3), 0.7)
        assert eq.spatial_continuity_loss(response).item() == 0.0
        assert eq.feature_similarity_loss(response, eq.cluster_labels(response)).item() == pytest.approx(math.log(5))

    @pytest.mark.parametrize("name", ["fsf", "scf", "fixed"])
    def test_weightings_refuse_what_cannot_be(self, name: str) -> None:
        with pytest.raises(ValueError, match="alpha must be greater than 0, got 0"):
            eq.WEIGHTINGS[name](3, 0.0)
        with pytest.raises(ValueError, match="must be at least 1, got 0"):
            eq.WEIGHTINGS[name](0, 1.0)

    def test_weightings_take_tensors(self) -> None:
        count = eq.labels_in_use(torch.tensor([[[0, 3], [3, 7]]]), 10).sum()
        assert float(eq.feature_similarity_focus_weight(count, 15.0)) == pytest.approx(3 / 15)
        assert float(eq.spatial_continuity_focus_weight(count, 50.0)) == pytest.approx(50 / 3)


class TestFusedLoss:
    @settings(max_examples=30, deadline=None)
    @given(seed=seeds, shape=shapes, weight=st.floats(0, 20), strip=st.sampled_from([1, 9, 10**6]))
    def test_values_and_gradients(self, seed: int, shape: tuple[int, ...], weight: float, strip: int) -> None:
        response = random_response(seed, shape).requires_grad_()
        labels = eq.cluster_labels(response)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(fused, "CPU_STRIP_ELEMENTS", strip)
            loss = fused.fused_total_loss(response, labels, weight)
        expected = total(response, labels, weight)
        torch.testing.assert_close(loss, expected)
        torch.testing.assert_close(gradient_of(loss, response), gradient_of(expected, response))

    def test_any_labels_and_outer_gradient(self) -> None:
        response = random_response(8, (2, 3, 4, 5), scale=300.0).requires_grad_()  # softmax underflows
        labels = torch.randint(0, 3, (2, 4, 5), generator=torch.Generator().manual_seed(0))
        loss, expected = fused.fused_total_loss(response, labels, 3.0), total(response, labels, 3.0)
        assert torch.isfinite(loss)
        torch.testing.assert_close(gradient_of(loss * -2, response), gradient_of(expected * -2, response))

    @pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
    def test_weight_as_a_tensor(self, memory_format: torch.memory_format) -> None:
        response = random_response(4, (1, 5, 6, 7)).float().contiguous(memory_format=memory_format).requires_grad_()
        labels = eq.cluster_labels(response)
        weight = eq.feature_similarity_focus_weight(eq.labels_in_use(labels, 5).sum())
        loss, expected = fused.fused_total_loss(response, labels, weight), total(response, labels, float(weight))
        torch.testing.assert_close(loss, expected)
        torch.testing.assert_close(gradient_of(loss, response), gradient_of(expected, response))

    def test_bfloat16_is_summed_in_float32(self) -> None:
        exact = random_response(6, (1, 4, 64, 64)).to(torch.bfloat16)
        response = exact.clone().contiguous(memory_format=torch.channels_last).requires_grad_()
        labels = eq.cluster_labels(response)
        loss = fused.fused_total_loss(response, labels, 2.0)
        plain = exact.float().requires_grad_()
        expected = total(plain, labels, 2.0)
        assert loss.dtype == torch.float32
        torch.testing.assert_close(loss, expected)
        torch.testing.assert_close(total(response, labels, 2.0), expected)
        gradient = gradient_of(loss, response)
        assert gradient.dtype == torch.bfloat16
        torch.testing.assert_close(gradient.float(), gradient_of(expected, plain), rtol=2**-8, atol=0)
