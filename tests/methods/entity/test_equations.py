"""Eq. 1 to 3, 5, 6, 9 and the loss of a batch: values by hand, loops, gradients, invariances, degenerate images."""

import inspect
import math
from dataclasses import asdict
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck

from tests.methods.entity.scenes import (
    image_of,
    mixed_labels,
    random_features,
    random_raw,
    random_signs,
    shuffled_pixels,
)
from tests.reference import entity as loops
from upseg.methods.entity import equations as eq
from upseg.methods.entity import similarity as module
from upseg.methods.entity.equations import EntityLosses, LossWeights, entity_losses
from upseg.methods.entity.lines import dominant_lines, neighbour_table
from upseg.methods.entity.similarity import similarity_table

SEEDS = torch.tensor([1, 2, 3])
ALL_OF_THEM = tuple(asdict(LossWeights()))
WITHOUT_CONTRAST = LossWeights(contrast=0.0)


def table_of(features: torch.Tensor, labels: torch.Tensor, count: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    lines, present = dominant_lines(features, labels, count, "eigh")
    return similarity_table(features, labels, lines), present


def values_of(losses: EntityLosses, *names: str) -> torch.Tensor:
    terms = losses.terms()
    return torch.stack([terms[name] for name in names or terms])


def loop_losses(raw: torch.Tensor, labels: torch.Tensor, seed: int, void: bool, reach: int | None) -> dict[str, float]:
    """One image by the loops."""
    features, truth = image_of(eq.unit_features(raw), 0), labels[0].numpy()
    near = None if reach is None else neighbour_table(labels, 5, reach)[0].numpy()
    segment = loops.segment_losses(features, truth, void, near)
    return {
        "attraction": loops.attraction_loss(features, truth, void),
        "repulsion": loops.repulsion_loss(features, truth, void, near),
        "segment": segment[0] if segment else 0.0,
        "gradient": segment[1] if segment else 0.0,
        "contrast": loops.contrast_loss(features, truth, seed, void, near, queries=256, negatives=512),
        "unit_length": loops.unit_length_loss(image_of(raw, 0), truth),
        "degenerate": 0.0 if segment else 1.0,
    }


class TestProjectiveSphere:
    def test_unit_features(self) -> None:
        raw = torch.tensor([3.0, 4.0, 0.0, 0.0])[None, :, None, None].repeat(1, 1, 2, 1)
        raw[0, :, 1] = 0
        features = eq.unit_features(raw)
        assert features[0, :, 0, 0].tolist() == pytest.approx([0.6, 0.8, 0, 0])
        assert features[0, :, 1, 0].eq(0).all()
        assert features.is_contiguous(memory_format=torch.channels_last)

    def test_unit_features_of_half_precision(self) -> None:
        features = eq.unit_features(random_raw(0).bfloat16())
        assert features.dtype == torch.float32
        assert torch.allclose(features.norm(dim=1), torch.ones(3, 9, 7))

    def test_distance(self) -> None:
        first = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [0.6, 0.8]])
        second = torch.tensor([[0.0, 1.0], [-1.0, 0.0], [0.6, 0.8], [-0.6, -0.8]])
        assert eq.projective_distance(first, second).tolist() == pytest.approx([1, 0, 0.4, 0])

    def test_unit_length_by_hand(self) -> None:
        raw = torch.tensor([[[[3.0, 0.0, 9.0]], [[4.0, 0.5, 9.0]]], [[[1.0, 1.0, 1.0]], [[0.0, 0.0, 0.0]]]])
        valid = torch.tensor([[[True, True, False]], [[False, False, False]]])
        # |1 - 5| and |1 - 0.5| in the first image, nothing in the second
        assert eq.unit_length_loss(raw, valid).item() == pytest.approx((4 + 0.5) / 2 / 2)

    def test_gradchecks(self) -> None:
        raw, valid = random_raw(0, 2, 3, 2, 3), mixed_labels(0, 2, 3)[:2] >= 0
        assert gradcheck(eq.unit_features, raw.requires_grad_())
        assert gradcheck(lambda values: eq.unit_length_loss(values, valid), raw)
        assert gradcheck(eq.projective_distance, (raw[0, :, 0], raw[1, :, 0]))


class TestSimilarityTable:
    def test_by_hand(self) -> None:
        features = torch.tensor([[[[1.0, -0.6, 0.0, 1.0]], [[0.0, -0.8, 1.0, 0.0]]]])
        lines = torch.tensor([[[0.0, 1.0], [1.0, 0.0], [0.0, 0.0]]])
        table = similarity_table(features, torch.tensor([[[1, 1, 0, -1]]]), lines)
        assert table.flatten().tolist() == pytest.approx([1, 0, 0, 0.4, 0.8, 0, 0, 0, 0])

    @pytest.mark.parametrize("block", [module.BLOCK_ELEMENTS, 200])
    def test_against_the_loop(self, monkeypatch: pytest.MonkeyPatch, block: int) -> None:
        monkeypatch.setattr(module, "BLOCK_ELEMENTS", block)
        features, labels = random_features(0), mixed_labels(1)
        table, _ = table_of(features.requires_grad_(), labels)
        for image in range(3):
            truth, values = labels[image].numpy(), image_of(features.detach(), image)
            lines = loops.target_lines(values, truth)
            for k in range(6):
                for other in range(6):
                    both = k in lines and other in lines
                    expected = loops.mean_similarity(values, loops.pixels_of(truth, k), lines[other]) if both else 0
                    assert table[image, k, other].item() == pytest.approx(expected, abs=1e-12)

    @pytest.mark.parametrize("block", [module.BLOCK_ELEMENTS, 20])
    def test_gradcheck(self, monkeypatch: pytest.MonkeyPatch, block: int) -> None:
        monkeypatch.setattr(module, "BLOCK_ELEMENTS", block)
        raw, labels = random_raw(0, 3, 3, 2, 3), mixed_labels(1, 2, 3)
        lines = random_features(2, 3, 3, 5, 1)[..., 0].mT.contiguous()
        arguments = raw.requires_grad_(), lines.requires_grad_()
        assert gradcheck(lambda values, other: similarity_table(eq.unit_features(values), labels, other), arguments)


class TestAttractionAndRepulsion:
    # pixels of background, 1, 2 (row) against the lines of these (column)
    TABLE = torch.tensor([[[0.9, 0.2, 0.4], [0.1, 0.8, 0.3], [0.5, 0.6, 0.7]]])
    PRESENT = torch.tensor([[True, True, True]])

    def test_attraction_by_hand(self) -> None:
        assert eq.attraction_loss(self.TABLE, self.PRESENT).item() == pytest.approx((0.2 + 0.3) / 2)
        assert eq.attraction_loss(self.TABLE, self.PRESENT, True).item() == pytest.approx((0.1 + 0.2 + 0.3) / 3)
        one = torch.tensor([[True, True, False]])
        assert eq.attraction_loss(self.TABLE, one).item() == pytest.approx(0.2)

    def test_repulsion_by_hand(self) -> None:
        background, entities = 0.1 + 0.5 + 0.2 + 0.4, 0.3 + 0.6
        loss = eq.repulsion_loss(self.TABLE, self.PRESENT)
        assert loss.item() == pytest.approx((background + entities) / math.sqrt(3))
        without = torch.tensor([[False, True, True]])
        assert eq.repulsion_loss(self.TABLE, without).item() == pytest.approx(entities / math.sqrt(3))

    def test_repulsion_of_neighbours_alone(self) -> None:
        near = torch.ones(1, 3, 3, dtype=torch.bool)
        near[0, 1, 2] = near[0, 2, 1] = False
        loss = eq.repulsion_loss(self.TABLE, self.PRESENT, near)
        assert loss.item() == pytest.approx((0.1 + 0.5 + 0.2 + 0.4) / math.sqrt(3))

    def test_means_over_images(self) -> None:
        table, present = self.TABLE.repeat(2, 1, 1), torch.tensor([[True] * 3, [True, False, False]])
        assert eq.attraction_loss(table, present).item() == pytest.approx(0.25 / 2)
        assert eq.repulsion_loss(table, present).item() == pytest.approx(2.1 / math.sqrt(3) / 2)

    def test_gradchecks(self) -> None:
        raw, labels = random_raw(3, 3, 4, 3, 4), mixed_labels(4, 3, 4)
        lines, present = dominant_lines(eq.unit_features(raw), labels, 5, "eigh")

        def losses(values: torch.Tensor) -> tuple[torch.Tensor, ...]:
            table = similarity_table(eq.unit_features(values), labels, lines)
            return eq.attraction_loss(table, present), eq.repulsion_loss(table, present)

        assert gradcheck(losses, raw.requires_grad_())


class TestTotal:
    def test_by_hand(self) -> None:
        terms = {name: torch.tensor(float(10**place)) for place, name in enumerate(ALL_OF_THEM)}
        # attraction, repulsion, segment, contrast, gradient, unit length
        expected = 1 + 10 + 100 + 0.125 * 1e3 + 0.025 * 1e4 + 0.05 * 1e5
        assert eq.total_loss(terms, LossWeights()).item() == pytest.approx(expected)

    def test_unknown_or_no_terms(self) -> None:
        with pytest.raises(ValueError, match="got none"):
            eq.total_loss({}, LossWeights())
        with pytest.raises(ValueError, match="got edges"):
            eq.total_loss({"edges": torch.tensor(1.0)}, LossWeights())

    @pytest.mark.parametrize("value", [-1.0, math.inf, math.nan])
    def test_wrong_weights(self, value: float) -> None:
        with pytest.raises(ValueError, match="the weight contrast must be"):
            LossWeights(contrast=value)

    def test_every_equation_has_its_function(self) -> None:
        assert list(eq.EQUATIONS) == [str(number) for number in range(1, 10)]
        assert all(f"Eq. {number}, Sec. 3" in str(function.__doc__) for number, function in eq.EQUATIONS.items())


class TestLossesOfABatch:
    @pytest.mark.parametrize("background", ["unlabelled", "void"])
    @pytest.mark.parametrize("reach", [None, 0])
    def test_against_the_loops(self, background: Any, reach: int | None) -> None:
        raw, labels = random_raw(0, dimensions=8, height=6, width=6), mixed_labels(1, 6, 6)
        void = background == "void"
        found = entity_losses(raw, labels, seeds=SEEDS, background=background, reach=reach, method="eigh").terms()
        images = [loop_losses(raw[i : i + 1], labels[i : i + 1], int(SEEDS[i]), void, reach) for i in range(3)]
        expected = {name: sum(image[name] for image in images) / 3 for name in images[0]}
        weights = asdict(LossWeights())
        expected["total"] = sum(weights[name] * expected[name] for name in weights)
        assert {name: value.item() for name, value in found.items()} == pytest.approx(expected)

    def test_two_processes_are_one_with_twice_the_batch(self) -> None:
        raw, labels = random_raw(0, images=4, dimensions=8), mixed_labels(1)[[0, 1, 2, 1]]
        seeds = torch.arange(4)
        raw[1, :, :] = raw[1, :, :1, :1]  # left out of segment space
        parts = [entity_losses(raw[p], labels[p], seeds=seeds[p]) for p in (slice(0, 2), slice(2, 4))]
        whole = entity_losses(raw, labels, seeds=seeds)
        mean = torch.stack([values_of(part) for part in parts]).mean(0)
        assert torch.allclose(values_of(whole), mean, rtol=1e-5)
        assert whole.degenerate.item() == 0.25

    @pytest.mark.parametrize("background", ["unlabelled", "void"])
    @settings(max_examples=10, deadline=None)
    @given(seed=st.integers(0, 2**16))
    def test_signs_and_labels_mean_nothing(self, background: Any, seed: int) -> None:
        raw, labels = random_raw(seed, dimensions=8), mixed_labels(seed + 1)
        order = torch.cat([torch.tensor([0]), torch.randperm(6, generator=torch.Generator().manual_seed(seed)) + 1])
        exchanged = torch.where(labels >= 0, order[labels.clamp(min=0)], -1)

        def values(raw: torch.Tensor, labels: torch.Tensor, weights: LossWeights) -> torch.Tensor:
            losses = entity_losses(raw, labels, seeds=SEEDS, weights=weights, background=background, method="eigh")
            return values_of(losses)

        expected = values(raw, labels, LossWeights())
        assert torch.allclose(values(random_signs(seed, raw), labels, LossWeights()), expected)
        # what L_rc draws depends on the ids
        expected = values(raw, labels, WITHOUT_CONTRAST)
        assert torch.allclose(values(raw, exchanged, WITHOUT_CONTRAST), expected)

    def test_order_of_pixels_means_nothing(self) -> None:
        raw, labels = random_raw(0, dimensions=8), mixed_labels(1)
        weights = LossWeights(contrast=0.0, gradient=0.0)
        losses = [
            entity_losses(*pair, seeds=SEEDS, weights=weights, method="eigh")
            for pair in ((raw, labels), shuffled_pixels(2, raw, labels))
        ]
        assert torch.allclose(values_of(losses[0]), values_of(losses[1]))

    @pytest.mark.parametrize("background", ["unlabelled", "void"])
    def test_gradient_with_targets_held_still(self, background: Any) -> None:
        """Autograd through everything equals finite differences of each part with its own targets."""
        raw, labels = random_raw(5, 1, 5, 3, 4), torch.tensor([[[1, 1, 2, 2], [1, 0, 0, 2], [3, 3, -1, 0]]])
        lines = eq._target_lines(eq.unit_features(raw), labels, 3, background == "void", "eigh")

        def total(values: torch.Tensor) -> torch.Tensor:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(eq, "_target_lines", lambda *_: tuple(part.clone() for part in lines))
                losses = entity_losses(values, labels, seeds=SEEDS[:1], weights=WITHOUT_CONTRAST, background=background)
            return losses.total

        assert gradcheck(total, raw.requires_grad_())

    @pytest.mark.parametrize("name", ALL_OF_THEM)
    def test_single_terms_alone(self, name: str) -> None:
        raw, labels = random_raw(0, dimensions=8), mixed_labels(1)
        weights = LossWeights(**{other: float(other == name) for other in ALL_OF_THEM})
        alone = entity_losses(raw, labels, seeds=SEEDS, weights=weights).terms()
        everything = entity_losses(raw, labels, seeds=SEEDS).terms()
        assert alone[name] == everything[name] == alone["total"]
        assert all(alone[other] == 0 for other in ALL_OF_THEM if other != name)

    @pytest.mark.parametrize("background", ["unlabelled", "void"])
    @pytest.mark.parametrize("reach", [None, 2])
    @pytest.mark.parametrize("kind", ["ignored", "background", "one entity", "one pixel", "eroded away"])
    @pytest.mark.parametrize("size", [(1, 1), (5, 3)])
    def test_degenerate_images(self, background: Any, reach: int | None, kind: str, size: tuple[int, int]) -> None:
        raw, labels = random_raw(0, 2, 4, *size).float().requires_grad_(), torch.zeros(2, *size, dtype=torch.int64)
        if kind in ("ignored", "one entity"):
            labels[:] = -1 if kind == "ignored" else 1
        elif kind != "background":
            labels[:, 0, 0] = 1 if kind == "one pixel" else 3
        losses = entity_losses(raw, labels, seeds=SEEDS[:2], background=background, reach=reach)
        losses.total.backward()
        assert values_of(losses).isfinite().all()
        assert raw.grad is not None
        assert raw.grad.isfinite().all()
        assert raw.grad.any() == (kind != "ignored")
        if kind == "ignored":
            assert values_of(losses).eq(0).all()

    def test_two_identical_entities_are_left_out_of_segment_space(self) -> None:
        raw, labels = random_raw(0, 1, 4, 2, 2), torch.tensor([[[1, 2], [1, 2]]])
        raw[..., 1] = -raw[..., 0]
        losses = entity_losses(raw.requires_grad_(), labels, seeds=SEEDS[:1])
        losses.total.backward()
        assert losses.degenerate == 1
        assert losses.segment == losses.gradient == 0
        assert losses.contrast > 0
        assert raw.grad is not None
        assert raw.grad.isfinite().all()

    def test_more_entities_than_dimensions(self) -> None:
        labels = torch.arange(1, 13).view(1, 3, 4)
        losses = entity_losses(random_raw(0, 1, 5, 3, 4), labels, seeds=SEEDS[:1])
        assert losses.degenerate == 1
        assert losses.repulsion > 0
        # rows of four: touching boxes have 0 pixels between them, so no entity has more than 9 near it
        near = entity_losses(random_raw(0, 1, 40, 3, 4), labels, seeds=SEEDS[:1], reach=0)
        assert near.degenerate == 0
        assert near.repulsion < entity_losses(random_raw(0, 1, 40, 3, 4), labels, seeds=SEEDS[:1]).repulsion

    def test_void_entities_keep_off_the_line_of_a_background_that_is_not_there(self) -> None:
        raw, labels = torch.zeros(1, 3, 1, 2), torch.tensor([[[1, 1]]])
        raw[0, 0] = 1  # all on e_1
        losses = entity_losses(raw, labels, seeds=SEEDS[:1], background="void")
        assert losses.attraction.item() == pytest.approx(0)
        assert losses.repulsion.item() == pytest.approx(1 / math.sqrt(2))
        assert losses.degenerate == 1

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
    def test_half_precision_and_autocast(self, dtype: torch.dtype) -> None:
        raw, labels = random_raw(0, dimensions=8).to(dtype).requires_grad_(), mixed_labels(1)
        expected = entity_losses(raw.double(), labels, seeds=SEEDS)
        with torch.autocast("cpu", torch.bfloat16):
            losses = entity_losses(raw, labels, seeds=SEEDS)
        losses.total.backward()
        assert losses.total.dtype == torch.float32
        assert torch.allclose(values_of(losses).double(), values_of(expected), rtol=1e-4)
        assert raw.grad is not None
        assert raw.grad.dtype == dtype

    def test_wrong_input(self) -> None:
        raw, labels = random_raw(0), mixed_labels(1)
        unchecked = inspect.unwrap(entity_losses)  # without the type checks of the tests
        with pytest.raises(ValueError, match="must agree"):
            unchecked(raw, labels[:, 1:], seeds=SEEDS)
        with pytest.raises(ValueError, match="must agree"):
            unchecked(raw, labels, seeds=SEEDS[:2])
        with pytest.raises(ValueError, match="background must be one of unlabelled, void, got 'black'"):
            unchecked(raw, labels, seeds=SEEDS, background="black")
        nothing = LossWeights(**dict.fromkeys(ALL_OF_THEM, 0.0))
        with pytest.raises(ValueError, match="one or more of"):
            unchecked(raw, labels, seeds=SEEDS, weights=nothing)
