"""The watershed: heights whose divides are known, and the slow reference."""

import numpy as np
import pytest

from tests.reference import baiseg_extraction as slow
from upseg.methods.baiseg.extraction.flooding import flood_relief, seeded_watershed, touching, with_unmarked


def row(*values: float) -> np.ndarray:
    return np.array([values], np.float32)


def ids(*values: int) -> np.ndarray:
    return np.array([values], np.int32)


def test_markers_meet_at_the_highest_pixel() -> None:
    heights = row(0, 0.1, 0.2, 0.9, 0.1, 0.1, 0)
    grown = seeded_watershed(heights, ids(1, 0, 0, 0, 0, 0, 2), np.ones((1, 7), np.int32))
    assert grown.tolist() == [[1, 1, 1, 2, 2, 2, 2]]  # the crest goes to the side that reaches it first, the lower one


def test_markers_stay_in_their_region() -> None:
    heights = row(0, 0, 0, 0, 0, 0)
    assert seeded_watershed(heights, ids(1, 0, 0, 0, 0, 0), ids(1, 1, 1, 2, 2, 0)).tolist() == [[1, 1, 1, 0, 0, 0]]
    assert seeded_watershed(heights, ids(1, 0, 0, 0, 0, 0), ids(1, 1, 0, 1, 1, 1)).tolist() == [[1, 1, 0, 0, 0, 0]]
    assert seeded_watershed(heights, ids(1, 0, 0, 0, 0, 2), ids(1, 1, 2, 2, 0, 0)).tolist() == [[1, 1, 0, 0, 0, 0]]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("number", [1, 3])
def test_it_agrees_with_the_slow_reference(seed: int, number: int) -> None:
    rng = np.random.default_rng(seed)
    heights = rng.random((15, 21), np.float32)
    marked = np.zeros((15, 21), np.int32)
    marked[rng.integers(0, 14, 6), rng.integers(0, 20, 6)] = np.arange(1, 7)
    marked[2:7, 3:9] = 7  # a marker with an inside
    regions = np.kron(rng.integers(0, number + 1, (5, 7)), np.ones((3, 3))).astype(np.int32)
    grown = seeded_watershed(heights, marked, regions)
    assert np.array_equal(grown, slow.flooded(heights, marked, regions))
    assert not grown[regions == 0].any()


def test_a_marker_keeps_its_pixels_and_the_input_is_left_alone() -> None:
    marked = np.random.default_rng(0).integers(0, 4, (9, 9)).astype(np.int32)
    before = marked.copy()
    grown = seeded_watershed(np.zeros((9, 9), np.float32), marked, np.ones((9, 9), np.int32))
    assert np.array_equal(marked, before)
    assert np.array_equal(grown[before > 0], before[before > 0])
    assert grown.all()


def test_touching_means_an_edge_between_two_regions() -> None:
    assert touching(ids(1, 2))
    assert touching(ids(1, 2).T.copy())
    assert not touching(ids(1, 0, 2))
    assert not touching(ids(1, 1))
    assert not touching(np.array([[1, 0], [0, 2]], np.int32))


def test_parts_without_a_marker_become_one_marker_each() -> None:
    regions = np.array([[1, 1, 0, 1], [2, 2, 0, 1], [0, 0, 0, 0], [3, 0, 0, 3]], np.int32)
    marked = np.zeros((4, 4), np.int32)
    marked[0, 0] = 5
    expected = [[5, 0, 0, 6], [7, 7, 0, 6], [0, 0, 0, 0], [8, 0, 0, 9]]
    assert with_unmarked(marked, regions).tolist() == expected
    complete = with_unmarked(marked, regions)
    assert np.array_equal(with_unmarked(complete, regions), complete)


def test_the_gradient_is_high_where_any_colour_changes() -> None:
    image = np.zeros((9, 20, 3), np.float32)
    image[:, 10:, 2] = 1
    heights = flood_relief(np.zeros((9, 20), np.float32), image, "image")
    assert set(heights.argmax(axis=1).tolist()) <= {9, 10}
    assert heights[:, [0, -1]].max() < 1e-6
    boundary = np.random.default_rng(0).random((9, 20), np.float32)
    assert np.array_equal(flood_relief(boundary, image, "boundary"), boundary)


@pytest.mark.parametrize(("image", "found"), [(None, "none"), (np.zeros((3, 4, 3), np.float32), r"\(3, 4\)")])
def test_the_gradient_needs_an_image_of_the_same_size(image: np.ndarray | None, found: str) -> None:
    with pytest.raises(ValueError, match=f"an image of \\(5, 4\\) pixels is needed, got .*{found}"):
        flood_relief(np.zeros((5, 4), np.float32), image, "image")
