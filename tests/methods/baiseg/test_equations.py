"""Eq. 1 to 5, 7 and 8, and the loss of a batch: values by hand, loops, gradients, outputs on and off, errors."""

import math

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck

from tests.reference import baiseg as loops
from upseg.methods.baiseg import equations as eq
from upseg.methods.baiseg.contrast import pixel_contrast
from upseg.methods.baiseg.equations import BaisegLosses, LossWeights, baiseg_losses
from upseg.methods.baiseg.pixel_losses import balance, boundary_loss, semantic_loss

SIZE = (6, 8)
TERM_OF = {"boundary": "boundary", "semantic": "semantic", "projection": "contrast"}
EVERY_PAIR = LossWeights(anchors=1000, keys=1000)
"""Nothing is drawn from small maps, so the loss does not depend on any generator."""


def numbers(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def truth(seed: int, size: tuple[int, int] = SIZE) -> dict[str, Tensor]:
    """Targets of three images; the last is not labelled at all."""
    generator = torch.Generator().manual_seed(seed)
    boundary = torch.rand(3, *size, generator=generator) < 0.3
    valid = torch.rand(3, *size, generator=generator) < 0.8
    classes = torch.randint(-1, 4, (3, *size), generator=generator)
    valid[2], classes[2] = False, -1
    return {"boundary": boundary, "valid": valid, "classes": classes}


def outputs_of(size: tuple[int, int] = SIZE, dimensions: int = 2) -> dict[str, Tensor]:
    return {
        "boundary": numbers(1, 3, 1, *size),
        "semantic": numbers(2, 3, 4, *size),
        "projection": numbers(3, 3, dimensions, size[0] // 2, size[1] // 2),
    }


def values_of(losses: BaisegLosses) -> dict[str, float]:
    return {name: value.item() for name, value in losses.terms().items()}


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
        half = torch.full((1, 1, 1, 1), math.log(3) / 2)
        channel = eq.channel_attention(half, half)  # the sigmoid of log 3
        assert channel.item() == pytest.approx(0.75)
        spatial = eq.spatial_attention(torch.tensor([[[[0.0, -math.log(3)]]]]))
        assert spatial.flatten().tolist() == pytest.approx([0.5, 0.25])
        features = torch.tensor([[[[2.0, -4.0]]]])
        identity = torch.tensor([[[[10.0, 20.0]]]])
        found = eq.mutual_attention(features, channel, spatial, identity, torch.tensor([0.1]))
        assert found.flatten().tolist() == pytest.approx([10 + 0.1 * 2 * 1.25, 20 - 0.1 * 4 * 1.0])
        weight = torch.tensor([[[[3.0]]], [[[-1.0]]]])
        found = eq.identity_transform(features, weight, torch.tensor([0.5, 0.0]))
        assert found[0].flatten(1).tolist() == [[6.5, -11.5], [-2.0, 4.0]]

    def test_against_the_loops(self) -> None:
        average, maximum = numbers(0, 2, 3, 1, 1), numbers(1, 2, 3, 1, 1)
        response, features = numbers(2, 2, 1, 4, 5), numbers(3, 2, 3, 4, 5)
        weight, bias, beta = numbers(4, 3, 3, 1, 1), numbers(5, 3), numbers(6, 1)[0]
        channel, spatial = eq.channel_attention(average, maximum), eq.spatial_attention(response)
        identity = eq.identity_transform(features, weight, bias)
        found = eq.mutual_attention(features, channel, spatial, identity, beta)
        for b in range(2):
            by_channel = loops.channel_attention(average[b, :, 0, 0].numpy(), maximum[b, :, 0, 0].numpy())
            by_place = [[loops.sigmoid(value) for value in row] for row in response[b, 0].tolist()]
            kept = loops.identity_transform(features[b].numpy(), weight[:, :, 0, 0].numpy(), bias.numpy())
            expected = loops.mutual_attention(
                features[b].numpy(), by_channel, torch.tensor(by_place).numpy(), kept, beta.item()
            )
            assert channel[b].flatten().tolist() == pytest.approx(by_channel.tolist())
            torch.testing.assert_close(identity[b], torch.from_numpy(kept))
            torch.testing.assert_close(found[b], torch.from_numpy(expected), rtol=1e-6, atol=1e-6)

    def test_gradients(self) -> None:
        def attended(
            average: Tensor, maximum: Tensor, response: Tensor, features: Tensor, weight: Tensor, beta: Tensor
        ) -> Tensor:
            channel, spatial = eq.channel_attention(average, maximum), eq.spatial_attention(response)
            return eq.mutual_attention(features, channel, spatial, eq.identity_transform(features, weight), beta)

        shapes = ((1, 2, 1, 1), (1, 2, 1, 1), (1, 1, 2, 3), (1, 2, 2, 3), (2, 2, 1, 1), (1,))
        assert gradcheck(attended, tuple(numbers(i, *shape).requires_grad_() for i, shape in enumerate(shapes)))

    def test_without_beta_only_the_identity_is_left(self) -> None:
        features = numbers(0, 1, 2, 3, 3)
        channel, spatial = numbers(1, 1, 2, 1, 1).sigmoid(), numbers(2, 1, 1, 3, 3).sigmoid()
        identity = numbers(3, 1, 2, 3, 3)
        zero = torch.zeros((), dtype=torch.float64)
        assert torch.equal(eq.mutual_attention(features, channel, spatial, identity, zero), identity)


class TestJoined:
    def test_levels_keep_their_order(self) -> None:
        levels = [numbers(0, 2, 3, 4, 5), numbers(1, 2, 1, 4, 5)]
        found = eq.joined(levels)
        assert found.shape == (2, 4, 4, 5)
        assert torch.equal(found[:, :3], levels[0])
        assert torch.equal(found[:, 3:], levels[1])

    def test_gradient(self) -> None:
        assert gradcheck(lambda a, b: eq.joined([a, b]), (numbers(0, 1, 2, 2, 1).requires_grad_(),) * 2)


class TestTotal:
    def test_the_weights_of_the_paper(self) -> None:
        one, two, three = (torch.tensor(value) for value in (1.0, 2.0, 3.0))
        assert eq.total_loss(one, two, three).item() == pytest.approx(0.3 * 1 + 50 * 2 + 1 * 3)
        assert eq.total_loss(one, two, three, LossWeights(2.0, 0.0, 0.5)).item() == pytest.approx(2 + 1.5)

    def test_gradient(self) -> None:
        terms = tuple(numbers(seed, 1)[0].requires_grad_() for seed in range(3))
        assert gradcheck(eq.total_loss, terms)


class TestLossesOfABatch:
    def test_are_the_sum_of_the_single_ones(self) -> None:
        outputs, targets = outputs_of(), truth(0)
        weights = LossWeights(0.7, 11.0, 1.3, temperature=0.4, anchors=1000, keys=1000)
        found = values_of(baiseg_losses(outputs, targets, weights))
        maps = (targets["boundary"], targets["valid"])
        expected = {
            "contrast": pixel_contrast(outputs["projection"], *maps, 0.4, 1000, 1000).item(),
            "boundary": boundary_loss(outputs["boundary"], *maps).item(),
            "semantic": semantic_loss(outputs["semantic"], targets["classes"]).item(),
        }
        assert min(expected.values()) > 0
        total = 0.7 * expected["contrast"] + 11 * expected["boundary"] + 1.3 * expected["semantic"]
        assert found == pytest.approx(expected | {"total": total})

    def test_gradients(self) -> None:
        outputs, targets = outputs_of((4, 4)), truth(0, (4, 4))

        def total(*values: Tensor) -> Tensor:
            return baiseg_losses(dict(zip(outputs, values, strict=True)), targets, EVERY_PAIR).total

        assert gradcheck(total, tuple(output.requires_grad_() for output in outputs.values()), fast_mode=True)

    @pytest.mark.parametrize("name", TERM_OF)
    def test_outputs_alone_need_only_their_own_targets(self, name: str) -> None:
        outputs, targets = outputs_of(), truth(0)
        needed = {target: targets[target] for target in eq.TARGETS[name]}
        alone = values_of(baiseg_losses({name: outputs[name]}, needed, EVERY_PAIR))
        everything = values_of(baiseg_losses(outputs, targets, EVERY_PAIR))
        term = TERM_OF[name]
        assert alone[term] == pytest.approx(everything[term])
        assert alone[term] > 0
        assert alone["total"] == pytest.approx(getattr(EVERY_PAIR, term) * alone[term])
        assert {other for other, value in alone.items() if value} == {term, "total"}

    @pytest.mark.parametrize("term", TERM_OF.values())
    def test_terms_of_weight_0_are_left_out(self, term: str) -> None:
        outputs, targets = outputs_of(), truth(0)
        for output in outputs.values():
            output.requires_grad_()
        losses = baiseg_losses(outputs, targets, LossWeights(**{term: 0.0}))
        losses.total.backward()
        assert getattr(losses, term).item() == 0
        without_gradient = [TERM_OF[name] for name, output in outputs.items() if output.grad is None]
        assert without_gradient == [term]

    def test_the_generator_decides_what_is_contrasted(self) -> None:
        outputs, targets = outputs_of((16, 16)), truth(0, (16, 16))
        few = LossWeights(anchors=8, keys=8)

        def contrast(seed: int) -> float:
            return baiseg_losses(outputs, targets, few, torch.Generator().manual_seed(seed)).contrast.item()

        assert contrast(0) == contrast(0)
        assert contrast(0) != contrast(1)

    def test_two_processes_are_one_with_twice_the_batch_but_for_the_contrast(self) -> None:
        outputs, targets = outputs_of(), truth(0)
        weights = LossWeights(contrast=0.0)
        order = torch.tensor([0, 1, 2, 1])
        outputs = {name: output[order] for name, output in outputs.items()}
        targets = {name: target[order] for name, target in targets.items()}
        whole = values_of(baiseg_losses(outputs, targets, weights))
        first, second = (
            values_of(
                baiseg_losses(
                    {name: output[part] for name, output in outputs.items()},
                    {name: target[part] for name, target in targets.items()},
                    weights,
                )
            )
            for part in (slice(0, 2), slice(2, 4))
        )
        assert whole == pytest.approx({name: (first[name] + second[name]) / 2 for name in whole})

    @pytest.mark.parametrize("size", [(1, 1), (3, 5)])
    def test_a_batch_that_says_nothing_has_gradients_of_zero(self, size: tuple[int, int]) -> None:
        """Every output keeps its path, as training in several processes needs."""
        targets = truth(0, size)
        targets["valid"].fill_(False)
        targets["classes"].fill_(-1)
        outputs = {
            "boundary": numbers(1, 3, 1, *size).float().requires_grad_(),
            "semantic": numbers(2, 3, 4, *size).float().requires_grad_(),
            "projection": numbers(3, 3, 1, *size).float().requires_grad_(),
        }
        losses = baiseg_losses(outputs, targets)
        losses.total.backward()
        assert set(values_of(losses).values()) == {0.0}
        for output in outputs.values():
            assert output.grad is not None
            assert output.grad.eq(0).all()

    def test_full_precision_under_autocast(self) -> None:
        outputs, targets = outputs_of(), truth(0)
        outputs = {name: output.bfloat16() for name, output in outputs.items()}
        wide = {name: output.float() for name, output in outputs.items()}
        expected = baiseg_losses(wide, targets, EVERY_PAIR, torch.Generator().manual_seed(0))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = baiseg_losses(outputs, targets, EVERY_PAIR, torch.Generator().manual_seed(0))
        assert values_of(found) == values_of(expected)
        assert found.total.dtype == torch.float32

    def test_learns_its_targets(self) -> None:
        """Gradient descent on the loss ends at the right maps, and with a projection that tells boundaries apart."""
        targets = truth(0, (8, 8))
        outputs = {name: output.requires_grad_() for name, output in outputs_of((8, 8), dimensions=1).items()}
        cells = {"boundary": targets["boundary"], "valid": targets["valid"]}
        outputs["projection"] = numbers(4, 3, 1, 8, 8).requires_grad_()
        optimizer = torch.optim.Adam(outputs.values(), lr=0.2)
        for _ in range(100):
            optimizer.zero_grad()
            baiseg_losses(outputs, targets, EVERY_PAIR).total.backward()
            optimizer.step()
        valid, labelled = targets["valid"], targets["classes"] >= 0
        assert torch.equal(outputs["boundary"][:, 0][valid] > 0, cells["boundary"][valid])
        assert torch.equal(outputs["semantic"].argmax(1)[labelled], targets["classes"][labelled])
        projected = outputs["projection"].detach()[:, 0][valid].tanh()
        of_boundaries, of_others = projected[targets["boundary"][valid]], projected[~targets["boundary"][valid]]
        assert (of_boundaries.sign() * of_boundaries[0].sign()).eq(1).all()
        assert (of_others.sign() * of_boundaries[0].sign()).eq(-1).all()


class TestErrors:
    def test_unknown_outputs(self) -> None:
        with pytest.raises(ValueError, match="outputs must be of boundary, semantic, projection, got edges"):
            baiseg_losses(outputs_of() | {"edges": torch.zeros(1)}, truth(0))

    def test_nothing_to_learn(self) -> None:
        with pytest.raises(ValueError, match=r"no loss of the outputs \(none\) has a weight"):
            baiseg_losses({}, truth(0))
        with pytest.raises(ValueError, match="no loss of the outputs boundary has a weight above 0"):
            baiseg_losses({"boundary": outputs_of()["boundary"]}, truth(0), LossWeights(boundary=0.0))

    def test_missing_targets(self) -> None:
        targets = truth(0)
        del targets["valid"]
        with pytest.raises(ValueError, match=r"needs the targets boundary, valid, missing \['valid'\]"):
            baiseg_losses(outputs_of(), targets)

    @pytest.mark.parametrize(("name", "size"), [("classes", (3, 6, 7)), ("valid", (2, 6, 8)), ("boundary", (3, 6))])
    def test_other_sizes(self, name: str, size: tuple[int, ...]) -> None:
        targets = truth(0)
        targets[name] = torch.zeros(size, dtype=targets[name].dtype)
        with pytest.raises(ValueError, match=f"its targets must be as large, got {name} of"):
            baiseg_losses(outputs_of(), targets)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"contrast": -1.0}, "the weight contrast must be a finite number of at least 0, got -1"),
            ({"boundary": math.inf}, "the weight boundary must be"),
            ({"semantic": math.nan}, "the weight semantic must be"),
            ({"temperature": 0.0}, "temperature must be a finite number above 0, got 0"),
            ({"temperature": math.inf}, "temperature must be"),
            ({"anchors": 1}, "anchors must be at least 2, one for each kind of pixel, got 1"),
            ({"keys": 0}, "keys must be at least 2"),
        ],
    )
    def test_wrong_weights(self, options: dict[str, float], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            LossWeights(**options)


def test_the_defaults_are_those_of_the_paper() -> None:
    weights = LossWeights()
    assert (weights.contrast, weights.boundary, weights.semantic, weights.temperature) == (0.3, 50.0, 1.0, 0.2)


def test_every_equation_has_its_function() -> None:
    assert list(eq.EQUATIONS) == [str(number) for number in range(1, 9)]
    assert all(f"Paper: Eq. {number}, " in str(function.__doc__) for number, function in eq.EQUATIONS.items())
