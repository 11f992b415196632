"""Eq. 1 to 5 and 7: values by hand, loops, gradients."""

import math

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck
from torch.nn.functional import conv2d

from tests.methods.baiseg.maps import SIZE, numbers, truth
from tests.reference import baiseg as loops
from upseg.methods.baiseg import equations as eq
from upseg.methods.baiseg.equations import balance, boundary_loss, semantic_loss


class TestBoundaryLoss:
    def test_by_hand(self) -> None:
        """One boundary of four pixels: alpha is 3/4, and so each kind weighs 3/4."""
        logits = torch.tensor([[[[0.0, 0.0, 0.0, 0.0]]]])
        boundary = torch.tensor([[[True, False, False, False]]])
        loss = boundary_loss(logits, boundary, torch.ones_like(boundary))
        assert loss.item() == pytest.approx((0.75 * math.log(2) + 3 * 0.25 * math.log(2)) / 4)

    def test_against_the_loop(self) -> None:
        targets, logits = truth(0), numbers(1, 3, 1, *SIZE) * 3
        expected = [
            loops.boundary_loss(logits[b, 0].numpy(), targets["boundary"][b].numpy(), targets["valid"][b].numpy())
            for b in range(3)
        ]
        assert expected[0] != expected[1]
        found = boundary_loss(logits, targets["boundary"], targets["valid"])
        assert found.item() == pytest.approx(sum(expected) / 3)

    def test_gradient(self) -> None:
        targets = truth(0, (2, 3))
        logits = numbers(1, 3, 1, 2, 3).requires_grad_()
        assert gradcheck(lambda x: boundary_loss(x, targets["boundary"], targets["valid"]), logits)

    @pytest.mark.parametrize("value", [1e4, -1e4])
    def test_sure_and_wrong_is_finite(self, value: float) -> None:
        logits = torch.full((1, 1, 1, 2), value).requires_grad_()
        boundary = torch.tensor([[[True, False]]])
        loss = boundary_loss(logits, boundary, torch.ones_like(boundary))
        loss.backward()
        assert loss.item() == pytest.approx(1e4 / 2 / 2)
        assert logits.grad is not None
        assert logits.grad.isfinite().all()

    def test_both_kinds_have_the_same_say(self) -> None:
        """At the start, when all logits are equal, the gradients of the two kinds cancel out."""
        boundary = torch.rand(1, 20, 20, generator=torch.Generator().manual_seed(0)) < 0.1
        logits = torch.zeros(1, 1, 20, 20, dtype=torch.float64, requires_grad=True)
        boundary_loss(logits, boundary, torch.ones_like(boundary)).backward()
        assert logits.grad is not None
        assert logits.grad[0, 0][boundary[0]].sum().item() == pytest.approx(
            -logits.grad[0, 0][~boundary[0]].sum().item(), rel=1e-5
        )
        assert logits.grad[0, 0][boundary[0]].lt(0).all()

    @pytest.mark.parametrize(("value", "alpha"), [(False, 1.0), (True, 0.0)])
    def test_images_of_one_kind_teach_nothing(self, value: bool, alpha: float) -> None:
        boundary = torch.full((1, 3, 3), value)
        assert balance(boundary, torch.ones_like(boundary)).tolist() == [alpha]
        assert boundary_loss(numbers(0, 1, 1, 3, 3), boundary, torch.ones_like(boundary)).item() == 0

    def test_pixels_that_are_not_valid_have_no_say(self) -> None:
        targets = truth(0)
        logits = numbers(1, 3, 1, *SIZE).requires_grad_()
        loss = boundary_loss(logits, targets["boundary"], targets["valid"])
        loss.backward()
        assert logits.grad is not None
        assert logits.grad[:, 0][~targets["valid"]].eq(0).all()
        assert logits.grad[:, 0][targets["valid"]].ne(0).all()
        other = boundary_loss(logits, targets["boundary"] ^ ~targets["valid"], targets["valid"])
        assert other.item() == loss.item()

    def test_the_order_of_pixels_does_not_matter(self) -> None:
        targets, logits = truth(0), numbers(1, 3, 1, *SIZE)
        maps = (logits, targets["boundary"], targets["valid"])
        turned = boundary_loss(*(values.flip(-1) for values in maps))
        assert turned.item() == pytest.approx(boundary_loss(*maps).item())


class TestSemanticLoss:
    def test_against_the_loop(self) -> None:
        logits, classes = numbers(0, 3, 4, *SIZE), truth(1)["classes"]
        expected = [loops.cross_entropy(logits[b].numpy(), classes[b].numpy()) for b in range(3)]
        assert semantic_loss(logits, classes).item() == pytest.approx(sum(expected) / 3)
        of_first = torch.nn.functional.cross_entropy(logits[:1], classes[:1], ignore_index=-1)
        assert of_first.item() == pytest.approx(expected[0])

    def test_gradient(self) -> None:
        classes = truth(1, (2, 2))["classes"]
        assert gradcheck(lambda x: semantic_loss(x, classes), numbers(0, 3, 4, 2, 2).requires_grad_())

    def test_nothing_labelled(self) -> None:
        logits = numbers(0, 2, 3, 1, 1).requires_grad_()
        loss = semantic_loss(logits, torch.full((2, 1, 1), -1))
        loss.backward()
        assert loss.item() == 0
        assert logits.grad is not None
        assert logits.grad.eq(0).all()


class TestAttention:
    def test_by_hand(self) -> None:
        features = torch.tensor([[[[2.0, -4.0]]]])
        channel = eq.channel_attention(features, lambda pooled: pooled * math.log(3))  # -1 + 2
        assert channel.item() == pytest.approx(0.75)
        spatial = eq.spatial_attention(features, lambda pooled: (pooled.sum(1, keepdim=True) - 4) * math.log(3) / 12)
        assert spatial.flatten().tolist() == pytest.approx([0.5, 0.25])
        found = eq.mutual_attention(
            features,
            lambda pooled: pooled * math.log(3),
            lambda pooled: (pooled.sum(1, keepdim=True) - 4) * math.log(3) / 12,
            lambda given: given * 3 + 0.5,
            torch.tensor([0.1]),
        )
        assert found.flatten().tolist() == pytest.approx([6.5 + 0.1 * 2 * 1.25, -11.5 - 0.1 * 4 * 1.0])

    def test_against_the_loops(self) -> None:
        features, response = numbers(3, 2, 3, 4, 5), numbers(2, 2, 1, 4, 5)
        weight, bias, beta = numbers(4, 3, 3, 1, 1), numbers(5, 3), numbers(6, 1)[0]
        found = eq.mutual_attention(
            features, lambda p: 2 * p, lambda p: response, lambda f: conv2d(f, weight, bias), beta
        )
        for b in range(2):
            pooled = 2 * features[b].mean((1, 2)), 2 * features[b].amax((1, 2))
            by_channel = loops.channel_attention(*(values.numpy() for values in pooled))
            by_place = [[loops.sigmoid(value) for value in row] for row in response[b, 0].tolist()]
            kept = loops.identity_transform(features[b].numpy(), weight[:, :, 0, 0].numpy(), bias.numpy())
            expected = loops.mutual_attention(
                features[b].numpy(), by_channel, torch.tensor(by_place).numpy(), kept, beta.item()
            )
            torch.testing.assert_close(found[b], torch.from_numpy(expected), rtol=1e-6, atol=1e-6)

    def test_gradients(self) -> None:
        def attended(features: Tensor, places: Tensor, weight: Tensor, beta: Tensor) -> Tensor:
            return eq.mutual_attention(
                features, torch.tanh, lambda p: conv2d(p, places), lambda f: conv2d(f, weight), beta
            )

        shapes = ((1, 2, 2, 3), (1, 2, 1, 1), (2, 2, 1, 1), (1,))
        assert gradcheck(attended, tuple(numbers(i, *shape).requires_grad_() for i, shape in enumerate(shapes)))

    def test_without_beta_only_the_identity_is_left(self) -> None:
        features, zero = numbers(0, 1, 2, 3, 3), torch.zeros((), dtype=torch.float64)
        found = eq.mutual_attention(features, torch.tanh, lambda p: p.sum(1, keepdim=True), torch.neg, zero)
        assert torch.equal(found, -features)


class TestTotal:
    def test_the_weights_of_the_paper(self) -> None:
        one, two, three = (torch.tensor(value) for value in (1.0, 2.0, 3.0))
        assert eq.total_loss(one, two, three).item() == pytest.approx(0.3 * 1 + 50 * 2 + 1 * 3)
        assert eq.total_loss(one, two, three, (2.0, 0.0, 0.5)).item() == pytest.approx(2 + 1.5)

    def test_gradient(self) -> None:
        terms = tuple(numbers(seed, 1)[0].requires_grad_() for seed in range(3))
        assert gradcheck(eq.total_loss, terms)
