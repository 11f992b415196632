"""Strokes: what they cover, and where a cut comes to lie."""

import numpy as np
import pytest

from upseg.functional.strokes import cut_region, draw_stroke, edge_strength


def test_a_dot_is_a_disc_of_its_radius() -> None:
    rows, columns = np.mgrid[:21, :21]
    assert np.array_equal(draw_stroke((21, 21), [(10, 10)], 4), np.hypot(rows - 10, columns - 10) <= 4)


def test_a_stroke_is_the_same_wherever_it_lies() -> None:
    points = [(5, 5), (9, 20), (18, 12)]
    far = draw_stroke((60, 60), [(row + 30, column + 25) for row, column in points], 3)
    assert np.array_equal(far[30:, 25:], draw_stroke((60, 60), points, 3)[:30, :35])


@pytest.mark.parametrize("points", [[(-50, -50)], [(3, 900), (4, 901)]])
def test_what_lies_outside_is_left_out(points) -> None:
    assert not draw_stroke((10, 10), points, 2).any()


def test_a_stroke_that_leaves_the_picture_is_drawn_as_far_as_it_is_inside() -> None:
    mask = draw_stroke((10, 10), [(5, -7), (5, 16)], 1)
    assert mask[4:7].all()
    assert mask.sum() == 30


@pytest.mark.parametrize(("points", "radius"), [([], 1), ([(1, 1)], -1)])
def test_strokes_that_are_none_are_refused(points, radius) -> None:
    with pytest.raises(ValueError, match="at least one point"):
        draw_stroke((5, 5), points, radius)


def two_halves(edge: int) -> np.ndarray:
    image = np.zeros((40, 60, 3), np.float32)
    image[:, edge:] = 1
    return image


def test_one_line_cuts_on_the_edge_that_is_near_it() -> None:
    parts = cut_region(np.ones((40, 60), bool), [[(0, 32), (39, 32)]], edge_strength(two_halves(30)))
    assert set(np.unique(parts)) == {1, 2}
    border = (parts[:, 1:] != parts[:, :-1]).argmax(axis=1) + 1
    assert np.abs(border - 30).max() <= 1


def test_two_strokes_mark_the_parts_that_an_edge_between_them_parts() -> None:
    parts = cut_region(
        np.ones((40, 60), bool), [[(10, 5), (30, 5)], [(10, 55), (30, 55)]], edge_strength(two_halves(20))
    )
    border = (parts[:, 1:] != parts[:, :-1]).argmax(axis=1) + 1
    assert np.abs(border - 20).max() <= 1
    assert parts[20, 5] == 1
    assert parts[20, 55] == 2


def test_a_cut_stays_inside_its_region_and_keeps_every_pixel_of_it() -> None:
    region = np.zeros((40, 60), bool)
    region[5:35, 10:50] = True
    region[0:2, 0:2] = True  # a part of it that no flood reaches
    parts = cut_region(region, [[(0, 30), (39, 30)]], np.zeros(region.shape))
    assert np.array_equal(parts > 0, region)
    assert parts[0, 0] == 1


def test_a_line_beside_the_region_cuts_nothing() -> None:
    region = np.zeros((20, 20), bool)
    region[:, :5] = True
    assert np.array_equal(cut_region(region, [[(0, 15), (19, 15)]], np.zeros((20, 20))), region.astype(np.int32))


def test_without_a_stroke_there_is_nothing_to_cut_along() -> None:
    with pytest.raises(ValueError, match="at least one stroke"):
        cut_region(np.ones((4, 4), bool), [], np.zeros((4, 4)))
