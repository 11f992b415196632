"""Peaks stand out from the passes between them, and every connected part has one."""

import numpy as np
import pytest
from scipy import ndimage
from skimage.morphology import reconstruction

from upseg.functional.peaks import prominent_peaks, raised_under

RELIEF = np.array([[0.0, 0.5, 0.4, 0.9, 0.3, 0.8, 0.0]])


@pytest.mark.parametrize(("prominence", "count"), [(0.05, 3), (0.2, 2), (0.6, 1)])
def test_peaks_must_stand_out_from_the_pass_between_them(prominence: float, count: int) -> None:
    inside = np.array([[True] * 6 + [False]])
    found = prominent_peaks(RELIEF, inside, prominence)
    assert found.max() == count
    assert found[0, 3] > 0
    assert found[0, -1] == 0


@pytest.mark.parametrize(("connectivity", "count"), [(1, 2), (2, 1)])
def test_a_way_over_a_corner_counts_with_eight_neighbours_alone(connectivity: int, count: int) -> None:
    relief = np.array([[3.0, 1.0], [1.0, 2.9]])
    inside = np.array([[True, False], [False, True]])
    assert prominent_peaks(relief, inside, 0.5, connectivity).max() == count


def test_flat_ground_and_no_ground() -> None:
    flat = np.zeros((4, 5), np.float32)
    assert (prominent_peaks(flat, np.ones(flat.shape, bool), 1.0) == 1).all()
    assert not prominent_peaks(flat, np.zeros(flat.shape, bool), 1.0).any()


def spiral(side: int = 41) -> np.ndarray:
    """A path of height 1 that winds inwards between walls of 0."""
    path, place, step = np.zeros((side, side), np.float32), 0 + 0j, 1 + 0j
    for length in (side - 1, *(n for n in range(side - 1, 2, -2) for _ in (0, 1))):
        for _ in range(length):
            path[int(place.imag), int(place.real)] = 1
            place += step
        step *= 1j
    return path


@pytest.mark.parametrize("connectivity", [1, 2])
@pytest.mark.parametrize("heights", [spiral(), np.random.default_rng(0).random((57, 43), np.float32), np.zeros((1, 5))])
def test_raising_is_the_reconstruction_of_scikit_image(heights: np.ndarray, connectivity: int) -> None:
    heights = heights.astype(np.float32)
    footprint = ndimage.generate_binary_structure(2, connectivity)
    for start in (heights - np.float32(0.12), np.where(np.arange(heights.size).reshape(heights.shape), 0, heights)):
        seed = np.minimum(start, heights).astype(np.float32)
        expected = reconstruction(seed, heights, footprint=footprint)
        assert np.array_equal(raised_under(seed, heights, connectivity), expected)
