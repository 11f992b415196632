"""Segment space (Eq. 7) and its losses (Eq. 8): values by hand, the loops, gradients, images that are left out."""

import math

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

from tests.methods.entity.scenes import (
    image_of,
    mixed_labels,
    random_features,
    random_raw,
    shuffled_pixels,
)
from tests.reference import entity as loops
from upseg.methods.entity import equations as module
from upseg.methods.entity.equations import (
    SegmentSpace,
    dominant_lines,
    segment_losses,
    segment_space,
    unit_features,
)


def target_lines(features: torch.Tensor, labels: torch.Tensor, count: int, void: bool) -> tuple[torch.Tensor, ...]:
    """The lines, and which rows are entities."""
    lines, entities = dominant_lines(features, labels, count)
    if void:
        lines[:, 0] = torch.eye(lines.shape[2], dtype=lines.dtype)[0]
    entities[:, 0] = void
    return lines, entities


def some_neighbours(count: int, images: int = 3) -> torch.Tensor:
    """Entities whose ids differ by at most one, and everybody with the background."""
    rows = torch.arange(count + 1)
    near = (rows[:, None] - rows).abs() <= 1
    near[0] = near[:, 0] = True
    return near.repeat(images, 1, 1)


def losses_of(
    features: torch.Tensor, labels: torch.Tensor, void: bool = False, near: torch.Tensor | None = None, count: int = 5
) -> tuple[torch.Tensor, torch.Tensor]:
    space = segment_space(*target_lines(features, labels, count, void), near)
    return segment_losses(features, labels, space, near)


def lines_at(degrees: list[float]) -> torch.Tensor:
    """The background's line of zeros and one of each angle in the plane."""
    angles = torch.tensor(degrees, dtype=torch.float64).deg2rad()
    lines = torch.stack([angles.cos(), angles.sin(), torch.zeros_like(angles)], dim=1)
    return torch.cat([torch.zeros(1, 3, dtype=torch.float64), lines])[None]


class TestSegmentSpace:
    def test_by_hand(self) -> None:
        # of (1, 0, 0) and (0.6, 0.8, 0) the left inverse is that of [[1, 0.6], [0, 0.8]]
        lines = torch.tensor([[[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.6, 0.8, 0.0]]], dtype=torch.float64)
        space = segment_space(lines, torch.tensor([[False, True, True]]))
        expected = torch.tensor([[0.0, 0.0, 0.0], [1.0, -0.75, 0.0], [0.0, 1.25, 0.0]], dtype=torch.float64)
        assert torch.allclose(space.projection[0], expected)
        assert space.rows.tolist() == [[False, True, True]]
        assert bool(space.usable[space.rows].all())

    @pytest.mark.parametrize("void", [False, True])
    @pytest.mark.parametrize("near", [None, some_neighbours(5)])
    def test_against_the_loop(self, void: bool, near: torch.Tensor | None) -> None:
        features, labels = random_features(0, dimensions=8), mixed_labels(1)
        space = segment_space(*target_lines(features, labels, 5, void), near)
        for image in range(3):
            lines = loops.target_lines(image_of(features, image), labels[image].numpy(), void)
            expected = loops.segment_space(lines, void, None if near is None else near[image].numpy())
            assert expected is not None
            assert space.usable[image][space.rows[image]].all()
            assert {k for k in range(6) if space.rows[image, k]} == expected.keys()
            for k, row in expected.items():
                found = space.projection[image, k].numpy()
                np.testing.assert_allclose(found * np.sign(found @ row), row, atol=1e-9)
        assert space.projection[~space.rows].eq(0).all()

    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
    def test_is_the_left_inverse_in_lower_precision(self, dtype: torch.dtype) -> None:
        features, labels = random_features(0, dimensions=8).to(dtype), mixed_labels(1)
        lines, entities = target_lines(features, labels, 5, void=False)
        with torch.autocast("cpu", torch.bfloat16):
            space = segment_space(lines, entities)
        identity = torch.eye(6) * space.rows[..., None]
        product = space.projection @ lines.mT
        assert torch.allclose(product[..., 1:], identity[..., 1:], atol=1e-5)
        assert space.projection.dtype == torch.float32

    def test_lines_of_neighbours_are_the_only_ones_that_count(self) -> None:
        lines = lines_at([0, 80, 5])  # 1 and 3 are all but the same, and with 2 dependent
        near = torch.ones(1, 4, 4, dtype=torch.bool)
        near[0, 1, 3] = near[0, 3, 1] = near[0, 2, 3] = near[0, 3, 2] = False
        entities = torch.tensor([[False, True, True, True]])
        assert segment_space(lines, entities).usable.any(1).tolist() == [False]
        space = segment_space(lines, entities, near)
        assert bool(space.usable[space.rows].all())
        assert torch.allclose(space.projection[0, 3], lines[0, 3])
        assert torch.allclose(space.projection[0, :3] @ lines[0, :3].T, torch.eye(3).double() * entities[0, :3])

    @pytest.mark.parametrize("neighbours", [None, torch.ones(1, 3, 3, dtype=torch.bool)])
    @pytest.mark.parametrize(("degrees", "usable"), [(0.0, False), (5.7, False), (5.8, True), (174.3, False)])
    def test_nearly_parallel_lines(self, degrees: float, usable: bool, neighbours: torch.Tensor | None) -> None:
        assert math.sin(math.radians(5.7)) < module.SMALLEST_SINE < math.sin(math.radians(5.8))
        space = segment_space(lines_at([0, degrees]), torch.tensor([[False, True, True]]), neighbours)
        assert space.usable.any(1).tolist() == [usable]
        assert bool(space.projection.any()) == usable

    def test_only_the_neighbours_of_a_doubtful_pair_are_left_out(self) -> None:
        lines = lines_at([0, 1, 80])  # 1 and 2 are nearly parallel, 3 is beside 2 only, 4 beside nobody
        lines = torch.cat([lines, lines[:, 1:2]], dim=1)
        near = torch.eye(5, dtype=torch.bool)[None].clone()
        for first, second in ((1, 2), (2, 3)):
            near[0, first, second] = near[0, second, first] = True
        entities = torch.tensor([[False, True, True, True, True]])
        assert segment_space(lines, entities, near).usable.tolist() == [[False, False, False, True, True]]
        assert not segment_space(lines, entities).usable.any()

    @pytest.mark.parametrize("neighbours", [None, torch.ones(2, 6, 6, dtype=torch.bool)])
    def test_more_entities_than_dimensions(self, neighbours: torch.Tensor | None) -> None:
        lines = torch.randn(2, 6, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        entities = torch.tensor([[False] + [True] * 5, [False] + [True] * 3 + [False] * 2])
        lines = torch.nn.functional.normalize(lines, dim=2) * entities[..., None]
        assert segment_space(lines, entities, neighbours, smallest_sine=1e-6).usable.any(1).tolist() == [False, True]

    @pytest.mark.parametrize("neighbours", [None, torch.ones(1, 3, 3, dtype=torch.bool)])
    def test_no_entity_is_no_degenerate_case(self, neighbours: torch.Tensor | None) -> None:
        space = segment_space(torch.zeros(1, 3, 2), torch.zeros(1, 3, dtype=torch.bool), neighbours)
        assert bool(space.usable[space.rows].all())
        assert not space.rows.any()
        assert not space.projection.any()

    @pytest.mark.parametrize("neighbours", [None, some_neighbours(2, images=2)])
    def test_gradcheck(self, neighbours: torch.Tensor | None) -> None:
        generator = torch.Generator().manual_seed(0)
        lines = torch.randn(2, 3, 4, generator=generator, dtype=torch.float64)
        lines[1, 2] = lines[1, 1]  # this image is left out, and its gradient is zero
        entities = torch.ones(2, 3, dtype=torch.bool)

        def projection(values: torch.Tensor) -> torch.Tensor:
            return segment_space(values, entities, neighbours).projection

        assert gradcheck(projection, lines.requires_grad_())


class TestSegmentLosses:
    def one_entity(self, features: torch.Tensor, labels: torch.Tensor) -> tuple[float, float]:
        rows = torch.tensor([[False, True]])
        projection = torch.tensor([[[0.0, 0.0], [1.0, 0.0]]])
        found = segment_losses(features, labels, SegmentSpace(projection, rows, rows))
        return found[0].item(), found[1].item()

    def test_by_hand(self) -> None:
        # S = 1, 0.6, 0.8, 0 and the mask 1, 1, 0, ignored: errors 0, -0.4, 0.8; differences -0.4, 1.2
        features = torch.tensor([[[[1.0, -0.6, 0.8, 0.0]], [[0.0, 0.8, 0.6, 1.0]]]])
        segment, gradient = self.one_entity(features, torch.tensor([[[1, 1, 0, -1]]]))
        assert segment == pytest.approx((0.16 + 0.64) / 3)
        # full size: two pairs; every second pixel: one, 0.8; every fourth: none
        assert gradient == pytest.approx((0.16 + 1.44) / 2 + 0.64)

    def test_differences_in_both_directions_are_one_mean(self) -> None:
        features = torch.tensor([[[[1.0, 0.0], [0.0, 0.0], [0.0, 0.0]], [[0.0, 1.0], [1.0, 1.0], [1.0, 1.0]]]])
        segment, gradient = self.one_entity(features, torch.zeros(1, 3, 2, dtype=torch.int64))
        assert segment == pytest.approx(1 / 6)
        # full size: 2 of 3 + 4 pairs differ by 1; every second pixel: one pair, which does
        assert gradient == pytest.approx(2 / 7 + 1)

    @pytest.mark.parametrize("void", [False, True])
    @pytest.mark.parametrize("near", [None, some_neighbours(5)])
    @pytest.mark.parametrize("block", [module.BLOCK_ELEMENTS, 400])
    def test_against_the_loop(
        self, monkeypatch: pytest.MonkeyPatch, void: bool, near: torch.Tensor | None, block: int
    ) -> None:
        monkeypatch.setattr(module, "BLOCK_ELEMENTS", block)
        features, labels = random_features(4, dimensions=8, height=11), mixed_labels(5, height=11)
        expected = np.zeros(2)
        for image in range(3):
            table = None if near is None else near[image].numpy()
            found = loops.segment_losses(image_of(features, image), labels[image].numpy(), void, table)
            assert found is not None
            expected += np.array(found) / 3
        features.requires_grad_()
        for loss, value in zip(losses_of(features, labels, void, near), expected, strict=True):
            assert loss.item() == pytest.approx(value)

    def test_blocks_change_no_gradient(self, monkeypatch: pytest.MonkeyPatch) -> None:
        features, labels = random_features(4, dimensions=8).requires_grad_(), mixed_labels(5)
        whole = torch.autograd.grad(sum(losses_of(features, labels)), features)[0]
        monkeypatch.setattr(module, "BLOCK_ELEMENTS", 400)
        blocks = torch.autograd.grad(sum(losses_of(features, labels)), features)[0]
        assert torch.allclose(whole, blocks)

    @pytest.mark.parametrize("void", [False, True])
    @pytest.mark.parametrize("near", [None, some_neighbours(4, images=1)])
    def test_gradcheck(self, void: bool, near: torch.Tensor | None) -> None:
        raw, labels = random_raw(6, images=1, height=4, width=5), mixed_labels(7, height=4, width=5)[:1]
        space = segment_space(*target_lines(unit_features(raw), labels, 4, void), near, smallest_sine=1e-3)
        assert space.usable[space.rows].all()

        def losses(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return segment_losses(unit_features(values), labels, space, near)

        assert gradcheck(losses, raw.requires_grad_())

    def test_order_of_pixels_means_nothing_to_the_masks(self) -> None:
        features, labels = random_features(4, dimensions=8), mixed_labels(5)
        shuffled = losses_of(*shuffled_pixels(1, features, labels))
        assert torch.allclose(shuffled[0], losses_of(features, labels)[0])
        assert not torch.allclose(shuffled[1], losses_of(features, labels)[1])

    def test_perfect_features(self) -> None:
        labels = mixed_labels(5).clamp(min=0)
        features = torch.eye(6)[labels].permute(0, 3, 1, 2)
        assert losses_of(features, labels)[0].item() == pytest.approx(0, abs=1e-10)
        assert losses_of(features, labels)[1].item() == pytest.approx(0, abs=1e-10)

    def test_images_left_out_count_as_zero(self) -> None:
        features, labels = random_features(4, dimensions=8), mixed_labels(5)
        alone = losses_of(features[:1], labels[:1])
        features[1:] = features[1:, :, :1, :1]  # all parallel: one line for several entities
        labels[2] = labels[1]
        found = losses_of(features, labels)
        assert found[0].item() == pytest.approx(alone[0].item() / 3)
        assert found[1].item() == pytest.approx(alone[1].item() / 3)

    @pytest.mark.parametrize("label", [-1, 0, 1])
    @pytest.mark.parametrize("size", [(1, 1), (1, 5), (3, 2)])
    def test_small_images(self, label: int, size: tuple[int, int]) -> None:
        features = random_features(0, 2, 3, *size).requires_grad_()
        segment, gradient = losses_of(features, torch.full((2, *size), label), count=2)
        (segment + gradient).backward()
        assert features.grad is not None
        assert features.grad.isfinite().all()
        assert bool(segment > 1e-12) == (label == 1 and size != (1, 1))

    def test_no_scale_is_no_gradient_loss(self) -> None:
        features, labels = random_features(4, dimensions=8), mixed_labels(5)
        space = segment_space(*target_lines(features, labels, 5, void=False))
        segment, gradient = segment_losses(features, labels, space, scales=0)
        assert gradient.item() == 0
        assert segment == losses_of(features, labels)[0]
