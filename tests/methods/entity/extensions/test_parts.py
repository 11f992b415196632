"""Small parts, by hand and against properties that must hold for every map."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import ndimage

from upseg.functional.label_maps import connected_components
from upseg.methods.entity.extensions.parts import absorb_small_parts, adjacent_pairs, trim_rims

MAPS = arrays(np.int32, array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.integers(0, 3))


def map_of(*rows: str) -> np.ndarray:
    return np.array([[int(letter) for letter in row] for row in rows], np.int32)


def parts_of(labels: np.ndarray) -> list[tuple[int, np.ndarray]]:
    """(label, mask) of each 4-connected part."""
    parts = connected_components(labels)
    masks = [parts == number for number in range(1, parts.max() + 1)]
    return [(int(labels[mask][0]), mask) for mask in masks]


def test_pairs_are_the_shared_edges_in_both_directions() -> None:
    first, second = adjacent_pairs(map_of("112", "103"))
    pairs = sorted(zip(first.tolist(), second.tolist(), strict=True))
    assert pairs == [(0, 1), (0, 1), (0, 3), (1, 0), (1, 0), (1, 2), (2, 1), (2, 3), (3, 0), (3, 2)]


def test_a_small_part_joins_the_neighbour_with_the_longest_border() -> None:
    labels = map_of("1111222", "1133222", "1111222")  # 3 has five edges with 1 and one with 2
    assert np.array_equal(absorb_small_parts(labels, 3, drop_isolated=False), np.where(labels == 3, 1, labels))
    assert np.array_equal(absorb_small_parts(labels, 2, drop_isolated=False), labels)


def test_of_borders_of_equal_length_that_of_the_first_part_decides() -> None:
    assert absorb_small_parts(map_of("22311"), 2, drop_isolated=False).tolist() == [[2, 2, 2, 1, 1]]


def test_a_far_part_of_a_large_segment_is_small_too() -> None:
    labels = map_of("1112221", "1112222")
    assert np.array_equal(absorb_small_parts(labels, 2, drop_isolated=False), map_of("1112222", "1112222"))


def test_a_chain_of_small_parts_goes_where_its_end_goes() -> None:
    assert absorb_small_parts(map_of("1111234"), 2, drop_isolated=False).tolist() == [[1] * 7]
    assert absorb_small_parts(map_of("0230"), 2, drop_isolated=False).tolist() == [[0, 2, 2, 0]]


@pytest.mark.parametrize("drop", [False, True])
def test_an_isolated_small_part_stays_or_becomes_void(drop: bool) -> None:
    labels = map_of("1100", "0002")
    assert np.array_equal(absorb_small_parts(labels, 2, drop_isolated=drop), map_of("1100", "000" + "20"[drop]))


@settings(max_examples=60, deadline=None)
@given(MAPS, st.integers(0, 8), st.booleans())
def test_what_is_left_is_large_or_alone(labels: np.ndarray, least: int, drop: bool) -> None:
    result = absorb_small_parts(labels, least, drop_isolated=drop)
    for label, mask in parts_of(labels):
        if mask.sum() >= least:
            assert (result[mask] == label).all()
    for _, mask in parts_of(result):
        around = ndimage.binary_dilation(mask) & ~mask
        assert mask.sum() >= least or (not drop and (result[around] == 0).all())
    assert ((result == 0) == (labels == 0)).all() or drop
    assert set(np.unique(result)) <= set(np.unique(labels)) | {0}


def test_maps_without_small_parts_or_pixels_stay() -> None:
    for labels in (np.ones((3, 3), np.int32), np.zeros((2, 4), np.int32), np.zeros((1, 1), np.int32)):
        assert np.array_equal(absorb_small_parts(labels, 1, drop_isolated=True), labels)


def test_a_rim_joins_the_object_that_it_surrounds_and_a_thin_object_alone_stays() -> None:
    labels = np.zeros((20, 30), np.int32)
    labels[2:14, 2:14] = 1  # a rim of two pixels
    labels[4:12, 4:12] = 2
    labels[17:19, 2:28] = 3  # two pixels thick, without a neighbour
    found = absorb_small_parts(labels, 5, minimum_thickness=4, drop_isolated=True)
    expected = labels.copy()
    expected[labels == 1] = 2
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(absorb_small_parts(labels, 5, drop_isolated=True), labels)


def test_thickness_is_that_of_the_largest_disc_and_the_edge_of_the_map_takes_nothing_from_it() -> None:
    labels = np.ones((9, 12), np.int32)
    labels[:, :2] = 2  # at the edge: as thick as what may be outside
    labels[4, 6:9] = 3
    found = absorb_small_parts(labels, 0, minimum_thickness=3, drop_isolated=False)
    assert set(np.unique(found)) == {1, 2}
    one = np.ones((1, 1), np.int32)
    np.testing.assert_array_equal(absorb_small_parts(one, 0, minimum_thickness=9, drop_isolated=True), one)


def test_rims_go_where_void_is_near_and_stay_along_other_segments_and_the_edge() -> None:
    labels = np.zeros((9, 12), np.int32)
    labels[2:9, 1:6], labels[2:9, 6:11] = 1, 2  # side by side, down to the map's last row
    expected = np.zeros_like(labels)
    expected[3:9, 2:6], expected[3:9, 6:10] = 1, 2
    np.testing.assert_array_equal(trim_rims(labels, 1), expected)


def test_what_would_vanish_and_maps_without_void_are_not_trimmed() -> None:
    labels = np.zeros((9, 16), np.int32)
    labels[1:8, 1:8], labels[4:6, 10:15] = 1, 2  # two rows are all rim
    expected = np.zeros_like(labels)
    expected[3:6, 3:6], expected[4:6, 10:15] = 1, 2
    np.testing.assert_array_equal(trim_rims(labels, 2), expected)
    np.testing.assert_array_equal(trim_rims(labels, 0), labels)
    np.testing.assert_array_equal(trim_rims(np.ones((3, 4), np.int32), 5), np.ones((3, 4)))
    assert trim_rims(np.zeros((0, 4), np.int32), 1).shape == (0, 4)


@given(
    arrays(np.int32, array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.integers(0, 3)),
    st.integers(1, 3),
)
def test_trimming_keeps_every_segment_and_takes_only_what_is_near_void(labels: np.ndarray, width: int) -> None:
    trimmed = trim_rims(labels, width)
    assert set(np.unique(trimmed)) - {0} == set(np.unique(labels)) - {0}
    taken = trimmed != labels
    assert (trimmed[taken] == 0).all()
    rows, columns = np.nonzero(taken)
    void = np.argwhere(labels == 0)
    for row, column in zip(rows, columns, strict=True):
        assert np.hypot(*(void - (row, column)).T).min() <= width
