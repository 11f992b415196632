"""Canonical ids: 1..K by first pixel, of every integer type, against a loop."""

import numpy as np
import pytest
from scipy import ndimage

from upseg.functional.label_maps import (
    canonical_order,
    connected_components,
    distinct_values,
    segment_boxes,
    segment_centroids,
)

TYPES = [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64]


def expected_order(labels: np.ndarray) -> list[int]:
    return [value for value in dict.fromkeys(labels.ravel().tolist()) if value]


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("run", [1, 7])
@pytest.mark.parametrize("low", [0, -5, 3])
def test_ids_are_numbered_by_their_first_pixel(dtype: type[np.integer], run: int, low: int) -> None:
    if low < 0 and np.dtype(dtype).kind == "u":
        low = 0
    draw = np.random.default_rng(run)
    for _ in range(20):
        labels = np.repeat(draw.integers(low, 20, draw.integers(1, 30, 2)), run, axis=1).astype(dtype)
        found, values = canonical_order(labels)
        expected = expected_order(labels)
        assert values.tolist() == expected
        assert values.dtype == labels.dtype
        numbers = {0: 0} | {value: number for number, value in enumerate(expected, start=1)}
        assert found.tolist() == [[numbers[value] for value in row] for row in labels.tolist()]
        assert found.dtype == np.int32


@pytest.mark.parametrize("run", [1, 9])
def test_maps_of_several_blocks(run: int) -> None:
    labels = np.repeat(np.random.default_rng(0).integers(0, 3000, (700, 720 // run)), run, axis=1).astype(np.int32)
    found, values = canonical_order(labels)
    assert values.tolist() == expected_order(labels)
    assert np.array_equal(np.append(0, values)[found], labels)


@pytest.mark.parametrize("most", [2**24, 2**40])
def test_ids_of_any_size(most: int) -> None:
    draw = np.random.default_rng(0)
    ids = draw.integers(0, most, 200)
    labels = np.repeat(ids[draw.integers(0, 200, (60, 20))], 3, axis=1)
    found, values = canonical_order(labels)
    assert values.tolist() == expected_order(labels)
    assert np.array_equal(np.append(0, values)[found], labels)


@pytest.mark.parametrize("most", [20, 2**24, 2**40])
def test_distinct_values_are_those_of_numpy(most: int) -> None:
    values = np.random.default_rng(0).integers(0, most, 60)[np.random.default_rng(1).integers(0, 60, 500)]
    unique, places = distinct_values(values)
    assert unique.tolist() == np.unique(values).tolist()
    assert np.array_equal(unique[places], values)
    assert len(distinct_values(values[:0])[0]) == 0


@pytest.mark.parametrize("shape", [(1, 9), (9, 1), (23, 31)])
def test_centroids_are_the_means_of_rows_and_columns(shape: tuple[int, int]) -> None:
    draw = np.random.default_rng(0)
    labels, values = canonical_order(draw.integers(0, 5, shape) // 2)
    found = segment_centroids(labels)
    expected = [np.argwhere(labels == number).mean(0) for number in range(1, len(values) + 1)]
    np.testing.assert_allclose(found, expected, rtol=1e-14)


@pytest.mark.parametrize("shape", [(1, 9), (9, 1), (700, 720), (0, 4), (4, 0)])
def test_boxes_are_those_of_scipy(shape: tuple[int, int]) -> None:
    draw = np.random.default_rng(0)
    labels = np.sort(draw.integers(0, 3000, shape), axis=1).astype(np.int32) * (draw.random(shape) < 0.5)
    expected = [found for found in ndimage.find_objects(labels) if found] if labels.size else []
    assert segment_boxes(labels) == [(row.start, column.start, row.stop, column.stop) for row, column in expected]


@pytest.mark.parametrize("connectivity", [1, 2])
def test_parts_are_numbered_by_their_first_pixel(connectivity: int) -> None:
    labels = np.random.default_rng(0).integers(0, 3, (40, 50))
    parts = connected_components(labels, connectivity)
    structure = ndimage.generate_binary_structure(2, connectivity)
    assert parts.max() == sum(ndimage.label(labels == value, structure)[1] for value in (1, 2))
    assert np.array_equal(canonical_order(parts)[0], parts)
    assert np.array_equal(parts > 0, labels > 0)
