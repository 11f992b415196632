"""Peaks stand out from the passes between them, and every connected part has one."""

import numpy as np
import pytest

from upseg.functional.peaks import prominent_peaks

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
