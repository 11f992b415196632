"""The loss of a batch: loops, gradients, heads on and off, degenerate images, errors."""

import math
from dataclasses import asdict

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck

from tests.methods.panoptic.maps import ENCODINGS, array, mean_of_images, random_numbers, random_truth
from tests.reference import panoptic_equations as loops
from upseg.methods.panoptic.encodings import Encoding, PositionalEncoding
from upseg.methods.panoptic.losses import TARGETS, LossWeights, panoptic_losses

NAMES = pytest.mark.parametrize("name", ENCODINGS)
SIZE = (5, 4)


def batch_of(encoding: Encoding, size: tuple[int, int] = SIZE) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Outputs and targets of three images with all heads; the last image has no instance, no class and no depth."""
    truth = random_truth(0, *size)
    semantic = torch.randint(-1, 4, (3, *size), generator=torch.Generator().manual_seed(1))
    semantic[2] = -1
    depth = random_numbers(2, 3, *size).abs() * 5
    depth[2], depth[0, 0, 0] = 0, 0
    outputs = {
        "semantic": random_numbers(3, 3, 4, *size),
        "instance": random_numbers(4, 3, encoding.channels, *size) / 2,
        "depth": random_numbers(5, 3, 1, *size),
    }
    targets = {
        "semantic": semantic,
        "semantic_weight": random_numbers(6, 3, *size).abs(),
        "centre": truth.centres,
        "inside": truth.inside,
        "instances": truth.labels,
        "instance_weight": truth.weights,
        "depth": depth,
    }
    return outputs, targets


def values_of(losses: dict[str, torch.Tensor]) -> dict[str, float]:
    return {name: value.item() for name, value in losses.items()}


def loop_losses(
    loop: loops.Positional | loops.Rgb | loops.Bins,
    outputs: dict[str, Tensor],
    targets: dict[str, Tensor],
    image: int,
    maximum: float | None,
) -> dict[str, float]:
    given = {name: array(output[image]) for name, output in outputs.items()}
    true = {name: array(target[image]) for name, target in targets.items()}
    weights = true["instance_weight"] * (true["instances"] >= 0)
    output, depth = given["depth"][0], true["depth"]
    relative = maximum is None
    return {
        "semantic": loops.semantic_loss(given["semantic"], true["semantic"], true["semantic_weight"]),
        "instance": loops.instance_loss(loop, given["instance"], true["centre"], true["inside"], weights),
        "depth": loops.relative_depth_loss(output, depth, depth > 0)
        if relative
        else loops.metric_depth_loss(output, depth, maximum),
        "total_variation": loops.total_variation(loop, given["instance"]),
        "semantic_smoothness": loops.smoothness(given["semantic"]),
        "dice": loops.dice_loss(loop, given["instance"], true["centre"], true["instances"]),
    }


class TestLossesOfABatch:
    @NAMES
    @pytest.mark.parametrize("maximum", [None, 8.0])
    def test_against_the_loops(self, name: str, maximum: float | None) -> None:
        encoding, loop = ENCODINGS[name]
        outputs, targets = batch_of(encoding)
        images = [loop_losses(loop, outputs, targets, image, maximum) for image in range(3)]
        expected = {term: mean_of_images([image[term] for image in images]) for term in images[0]}
        weights = LossWeights(semantic=0.7, instance=1.3, depth=0.4, total_variation=0.2, dice=0.9)
        expected["total"] = sum(getattr(weights, term) * value for term, value in expected.items())
        found = panoptic_losses(outputs, targets, encoding, weights, maximum)
        assert values_of(found) == pytest.approx(expected)

    @NAMES
    @pytest.mark.parametrize("maximum", [None, 8.0])
    def test_gradients(self, name: str, maximum: float | None) -> None:
        encoding, _ = ENCODINGS[name]
        outputs, targets = batch_of(encoding, (2, 2))

        def total(*values: Tensor) -> Tensor:
            return panoptic_losses(dict(zip(outputs, values, strict=True)), targets, encoding, None, maximum)["total"]

        assert gradcheck(total, tuple(output.requires_grad_() for output in outputs.values()), fast_mode=True)

    def test_default_weights_are_those_of_the_sheet(self) -> None:
        weights = LossWeights()
        assert (weights.total_variation, weights.semantic_smoothness, weights.dice) == (0.1, 0.1, 1.0)
        encoding, _ = ENCODINGS["positional"]
        outputs, targets = batch_of(encoding)
        assert values_of(panoptic_losses(outputs, targets, encoding)) == values_of(
            panoptic_losses(outputs, targets, encoding, weights)
        )

    def test_two_processes_are_one_with_twice_the_batch(self) -> None:
        encoding, _ = ENCODINGS["positional"]
        outputs, targets = ({n: v[[0, 1, 2, 1]] for n, v in part.items()} for part in batch_of(encoding))
        halves = [
            panoptic_losses({n: v[p] for n, v in outputs.items()}, {n: v[p] for n, v in targets.items()}, encoding)
            for p in (slice(0, 2), slice(2, 4))
        ]
        whole = values_of(panoptic_losses(outputs, targets, encoding))
        first, second = (values_of(half) for half in halves)
        assert whole == pytest.approx({name: (first[name] + second[name]) / 2 for name in whole})

    @pytest.mark.parametrize("term", asdict(LossWeights()))
    def test_single_terms_alone(self, term: str) -> None:
        encoding, _ = ENCODINGS["positional"]
        outputs, targets = batch_of(encoding)
        weights = LossWeights(**{other: 2.0 * (other == term) for other in asdict(LossWeights())})
        alone = values_of(panoptic_losses(outputs, targets, encoding, weights))
        everything = values_of(panoptic_losses(outputs, targets, encoding))
        assert alone.pop("total") == pytest.approx(2 * everything[term])
        assert alone.pop(term) == everything[term] > 0
        assert set(alone.values()) == {0.0}

    @pytest.mark.parametrize("head", ["semantic", "instance", "depth"])
    def test_single_heads_need_only_their_own_targets(self, head: str) -> None:
        encoding, _ = ENCODINGS["positional"]
        outputs, targets = batch_of(encoding)
        needed = {name: targets[name] for name in TARGETS[head]}
        found = values_of(panoptic_losses({head: outputs[head]}, needed, encoding))
        everything = values_of(panoptic_losses(outputs, targets, encoding))
        mine = {"semantic": {"semantic", "semantic_smoothness"}, "depth": {"depth"}}.get(
            head, {"instance", "total_variation", "dice"}
        )
        assert {name for name, value in found.items() if value} == mine | {"total"}
        assert {name: found[name] for name in mine} == {name: everything[name] for name in mine}

    def test_ignored_pixels_have_no_say(self) -> None:
        encoding, _ = ENCODINGS["positional"]
        outputs, targets = batch_of(encoding)
        weights = LossWeights(total_variation=0.0, semantic_smoothness=0.0)
        for output in outputs.values():
            output.requires_grad_()
        panoptic_losses(outputs, targets, encoding, weights)["total"].backward()
        unknown = {"semantic": "semantic", "instance": "instances", "depth": "depth"}
        for head, name in unknown.items():
            gradient = outputs[head].grad
            assert gradient is not None
            ignored = targets[name] <= 0 if head == "depth" else targets[name] < 0
            assert gradient.movedim(1, -1)[ignored].eq(0).all()
            assert gradient.movedim(1, -1)[~ignored].any()

    @NAMES
    @pytest.mark.parametrize("maximum", [None, 8.0])
    @pytest.mark.parametrize("size", [(1, 1), (3, 2)])
    def test_a_batch_that_says_nothing_has_gradients_of_zero(
        self, name: str, maximum: float | None, size: tuple[int, int]
    ) -> None:
        """Every output keeps its path, as training in several processes needs."""
        encoding, _ = ENCODINGS[name]
        outputs, targets = batch_of(encoding, size)
        outputs = {head: output.float().requires_grad_() for head, output in outputs.items()}
        for head in ("semantic", "instances"):
            targets[head].fill_(-1)
        targets["inside"].fill_(False)
        targets["depth"].zero_()
        weights = LossWeights(total_variation=0.0, semantic_smoothness=0.0)
        losses = panoptic_losses(outputs, targets, encoding, weights, maximum)
        losses["total"].backward()
        assert set(values_of(losses).values()) == {0.0}
        for output in outputs.values():
            assert output.grad is not None
            assert output.grad.eq(0).all()

    def test_full_precision_under_autocast(self) -> None:
        encoding = PositionalEncoding()
        outputs, targets = batch_of(encoding)
        outputs = {head: output.bfloat16() for head, output in outputs.items()}
        targets["centre"] = targets["centre"].float()
        expected = panoptic_losses({head: output.float() for head, output in outputs.items()}, targets, encoding)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = panoptic_losses(outputs, targets, encoding)
        assert values_of(found) == values_of(expected)

    def test_learns_its_targets(self) -> None:
        """Gradient descent on the loss ends at embeddings that are decoded to the right centres."""
        encoding = PositionalEncoding(grid=(8, 8))
        outputs, targets = batch_of(encoding, (6, 6))
        targets["instance_weight"] = torch.ones_like(targets["instance_weight"])
        predicted = outputs["instance"].requires_grad_()
        optimizer = torch.optim.Adam([predicted], lr=0.05)
        weights = LossWeights(total_variation=0.0)
        for _ in range(150):
            optimizer.zero_grad()
            panoptic_losses({"instance": predicted}, targets, encoding, weights)["total"].backward()
            optimizer.step()
        right = encoding.targets(targets["centre"], targets["inside"])
        known = targets["instances"] >= 0
        errors = (predicted.detach() - right).norm(dim=1)[known]
        assert errors.max() < 0.2


class TestErrors:
    def test_unknown_or_no_outputs(self) -> None:
        encoding, _ = ENCODINGS["positional"]
        outputs, targets = batch_of(encoding)
        with pytest.raises(ValueError, match="got none"):
            panoptic_losses({}, targets, encoding)
        with pytest.raises(ValueError, match="got edges"):
            panoptic_losses({"edges": outputs["depth"]}, targets, encoding)

    def test_missing_targets(self) -> None:
        encoding, _ = ENCODINGS["positional"]
        outputs, targets = batch_of(encoding)
        del targets["inside"]
        with pytest.raises(ValueError, match=r"the head instance needs the targets .*missing \['inside'\]"):
            panoptic_losses(outputs, targets, encoding)

    @pytest.mark.parametrize(
        ("name", "size"), [("depth", (3, 5, 5)), ("semantic", (2, 5, 4)), ("centre", (3, 2, 4, 5))]
    )
    def test_other_sizes(self, name: str, size: tuple[int, ...]) -> None:
        encoding, _ = ENCODINGS["positional"]
        outputs, targets = batch_of(encoding)
        targets[name] = torch.zeros(size, dtype=targets[name].dtype)
        with pytest.raises(ValueError, match=f"its targets must be as large, got .*{name}"):
            panoptic_losses(outputs, targets, encoding)

    def test_channels_of_another_encoding(self) -> None:
        outputs, targets = batch_of(ENCODINGS["rgb"][0])
        with pytest.raises(ValueError, match="has 12 channels, the network's output 3"):
            panoptic_losses(outputs, targets, ENCODINGS["positional"][0])

    def test_nothing_to_learn(self) -> None:
        encoding, _ = ENCODINGS["positional"]
        outputs, targets = batch_of(encoding)
        with pytest.raises(ValueError, match="no loss of the heads depth has a weight above 0"):
            panoptic_losses({"depth": outputs["depth"]}, targets, encoding, LossWeights(depth=0.0))

    @pytest.mark.parametrize("value", [-1.0, math.inf, math.nan])
    def test_wrong_weights(self, value: float) -> None:
        with pytest.raises(ValueError, match="the weight dice must be"):
            LossWeights(dice=value)
