import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from upseg.functional.label_maps import connected_components
from upseg.split.baselines import distance_objects, remove_small_objects

CLASS_MAPS = arrays.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.integers(0, 2))
EITHER = pytest.mark.parametrize("split", [connected_components, distance_objects])
ROWS, COLUMNS = np.mgrid[:40, :80]


def disc(row: int, column: int, radius: float) -> np.ndarray:
    return (ROWS - row) ** 2 + (COLUMNS - column) ** 2 < radius**2


def dumbbell() -> np.ndarray:
    """Two squares of 11 x 11, whose centres are 6 from the border, and a way of width 5 between them, 3 from it."""
    classes = np.zeros((15, 40), np.uint8)
    classes[2:13, 2:13] = classes[2:13, 24:35] = classes[5:10, 13:24] = 1
    return classes


def test_a_component_is_one_object_and_classes_that_touch_are_two() -> None:
    classes = np.array([[1, 1, 0, 2], [1, 0, 0, 2], [0, 0, 1, 2]])
    assert connected_components(classes).tolist() == [[1, 1, 0, 2], [1, 0, 0, 2], [0, 0, 3, 2]]


def test_diagonal_neighbours_are_one_object_if_asked() -> None:
    classes = np.array([[1, 0], [0, 1]])
    assert connected_components(classes).tolist() == [[1, 0], [0, 2]]
    assert connected_components(classes, connectivity=2).tolist() == [[1, 0], [0, 1]]
    assert distance_objects(classes, connectivity=2).tolist() == [[1, 0], [0, 1]]


def test_touching_discs_are_one_component_and_come_apart_at_their_neck() -> None:
    left, right = disc(20, 22, 14), disc(20, 46, 14)
    classes = (left | right).astype(np.uint8)
    assert connected_components(classes).max() == 1
    objects = distance_objects(classes)
    assert objects.max() == 2
    assert (objects[left & (COLUMNS < 34)] == 1).all()
    assert (objects[right & (COLUMNS > 34)] == 2).all()


def test_peaks_are_two_objects_only_if_the_way_between_them_falls_by_more_than_the_prominence() -> None:
    assert distance_objects(dumbbell(), prominence=2.9).max() == 2
    assert distance_objects(dumbbell(), prominence=3.0).max() == 1


def test_classes_are_cut_by_themselves() -> None:
    classes = np.zeros((40, 80), np.uint8)
    classes[disc(20, 22, 14)], classes[disc(20, 46, 14)] = 1, 7
    objects = distance_objects(classes)
    assert objects.max() == 2
    assert ((objects == 1) == (classes == 1)).all()
    assert ((objects == 2) == (classes == 7)).all()


def test_the_edge_of_the_image_is_no_border() -> None:
    """A strip that reaches from edge to edge is one object however long; half a disc at the edge has its peak there."""
    strip = np.zeros((9, 60), np.uint8)
    strip[2:7] = 1
    assert distance_objects(strip).max() == 1
    halves = (disc(0, 20, 12) | disc(0, 40, 12)).astype(np.uint8)
    assert distance_objects(halves).max() == 2


@EITHER
@pytest.mark.parametrize("shape", [(0, 0), (0, 5), (5, 0)])
def test_a_map_without_pixels_has_no_objects(split, shape) -> None:
    assert split(np.zeros(shape, np.int64)).shape == shape


@EITHER
def test_a_map_without_classes_has_none_and_one_full_of_a_class_has_one(split) -> None:
    assert not split(np.zeros((4, 5), np.uint8)).any()
    assert (split(np.full((4, 5), 3, np.uint8)) == 1).all()
    assert split(np.array([[9]])).tolist() == [[1]]


@EITHER
def test_large_and_negative_numbers_are_classes_too(split) -> None:
    assert split(np.array([[70_000, 0, -2]])).tolist() == [[1, 0, 2]]


def test_small_objects_are_left_out_and_the_others_numbered_anew() -> None:
    objects = np.array([[1, 0, 2, 2, 0], [0, 0, 2, 2, 0], [3, 3, 0, 0, 4]], np.int32)
    assert remove_small_objects(objects, 2).tolist() == [[0, 0, 1, 1, 0], [0, 0, 1, 1, 0], [2, 2, 0, 0, 0]]


def test_the_area_of_what_is_left_out_is_below_the_least() -> None:
    assert remove_small_objects(np.array([[1, 2, 2]], np.int32), 0).tolist() == [[1, 2, 2]]
    assert remove_small_objects(np.array([[1, 2, 2]], np.int32), 2).tolist() == [[0, 1, 1]]
    assert remove_small_objects(np.array([[1, 2, 2]], np.int32), 3).tolist() == [[0, 0, 0]]


@pytest.mark.parametrize("prominence", [0.0, -1.0, float("nan")])
def test_a_prominence_that_is_none_is_refused(prominence) -> None:
    with pytest.raises(ValueError, match="prominence must be above 0"):
        distance_objects(np.ones((2, 2), np.uint8), prominence=prominence)


@settings(max_examples=30, deadline=None)
@given(CLASS_MAPS, st.sampled_from([0.3, 1.0]), st.sampled_from([1, 2]))
def test_objects_divide_components_and_nothing_else(classes, prominence, connectivity) -> None:
    objects = distance_objects(classes, prominence=prominence, connectivity=connectivity)
    components = connected_components(classes, connectivity=connectivity)
    assert ((objects > 0) == (classes > 0)).all()
    owners = {(int(o), int(c)) for o, c in zip(objects.ravel(), components.ravel(), strict=True)}
    assert len(owners) == len(np.unique(objects))  # no object lies in two components
    assert list(dict.fromkeys(objects[objects > 0].tolist())) == list(range(1, objects.max() + 1))
    for number in range(1, objects.max() + 1):
        assert connected_components((objects == number).astype(int), connectivity).max() == 1


@EITHER
@settings(max_examples=30, deadline=None)
@given(classes=CLASS_MAPS)
def test_the_numbers_of_the_classes_make_no_difference(split, classes) -> None:
    renamed = np.array([0, 9, 4])[classes]
    assert (split(renamed) == split(classes)).all()
