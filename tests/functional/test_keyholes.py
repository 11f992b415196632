import numpy as np
import pytest
from hypothesis import given, settings

from tests.formats.strategies import label_maps
from upseg.formats.outlines import outlines, paint_polygons
from upseg.functional.keyholes import join_rings
from upseg.segmentation import Segmentation


def square(top: int, left: int, size: int) -> np.ndarray:
    return np.array([[top, left], [top, left + size], [top + size, left + size], [top + size, left]])


def painted(ring: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    return paint_polygons([(1, [ring.astype(float)])], shape)[0] > 0


def test_one_ring_stays_as_it_is() -> None:
    assert join_rings([square(1, 2, 3)]).tolist() == square(1, 2, 3).tolist()


def test_a_hole_is_reached_from_the_nearest_corner_along_the_grid_and_back() -> None:
    joined = join_rings([square(0, 0, 9), square(2, 1, 3)])
    assert joined.tolist() == [
        *([0, 0], [0, 1], [2, 1], [2, 4], [5, 4], [5, 1], [2, 1], [0, 1], [0, 0]),
        *([0, 9], [9, 9], [9, 0]),
    ]
    expected = np.ones((9, 9), bool)
    expected[2:5, 1:4] = False
    assert np.array_equal(painted(joined, (9, 9)), expected)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_rings_are_joined_whatever_their_order(order) -> None:
    rings = [square(0, 0, 2), square(0, 4, 2), square(0, 8, 2)]
    joined = join_rings([rings[number] for number in order])
    expected = np.zeros((3, 12), bool)
    for first in (0, 4, 8):
        expected[:2, first : first + 2] = True
    assert np.array_equal(painted(joined, (3, 12)), expected)
    # no bridge passes over the square in the middle
    steps = np.abs(np.diff(np.concatenate((joined, joined[:1])), axis=0)).sum()
    assert steps == 3 * 8 + 2 * 2 * 2


@settings(deadline=None)
@given(labels=label_maps)
def test_every_segment_of_any_map_is_one_ring(labels) -> None:
    segmentation = Segmentation.from_labels(labels)
    for segment, parts in outlines(segmentation):
        joined = join_rings([ring for part in parts for ring in part])
        assert np.array_equal(painted(joined, segmentation.shape), segmentation.mask(segment.id))
