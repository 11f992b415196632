"""The loss of a batch: values by hand, loops, gradients, outputs on and off, errors."""

import math

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck

from tests.methods.baiseg.maps import SIZE, numbers, truth
from upseg.methods.baiseg.equations import boundary_loss, semantic_loss
from upseg.methods.baiseg.losses import TARGETS, LossWeights, baiseg_losses, pixel_contrast

TERM_OF = {"boundary": "boundary", "semantic": "semantic", "projection": "contrast"}
EVERY_PAIR = LossWeights(anchors=1000, keys=1000)
"""Nothing is drawn from small maps, so the loss does not depend on any generator."""


def outputs_of(size: tuple[int, int] = SIZE, dimensions: int = 2) -> dict[str, Tensor]:
    return {
        "boundary": numbers(1, 3, 1, *size),
        "semantic": numbers(2, 3, 4, *size),
        "projection": numbers(3, 3, dimensions, size[0] // 2, size[1] // 2),
    }


def values_of(losses: dict[str, torch.Tensor]) -> dict[str, float]:
    return {name: value.item() for name, value in losses.items()}


class TestLossesOfABatch:
    def test_are_the_sum_of_the_single_ones(self) -> None:
        outputs, targets = outputs_of(), truth(0)
        weights = LossWeights(0.7, 11.0, 1.3, temperature=0.4, anchors=1000, keys=1000)
        found = values_of(baiseg_losses(outputs, targets, weights))
        maps = (targets["boundary"], targets["valid"])
        expected = {
            "contrast": pixel_contrast(outputs["projection"], *maps, weights).item(),
            "boundary": boundary_loss(outputs["boundary"], *maps).item(),
            "semantic": semantic_loss(outputs["semantic"], targets["classes"]).item(),
        }
        assert min(expected.values()) > 0
        total = 0.7 * expected["contrast"] + 11 * expected["boundary"] + 1.3 * expected["semantic"]
        assert found == pytest.approx(expected | {"total": total})

    def test_gradients(self) -> None:
        outputs, targets = outputs_of((4, 4)), truth(0, (4, 4))

        def total(*values: Tensor) -> Tensor:
            return baiseg_losses(dict(zip(outputs, values, strict=True)), targets, EVERY_PAIR)["total"]

        assert gradcheck(total, tuple(output.requires_grad_() for output in outputs.values()), fast_mode=True)

    @pytest.mark.parametrize("name", TERM_OF)
    def test_outputs_alone_need_only_their_own_targets(self, name: str) -> None:
        outputs, targets = outputs_of(), truth(0)
        needed = {target: targets[target] for target in TARGETS[name]}
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
        losses["total"].backward()
        assert losses[term].item() == 0
        without_gradient = [TERM_OF[name] for name, output in outputs.items() if output.grad is None]
        assert without_gradient == [term]

    def test_the_generator_decides_what_is_contrasted(self) -> None:
        outputs, targets = outputs_of((16, 16)), truth(0, (16, 16))
        few = LossWeights(anchors=8, keys=8)

        def contrast(seed: int) -> float:
            return baiseg_losses(outputs, targets, few, torch.Generator().manual_seed(seed))["contrast"].item()

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
        losses["total"].backward()
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
        assert found["total"].dtype == torch.float32

    def test_learns_its_targets(self) -> None:
        """Gradient descent on the loss ends at the right maps, and with a projection that tells boundaries apart."""
        targets = truth(0, (8, 8))
        outputs = {name: output.requires_grad_() for name, output in outputs_of((8, 8), dimensions=1).items()}
        cells = {"boundary": targets["boundary"], "valid": targets["valid"]}
        outputs["projection"] = numbers(4, 3, 1, 8, 8).requires_grad_()
        optimizer = torch.optim.Adam(outputs.values(), lr=0.2)
        for _ in range(100):
            optimizer.zero_grad()
            baiseg_losses(outputs, targets, EVERY_PAIR)["total"].backward()
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
