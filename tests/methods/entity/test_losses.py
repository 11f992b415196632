"""The losses of a batch: the loops, invariances, gradients, degenerate images."""

import inspect
import math
from dataclasses import asdict
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck

from tests.methods.entity.scenes import image_of, mixed_labels, random_raw, random_signs, shuffled_pixels
from tests.reference import entity as loops
from upseg.methods.entity import losses as module
from upseg.methods.entity.equations import LossWeights, unit_features
from upseg.methods.entity.extensions.reach import neighbour_table
from upseg.methods.entity.losses import entity_losses

SEEDS = torch.tensor([1, 2, 3])
ALL_OF_THEM = tuple(asdict(LossWeights()))
WITHOUT_CONTRAST = LossWeights(contrast=0.0)


def values_of(losses: dict[str, torch.Tensor], *names: str) -> torch.Tensor:
    terms = losses
    return torch.stack([terms[name] for name in names or terms])


def loop_losses(raw: torch.Tensor, labels: torch.Tensor, seed: int, void: bool, reach: int | None) -> dict[str, float]:
    """One image by the loops."""
    features, truth = image_of(unit_features(raw), 0), labels[0].numpy()
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


class TestLossesOfABatch:
    @pytest.mark.parametrize("background", ["unlabelled", "void"])
    @pytest.mark.parametrize("reach", [None, 0])
    def test_against_the_loops(self, background: Any, reach: int | None) -> None:
        raw, labels = random_raw(0, dimensions=8, height=6, width=6), mixed_labels(1, 6, 6)
        void = background == "void"
        found = entity_losses(raw, labels, seeds=SEEDS, background=background, reach=reach)
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
        assert whole["degenerate"].item() == 0.25

    @pytest.mark.parametrize("background", ["unlabelled", "void"])
    @settings(max_examples=10, deadline=None)
    @given(seed=st.integers(0, 2**16))
    def test_signs_and_labels_mean_nothing(self, background: Any, seed: int) -> None:
        raw, labels = random_raw(seed, dimensions=8), mixed_labels(seed + 1)
        order = torch.cat([torch.tensor([0]), torch.randperm(6, generator=torch.Generator().manual_seed(seed)) + 1])
        exchanged = torch.where(labels >= 0, order[labels.clamp(min=0)], -1)

        def values(raw: torch.Tensor, labels: torch.Tensor, weights: LossWeights) -> torch.Tensor:
            losses = entity_losses(raw, labels, seeds=SEEDS, loss_weights=weights, background=background)
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
            entity_losses(*pair, seeds=SEEDS, loss_weights=weights)
            for pair in ((raw, labels), shuffled_pixels(2, raw, labels))
        ]
        assert torch.allclose(values_of(losses[0]), values_of(losses[1]))

    @pytest.mark.parametrize("background", ["unlabelled", "void"])
    def test_gradient_with_targets_held_still(self, background: Any) -> None:
        """Autograd through everything equals finite differences of each part with its own targets."""
        raw, labels = random_raw(5, 1, 5, 3, 4), torch.tensor([[[1, 1, 2, 2], [1, 0, 0, 2], [3, 3, -1, 0]]])
        lines = module._target_lines(unit_features(raw), labels, 3, background == "void")

        def total(values: torch.Tensor) -> torch.Tensor:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(module, "_target_lines", lambda *_: tuple(part.clone() for part in lines))
                losses = entity_losses(
                    values, labels, seeds=SEEDS[:1], loss_weights=WITHOUT_CONTRAST, background=background
                )
            return losses["total"]

        assert gradcheck(total, raw.requires_grad_())

    @pytest.mark.parametrize("name", ALL_OF_THEM)
    def test_single_terms_alone(self, name: str) -> None:
        raw, labels = random_raw(0, dimensions=8), mixed_labels(1)
        weights = LossWeights(**{other: float(other == name) for other in ALL_OF_THEM})
        alone = entity_losses(raw, labels, seeds=SEEDS, loss_weights=weights)
        everything = entity_losses(raw, labels, seeds=SEEDS)
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
        losses["total"].backward()
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
        losses["total"].backward()
        assert losses["degenerate"] == 1
        assert losses["segment"] == losses["gradient"] == 0
        assert losses["contrast"] > 0
        assert raw.grad is not None
        assert raw.grad.isfinite().all()

    def test_more_entities_than_dimensions(self) -> None:
        labels = torch.arange(1, 13).view(1, 3, 4)
        losses = entity_losses(random_raw(0, 1, 5, 3, 4), labels, seeds=SEEDS[:1])
        assert losses["degenerate"] == 1
        assert losses["repulsion"] > 0
        # rows of four: touching boxes have 0 pixels between them, so no entity has more than 9 near it
        near = entity_losses(random_raw(0, 1, 40, 3, 4), labels, seeds=SEEDS[:1], reach=0)
        assert near["degenerate"] == 0
        assert near["repulsion"] < entity_losses(random_raw(0, 1, 40, 3, 4), labels, seeds=SEEDS[:1])["repulsion"]

    def test_void_entities_keep_off_the_line_of_a_background_that_is_not_there(self) -> None:
        raw, labels = torch.zeros(1, 3, 1, 2), torch.tensor([[[1, 1]]])
        raw[0, 0] = 1  # all on e_1
        losses = entity_losses(raw, labels, seeds=SEEDS[:1], background="void")
        assert losses["attraction"].item() == pytest.approx(0)
        assert losses["repulsion"].item() == pytest.approx(1 / math.sqrt(2))
        assert losses["degenerate"] == 1

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
    def test_half_precision_and_autocast(self, dtype: torch.dtype) -> None:
        raw, labels = random_raw(0, dimensions=8).to(dtype).requires_grad_(), mixed_labels(1)
        expected = entity_losses(raw.double(), labels, seeds=SEEDS)
        with torch.autocast("cpu", torch.bfloat16):
            losses = entity_losses(raw, labels, seeds=SEEDS)
        losses["total"].backward()
        assert losses["total"].dtype == torch.float32
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
            unchecked(raw, labels, seeds=SEEDS, loss_weights=nothing)
