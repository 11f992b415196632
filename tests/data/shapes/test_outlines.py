from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from upseg.data.shapes.outlines import (
    RANDOM_OUTLINES,
    Outline,
    circle,
    packed_cells,
    pixel_centres,
    rasterise,
    smooth_line,
    stroke,
    wobbly,
)

SQUARE = np.array([[1.0, 1.0], [1.0, 4.0], [4.0, 4.0], [4.0, 1.0]])


def drawn(outline: Outline, radius: float = 40.0) -> np.ndarray:
    """The mask of an outline of about unit radius, in the middle of a large image."""
    side = round(4 * radius)
    raster = rasterise(outline.moved(radius * np.eye(2), np.full(2, side / 2)), (side, side))
    assert raster is not None
    mask = np.zeros((side, side), bool)
    mask[raster.box] = raster.inside
    return mask


def test_a_square_on_the_grid_is_exact():
    raster = rasterise(Outline.of_rings([SQUARE]), (6, 6))
    assert raster.box == (slice(1, 4), slice(1, 4))
    assert raster.inside.all()
    assert (raster.coverage == 1).all()


def test_coverage_is_the_share_of_the_area():
    raster = rasterise(Outline.of_rings([SQUARE + np.array([0, 1 / 3])]), (6, 6))
    np.testing.assert_allclose(raster.coverage, np.tile([2 / 3, 1, 1, 1 / 3], (3, 1)), rtol=1e-6)
    assert raster.inside.tolist() == [[True, True, True, False]] * 3


def test_a_shape_is_cut_off_at_the_image():
    raster = rasterise(Outline.of_rings([SQUARE - 2]), (6, 6))
    assert raster.box == (slice(0, 2), slice(0, 2))
    assert rasterise(Outline.of_rings([SQUARE + 10]), (6, 6)) is None
    assert rasterise(Outline.of_rings([SQUARE - 10]), (6, 6)) is None


def test_a_ring_within_a_ring_is_a_hole_and_groups_are_united():
    holed = Outline.of_rings([SQUARE * 2, SQUARE + 2])
    inside = rasterise(holed, (12, 12)).inside
    assert inside.sum() == 36 - 9
    filled = rasterise(holed | Outline.of_rings([SQUARE + 2]), (12, 12)).inside
    assert filled.all()


def test_pixel_centres_are_those_of_the_box():
    rows, columns = pixel_centres(rasterise(Outline.of_rings([SQUARE + np.array([0, 1])]), (6, 6)))
    assert rows.ravel().tolist() == [1.5, 2.5, 3.5]
    assert columns.ravel().tolist() == [2.5, 3.5, 4.5]


def test_a_stroke_covers_what_is_within_half_its_width():
    points = np.array([[0.0, 0.0], [0.0, 30.0], [12.0, 30.0]])
    side = 60
    raster = rasterise(stroke(points, np.full(3, 5.0)).moved(np.eye(2), np.array([20.0, 10.0])), (side, side))
    mask = np.zeros((side, side), bool)
    mask[raster.box] = raster.inside
    rows, columns = np.mgrid[:side, :side] + 0.5
    first = np.hypot(rows - 20, columns - np.clip(columns, 10, 40))
    second = np.hypot(rows - np.clip(rows, 20, 32), columns - 40)
    distance = np.minimum(first, second)
    assert mask[distance < 2.3].all()
    assert not mask[distance > 2.5].any()


def test_a_smooth_line_passes_through_its_corners():
    corners = np.array([[0.0, 0.0], [1.0, 2.0], [-1.0, 3.0], [0.5, 5.0]])
    np.testing.assert_allclose(smooth_line(corners, 10)[[0, 3, 6, 9]], corners, atol=1e-12)
    straight = smooth_line(np.array([[0.0, 0.0], [3.0, 6.0]]), 4)
    np.testing.assert_allclose(straight, [[0, 0], [1, 2], [2, 4], [3, 6]], atol=1e-12)


def test_round_outlines_have_unit_radius():
    np.testing.assert_allclose(np.hypot(*circle().T), 1)
    assert np.hypot(*wobbly(np.random.default_rng(0), 0.3).T).max() == pytest.approx(1)


@pytest.mark.parametrize("name", sorted(RANDOM_OUTLINES))
def test_random_outlines_are_in_one_piece_of_about_unit_radius(name):
    areas = []
    for seed in range(12):
        mask = drawn(RANDOM_OUTLINES[name](np.random.default_rng(seed), 0.2))
        assert ndimage.label(mask, np.ones((3, 3)))[1] == 1
        rows, columns = np.nonzero(mask)
        reach = np.hypot(rows - 79.5, columns - 79.5).max() / 40
        assert 0.45 < reach < 1.6
        areas.append(mask.sum())
    assert len(set(areas)) > 6  # they vary


@pytest.mark.parametrize("name", ["ring", "curve", "creature", "cross", "crescent"])
def test_thin_parts_hang_together_at_the_least_thickness(name):
    for seed in range(12):
        radius = 12.0
        mask = drawn(RANDOM_OUTLINES[name](np.random.default_rng(seed), 1.6 / radius), radius)
        parts, count = ndimage.label(mask, np.ones((3, 3)))
        # the horns of a crescent end in a point, where pixels may fall off
        assert np.bincount(parts.ravel())[1:].max() > 0.97 * mask.sum(), count


def test_rings_have_holes():
    holes = [ndimage.binary_fill_holes(m) & ~m for s in range(6) for m in [drawn(ring(s))]]
    assert all(hole.sum() > 50 for hole in holes)


def ring(seed: int) -> Outline:
    return RANDOM_OUTLINES["ring"](np.random.default_rng(seed), 0.2)


@pytest.mark.parametrize("count", [1, 2, 5, 9])
def test_packed_cells_share_their_borders_and_nothing_else(count):
    for seed in range(4):
        masks = [drawn(cell) for cell in packed_cells(np.random.default_rng(seed), count, 0.0)]
        total = np.sum(masks, axis=0)
        assert len(masks) == count
        assert total.max() == 1
        assert (ndimage.binary_fill_holes(total) == (total > 0)).all()  # no gap between them
        touching = [
            any((ndimage.binary_dilation(a) & b).any() for b in masks if b is not a) or count == 1 for a in masks
        ]
        assert all(touching)


def test_a_gap_parts_packed_cells():
    masks = [drawn(cell) for cell in packed_cells(np.random.default_rng(0), 5, 0.15)]
    assert not any((ndimage.binary_dilation(a) & b).any() for a in masks for b in masks if a is not b)
