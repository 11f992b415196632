from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics.cluster import contingency_matrix

from tests.metrics.strategies import blobs, pairs
from tests.reference import metrics as reference
from upseg.functional.contingency import overlaps, overlaps_by_pixel

LARGE = 2**40


def contingency_table(a: np.ndarray, b: np.ndarray, valid: np.ndarray | None = None) -> np.ndarray:
    """The dense table of `overlaps`."""
    found = overlaps(a, b, valid)
    table = np.zeros((len(found.row_ids), len(found.column_ids)), np.int64)
    table[found.rows, found.columns] = found.counts
    return table


def test_hand_counted() -> None:
    a = np.array([[0, 1, 1], [2, 2, 1]])
    b = np.array([[5, 5, 0], [0, 9, 5]])
    assert contingency_table(a, b).tolist() == [[0, 1, 0], [1, 2, 0], [1, 0, 1]]


@given(pairs)
@settings(max_examples=80, deadline=None)
def test_agrees_with_loop(maps: tuple[np.ndarray, np.ndarray]) -> None:
    np.testing.assert_array_equal(contingency_table(*maps), reference.contingency(*maps))


@given(pairs, st.sampled_from([np.uint8, np.uint16, np.int64, np.uint64]))
@settings(max_examples=30, deadline=None)
def test_dtype_and_large_ids_change_nothing(maps: tuple[np.ndarray, np.ndarray], dtype: type) -> None:
    a, b = maps
    expected = contingency_table(a, b)
    np.testing.assert_array_equal(contingency_table(a.astype(dtype), b.astype(dtype)), expected)
    np.testing.assert_array_equal(contingency_table(a.astype(np.int64) * LARGE, b), expected)
    np.testing.assert_array_equal(contingency_table(a, b.astype(np.int64) * 65536), expected)


@given(pairs)
@settings(max_examples=30, deadline=None)
def test_agrees_with_scikit_learn(maps: tuple[np.ndarray, np.ndarray]) -> None:
    a, b = (values.astype(np.int64) + 1 for values in maps)
    np.testing.assert_array_equal(contingency_table(a, b)[1:, 1:], contingency_matrix(a.ravel(), b.ravel()))


def test_overlaps_name_their_ids_and_areas() -> None:
    a = np.array([[7, 7, LARGE, 0]])
    found = overlaps(a, np.array([[3, 3, 3, 3]]))
    assert found.row_ids.tolist() == [0, 7, LARGE]
    assert found.column_ids.tolist() == [0, 3]
    assert found.row_areas.tolist() == [1, 2, 1]
    assert found.column_areas.tolist() == [0, 4]
    assert found.between_segments().tolist() == [False, True, True]


@given(pairs, st.sampled_from([1, LARGE]))
@settings(max_examples=30, deadline=None)
def test_each_pixel_knows_its_cell(maps: tuple[np.ndarray, np.ndarray], factor: int) -> None:
    a, b = (values.astype(np.int64) * factor for values in maps)
    found, cells = overlaps_by_pixel(a, b)
    np.testing.assert_array_equal(found.row_ids[found.rows[cells]], a.ravel())
    np.testing.assert_array_equal(found.column_ids[found.columns[cells]], b.ravel())
    np.testing.assert_array_equal(np.bincount(cells), found.counts)


def test_best_of_equals_is_the_smallest_id() -> None:
    found = overlaps(np.array([[1, 1, 2]]), np.array([[8, 4, 0]]))
    ious, cells = found.best_cells()
    assert ious.tolist() == [0.5, 0.0]
    assert found.column_ids[found.columns[cells[0]]] == 4
    assert cells[1] == -1


def test_valid_leaves_pixels_out() -> None:
    a, b = blobs(0, 30, 40, 5), blobs(1, 30, 40, 5)
    valid = np.random.default_rng(0).random(a.shape) < 0.5
    np.testing.assert_array_equal(contingency_table(a, b, valid), contingency_table(a[valid], b[valid]))
    # what is left out may hold anything
    np.testing.assert_array_equal(contingency_table(np.where(valid, a, -1), b, valid), contingency_table(a, b, valid))


def test_many_segments_need_no_dense_table() -> None:
    a = np.arange(1, 300 * 300 + 1).reshape(300, 300)
    found = overlaps(a, a)
    assert len(found.counts) == a.size
    assert found.best_cells()[0].min() == 1.0


def test_no_pixels() -> None:
    empty = np.zeros((0, 5), np.int32)
    assert contingency_table(empty, empty).tolist() == [[0]]


@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (np.zeros((2, 3), int), np.zeros((3, 2), int), "same shape"),
        (np.zeros((2, 2), int), np.full((2, 2), -1), "got -1"),
        (np.full((2, 2), 2**63, np.uint64), np.zeros((2, 2), int), "less than"),
    ],
)
def test_bad_maps(a: np.ndarray, b: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        overlaps(a, b)
