"""Refinement: the three cases, what becomes of the pixels between them, and agreement with a loop over masks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tests.reference.entity_refinement import refine_slowly
from upseg.methods.entity.refinement import SegmentTree, refine, resize_labels


def tree(labels: object, parents: dict[int, int] | None = None) -> SegmentTree:
    array = np.array(labels, np.int32)
    return SegmentTree(array, {int(k): k / 100 for k in np.unique(array) if k}, parents or {})


def refined(existing: SegmentTree, clusters: object, minimum_area: int = 1) -> SegmentTree:
    array = np.array(clusters, np.int32)
    return refine(existing, array, {int(k): 0.5 + k / 100 for k in np.unique(array) if k}, minimum_area=minimum_area)


def blocks(*rectangles: tuple[int, int, int, int, int], side: int = 10) -> np.ndarray:
    """(row, column, row, column, id) painted one over the other on 0."""
    labels = np.zeros((side, side), np.int32)
    for top, left, bottom, right, number in rectangles:
        labels[top:bottom, left:right] = number
    return labels


WHOLE = (0, 0, 10, 10, 1)
HALVES = blocks(WHOLE, (0, 5, 10, 10, 2))


def test_the_same_object_gets_the_finer_mask_and_score() -> None:
    finer = blocks((0, 0, 10, 10, 9), (0, 6, 10, 10, 4))  # the border one column further
    result = refined(tree(HALVES), finer)
    np.testing.assert_array_equal(result.labels, np.where(finer == 9, 1, 2))
    assert result.scores == {1: 0.59, 2: 0.54}
    assert result.parents == {}


def test_a_part_becomes_a_segment_with_a_parent() -> None:
    finer = blocks(WHOLE, (2, 2, 5, 4, 3))
    result = refined(tree(blocks(WHOLE)), finer)
    np.testing.assert_array_equal(result.labels, blocks(WHOLE, (2, 2, 5, 4, 2)))
    assert result.parents == {2: 1}
    assert result.scores == {1: 0.51, 2: 0.53}


def test_what_is_neither_is_dropped() -> None:
    across = blocks((0, 3, 10, 7, 1))  # half in one, half in the other
    result = refined(tree(HALVES), across)
    np.testing.assert_array_equal(result.labels, HALVES)
    assert result.scores == {1: 0.01, 2: 0.02}
    assert result.parents == {}


def test_the_thresholds_belong_to_the_accepted_side() -> None:
    existing = tree(blocks((0, 0, 1, 10, 1), (1, 0, 10, 10, 2)))
    assert refined(existing, blocks((0, 0, 1, 8, 1))).scores[1] == 0.51  # IoU 8 / 10: the same object
    assert 3 in refined(existing, blocks((0, 0, 1, 7, 1))).scores  # IoU 7 / 10: a part of it
    column = blocks((0, 0, 5, 1, 1))  # 4 of 5 pixels in segment 2
    assert refined(existing, column).parents == {3: 2}
    assert refined(existing, blocks((0, 0, 4, 1, 1))).parents == {}  # 3 of 4


def test_parts_below_the_minimum_area_are_dropped() -> None:
    finer = blocks((2, 2, 5, 4, 3))
    assert len(refined(tree(blocks(WHOLE)), finer, minimum_area=6).scores) == 2
    np.testing.assert_array_equal(refined(tree(blocks(WHOLE)), finer, minimum_area=7).labels, blocks(WHOLE))


def test_a_replaced_segment_of_any_size_counts() -> None:
    existing = tree(blocks(WHOLE, (0, 0, 1, 1, 2)))
    assert refined(existing, blocks((0, 0, 1, 1, 5)), minimum_area=50).scores == {1: 0.01, 2: 0.55}


def test_pixels_that_a_replaced_segment_leaves_go_where_their_cluster_lies() -> None:
    existing = tree(blocks(WHOLE, (0, 0, 10, 4, 2)))
    corner = (8, 3, 10, 7, 8)  # 2 of its 8 pixels in segment 2: it is no part of segment 1, but lies mostly there
    result = refined(existing, blocks((0, 0, 10, 4, 7), corner))
    np.testing.assert_array_equal(result.labels, blocks(WHOLE, (0, 0, 10, 4, 2), (8, 3, 10, 4, 1)))
    assert result.scores == pytest.approx({1: 0.01, 2: 0.57})


def test_pixels_that_a_replaced_segment_leaves_become_void_where_the_background_is() -> None:
    existing = tree(blocks((2, 2, 7, 7, 1)))
    np.testing.assert_array_equal(refined(existing, blocks((2, 2, 7, 6, 3))).labels, blocks((2, 2, 7, 6, 1)))


def test_void_of_dropped_clusters_takes_nothing_from_a_segment() -> None:
    finer = blocks(WHOLE, (0, 0, 1, 10, 0))
    np.testing.assert_array_equal(refined(tree(blocks(WHOLE)), finer).labels, blocks(WHOLE))


def test_objects_that_only_the_finer_resolution_sees_in_the_void_have_no_parent() -> None:
    result = refined(tree(blocks((0, 0, 3, 3, 1))), blocks((5, 5, 8, 8, 1)))
    np.testing.assert_array_equal(result.labels, blocks((0, 0, 3, 3, 1), (5, 5, 8, 8, 2)))
    assert result.parents == {}


def test_a_segment_that_the_finer_resolution_does_not_see_stays() -> None:
    existing = tree(blocks(WHOLE, (4, 4, 6, 6, 2)), {2: 1})
    result = refined(existing, blocks(WHOLE))
    np.testing.assert_array_equal(result.labels, existing.labels)
    assert result.parents == {2: 1}
    assert result.scores == {1: 0.51, 2: 0.02}


def test_an_accepted_cluster_moves_borders_against_segments_that_are_not_replaced() -> None:
    finer = blocks((0, 0, 10, 6, 1))  # the right half is in no cluster
    np.testing.assert_array_equal(refined(tree(HALVES), finer).labels, blocks(WHOLE, (0, 6, 10, 10, 2)))


def test_children_of_a_segment_that_is_divided_up_belong_to_the_next_above() -> None:
    existing = tree(blocks(WHOLE, (0, 0, 4, 4, 2)), {2: 1})
    result = refined(existing, blocks((0, 0, 4, 2, 1), (0, 2, 4, 4, 2)))
    np.testing.assert_array_equal(result.labels, blocks(WHOLE, (0, 0, 4, 2, 3), (0, 2, 4, 4, 4)))
    assert result.parents == {3: 1, 4: 1}
    assert 2 not in result.scores


def test_parts_of_parts_are_a_hierarchy() -> None:
    first = refined(tree(blocks(WHOLE)), blocks(WHOLE, (0, 0, 4, 4, 2)))
    second = refined(first, blocks(WHOLE, (0, 0, 4, 4, 2), (1, 1, 2, 3, 3)))
    assert second.parents == {2: 1, 3: 2}


def test_the_inputs_are_not_changed() -> None:
    existing, finer = tree(HALVES.copy()), blocks(WHOLE, (0, 6, 10, 10, 4))
    before = finer.copy()
    refine(existing, finer, {1: 1.0, 4: 1.0})
    np.testing.assert_array_equal(existing.labels, HALVES)
    np.testing.assert_array_equal(finer, before)
    assert existing.scores == {1: 0.01, 2: 0.02}


def test_maps_of_two_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"segments and clusters must have the same size, got \(10, 10\) and \(3, 3\)"):
        refine(tree(HALVES), np.zeros((3, 3), np.int32), {})


@st.composite
def scenes(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Two maps of rectangles, mostly the same, so that all cases come up."""
    side = draw(st.integers(1, 9))
    number = st.integers(0, side)
    rectangle = st.tuples(number, number, number, number, st.integers(0, 6))
    common = draw(st.lists(rectangle, max_size=4))
    return tuple(blocks(*common, *draw(st.lists(rectangle, max_size=3)), side=side) for _ in range(2))


@settings(max_examples=200, deadline=None)
@given(scenes(), st.integers(1, 12), st.data())
def test_agrees_with_the_loop_over_masks(
    scene: tuple[np.ndarray, np.ndarray], minimum_area: int, data: st.DataObject
) -> None:
    labels, clusters = scene
    parents = {int(k): data.draw(st.integers(0, int(k) - 1)) for k in np.unique(labels) if k}
    existing = tree(labels, {k: p for k, p in parents.items() if p})
    cluster_scores = {int(k): 0.5 + k / 100 for k in np.unique(clusters) if k}
    result = refine(existing, clusters, cluster_scores, minimum_area=minimum_area)
    slow = refine_slowly(labels, existing.scores, existing.parents, clusters, cluster_scores, minimum_area)
    np.testing.assert_array_equal(result.labels, slow[0])
    assert (dict(result.scores), dict(result.parents)) == slow[1:]


@settings(max_examples=50, deadline=None)
@given(
    arrays(np.int32, st.tuples(st.integers(1, 6), st.integers(1, 6)), elements=st.integers(0, 4)),
    st.tuples(st.integers(1, 14), st.integers(1, 14)),
)
def test_resized_labels_are_a_vote_by_bilinear_weight(labels: np.ndarray, size: tuple[int, int]) -> None:
    resized = resize_labels(labels, size)
    assert resized.shape == size
    for row, column in np.ndindex(size):
        votes: dict[int, float] = {}
        y, x = (
            min(max((place + 0.5) * old / new - 0.5, 0), old - 1)
            for place, old, new in zip((row, column), labels.shape, size, strict=True)
        )
        for v in range(labels.shape[0]):
            for u in range(labels.shape[1]):
                weight = max(0.0, 1 - abs(y - v)) * max(0.0, 1 - abs(x - u))
                votes[int(labels[v, u])] = votes.get(int(labels[v, u]), 0) + weight
        assert votes[int(resized[row, column])] >= max(votes.values()) - 1e-9


def disc(side: int) -> np.ndarray:
    rows, columns = (np.mgrid[:side, :side] + 0.5) / side
    return (np.hypot(rows - 0.5, columns - 0.45) < 0.37).astype(np.int32)


def test_resized_borders_are_no_stairs() -> None:
    stairs = np.kron(disc(20), np.ones((10, 10), np.int32))
    ideal = disc(200)
    assert (resize_labels(disc(20), (200, 200)) != ideal).sum() < 0.9 * (stairs != ideal).sum()


def test_a_map_that_has_the_size_is_not_copied() -> None:
    assert resize_labels(HALVES, (10, 10)) is HALVES
    existing = tree(HALVES)
    assert existing.resized((10, 10)) is existing


def test_a_segment_that_is_lost_at_another_size_leaves_no_trace() -> None:
    existing = tree(blocks(WHOLE, (0, 0, 5, 5, 3), (7, 0, 8, 1, 2)), {2: 1, 3: 2})
    smaller = existing.resized((2, 2))
    assert smaller.labels.tolist() == [[3, 1], [1, 1]]
    assert smaller.scores == {1: 0.01, 3: 0.03}
    assert smaller.parents == {3: 1}
