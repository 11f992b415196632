"""Holes of segments, by hand and against scipy."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import ndimage

from upseg.functional.label_maps import fill_enclosed_holes

MAPS = arrays(np.int32, array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.integers(0, 3))


def map_of(*rows: str) -> np.ndarray:
    return np.array([[int(letter) for letter in row] for row in rows], np.int32)


def test_a_hole_in_one_segment_is_filled_and_no_other() -> None:
    labels = map_of(
        "1111133333",
        "1001133303",
        "1101133333",
        "1111022222",
        "1111120222",
        "0111122222",
    )
    filled = labels.copy()
    filled[1, 1:3] = filled[2, 2] = 1
    filled[1, 8] = 3
    filled[4, 6] = 2
    assert np.array_equal(fill_enclosed_holes(labels), filled)  # (3, 4) touches two segments, (5, 0) the edge


@settings(max_examples=40, deadline=None)
@given(MAPS)
def test_holes_of_a_single_segment_are_those_of_scipy(labels: np.ndarray) -> None:
    mask = (labels > 0).astype(np.int32)
    # what is only cut off by a corner is enclosed for both: void is 4-connected
    assert np.array_equal(fill_enclosed_holes(mask) > 0, ndimage.binary_fill_holes(mask))


def test_maps_without_holes_or_pixels_stay() -> None:
    for labels in (np.ones((3, 3), np.int32), np.zeros((2, 4), np.int32), np.zeros((1, 1), np.int32)):
        assert np.array_equal(fill_enclosed_holes(labels), labels)
