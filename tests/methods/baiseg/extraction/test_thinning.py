"""Thin lines: drawn boundaries whose crest is known, and the slow reference."""

import numpy as np
import pytest
from scipy import ndimage

from tests.reference import baiseg_extraction as slow
from upseg.methods.baiseg.extraction import thinning
from upseg.methods.baiseg.extraction.thinning import dilate, non_maximum_suppression, without_specks


def random_map(seed: int, shape: tuple[int, int], deviation: float = 1.5) -> np.ndarray:
    """A smooth map with values all over [0, 1]."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal(shape), deviation)
    return ((noise - noise.min()) / (noise.max() - noise.min())).astype(np.float32)


def circle(radius: float, width: float, size: int = 40) -> np.ndarray:
    rows, columns = np.mgrid[:size, :size] - (size - 1) / 2
    away = np.hypot(rows, columns) - radius
    return np.exp(-((away / width) ** 2)).astype(np.float32)


def holes(lines: np.ndarray) -> int:
    """How many 4-connected areas lines leave."""
    return int(ndimage.label(~lines)[1])


def test_the_crest_of_a_blurred_line_stays_with_its_value() -> None:
    boundary = np.zeros((9, 15), np.float32)
    boundary[:, 5:10] = np.array([0.2, 0.6, 0.9, 0.5, 0.1], np.float32)
    expected = np.zeros_like(boundary)
    expected[:, 7] = 0.9
    assert np.array_equal(non_maximum_suppression(boundary), expected)
    assert np.array_equal(non_maximum_suppression(boundary.T.copy()), expected.T)


@pytest.mark.parametrize(("width", "crest"), [(1, [7]), (2, [7, 8]), (3, [8]), (4, [8, 9]), (5, [9])])
def test_a_saturated_line_keeps_its_middle(width: int, crest: list[int]) -> None:
    boundary = np.zeros((9, 20), np.float32)
    boundary[:, 7 : 7 + width] = 1
    assert np.flatnonzero(non_maximum_suppression(boundary).all(axis=0)).tolist() == crest
    assert np.flatnonzero(non_maximum_suppression(boundary).any(axis=0)).tolist() == crest


@pytest.mark.parametrize("radius", [4.0, 5.5, 7.3, 9.0, 12.7, 15.0])
@pytest.mark.parametrize("width", [1.0, 2.0])
def test_a_circle_stays_closed_and_becomes_thin(radius: float, width: float) -> None:
    lines = non_maximum_suppression(circle(radius, width), 0.3) > 0
    assert holes(lines) == 2
    assert lines.sum() <= 8 * radius + 4  # one pixel wide: so many has a line of steps to the four neighbours
    rows, columns = np.nonzero(lines)
    assert np.abs(np.hypot(rows - 19.5, columns - 19.5) - radius).max() < 1


def test_a_weak_line_beside_a_strong_one_stays_whole() -> None:
    boundary = np.zeros((30, 30), np.float32)
    boundary[:, 8] = 1
    boundary[:, 15] = 0.35
    lines = non_maximum_suppression(ndimage.gaussian_filter(boundary, 0.7) * 1.7) > 0.1
    assert lines[:, 15].all()
    assert lines[:, 8].all()


@pytest.mark.parametrize("seed", range(3))
def test_it_agrees_with_the_slow_reference(seed: int) -> None:
    boundary = random_map(seed, (13, 17))
    expected = slow.thinned(boundary, thinning.SMOOTHING, thinning.STEEP, thinning.TOLERANCE)
    assert 0 < np.count_nonzero(expected) < boundary.size / 2
    assert np.array_equal(non_maximum_suppression(boundary), expected)


def test_it_turns_with_the_map() -> None:
    boundary = random_map(3, (40, 31))
    for turned in (np.rot90(boundary), boundary[::-1], boundary[:, ::-1], boundary.T):
        assert np.count_nonzero(non_maximum_suppression(turned.copy())) == np.count_nonzero(
            non_maximum_suppression(boundary)
        )
    assert np.array_equal(non_maximum_suppression(boundary[::-1].copy()), non_maximum_suppression(boundary)[::-1])


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    boundary = random_map(4, (90, 20))
    at_once = non_maximum_suppression(boundary, 0.2)
    monkeypatch.setattr(thinning, "BLOCK_PIXELS", 7 * 20)
    assert np.array_equal(non_maximum_suppression(boundary, 0.2), at_once)


def test_what_is_below_the_minimum_goes_and_nothing_else() -> None:
    boundary = random_map(5, (30, 30))
    everything = non_maximum_suppression(boundary)
    assert np.array_equal(non_maximum_suppression(boundary, 0.5), np.where(everything >= 0.5, everything, 0))


def lines_beside_a_contour(away: int, angle: float) -> tuple[np.ndarray, np.ndarray]:
    """A blurred line through (30, `away`), so far from a contour at the left edge; and the distance to that."""
    rows, columns = np.mgrid[:60, :60].astype(np.float64)
    across = (rows - 30) * np.sin(angle) + (columns - away) * np.cos(angle)
    return np.exp(-(across**2)).astype(np.float32), (columns + 1).astype(np.float32)


@pytest.mark.parametrize(("away", "stays"), [(2, 0), (3, 0), (4, 0), (5, 1), (10, 1)])
def test_a_line_along_a_near_contour_is_its_echo(away: int, stays: int) -> None:
    boundary, distance = lines_beside_a_contour(away, 0)
    assert (non_maximum_suppression(boundary, 0.3)[:, away] > 0).all()
    assert (non_maximum_suppression(boundary, 0.3, distance) > 0).sum() == stays * 60


@pytest.mark.parametrize("angle", [np.pi / 2, 1.2])
def test_a_line_that_leads_away_from_a_contour_is_not(angle: float) -> None:
    boundary, distance = lines_beside_a_contour(3, angle)
    assert np.array_equal(non_maximum_suppression(boundary, 0.3, distance), non_maximum_suppression(boundary, 0.3))


def test_midway_between_two_contours_a_line_is_no_echo() -> None:
    boundary, distance = lines_beside_a_contour(3, 0)
    both = np.minimum(distance, np.maximum(7 - np.arange(60), 0)).astype(np.float32)  # 1, 2, 3, 4, 3, 2, 1, 0, ...
    assert (non_maximum_suppression(boundary, 0.3, both)[:, 3] > 0).all()


def test_beyond_the_contour_nothing_stays() -> None:
    boundary = random_map(6, (30, 30))
    inside = np.zeros((30, 30), np.float32)
    inside[:, 15:] = 99
    assert not non_maximum_suppression(boundary, 0.3, inside)[:, :15].any()


@pytest.mark.parametrize("shape", [(0, 0), (0, 4), (1, 1), (1, 9), (2, 2)])
def test_maps_of_any_size(shape: tuple[int, int]) -> None:
    assert np.array_equal(non_maximum_suppression(np.zeros(shape, np.float32)), np.zeros(shape, np.float32))
    flat = np.full(shape, 0.5, np.float32)  # no pixel is lower than another
    assert np.array_equal(non_maximum_suppression(flat), flat)


@pytest.mark.parametrize("times", [0, 1, 2, 5])
def test_dilation_is_as_scipys_repeated(times: int) -> None:
    lines = np.random.default_rng(0).random((23, 31)) < 0.02
    square = np.ones((3, 3), bool)
    expected = ndimage.binary_dilation(lines, square, iterations=times) if times else lines
    assert np.array_equal(dilate(lines, times), expected)


@pytest.mark.parametrize("gap", [1, 2, 3, 4, 5])
def test_two_dilations_close_gaps_of_four_pixels(gap: int) -> None:
    lines = np.zeros((9, 30), bool)
    lines[4] = True
    lines[4, 10 : 10 + gap] = False
    lines[:4, 0] = lines[5:, 0] = lines[:4, -1] = lines[5:, -1] = True
    assert holes(dilate(lines, 2)) == (2 if gap <= 4 else 1)


def test_specks_go_and_dashes_stay() -> None:
    lines = np.zeros((30, 40), bool)
    lines[3, 3:7] = True  # 4 pixels
    lines[3, 20:25] = True  # 5 pixels
    lines[15, 3:39:5] = True  # dots with gaps of 4 pixels
    lines[25, 10] = lines[25, 35] = True
    expected = lines.copy()
    expected[3, 3:7] = expected[25] = False
    assert np.array_equal(without_specks(lines, 2), expected)
    dots_gone = expected.copy()
    dots_gone[15] = False
    assert np.array_equal(without_specks(lines, 1), dots_gone)
    assert not without_specks(np.zeros((4, 4), bool), 2).any()
