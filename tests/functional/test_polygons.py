"""Outlines by hand, their properties on random maps, and the way back to pixels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from matplotlib.path import Path as Outline

from upseg.functional.label_maps import connected_components
from upseg.functional.polygons import fill_rings, trace_rings
from upseg.functional.runs import paint_runs

label_maps = arrays(np.int32, array_shapes(min_dims=2, max_dims=2, max_side=10), elements=st.integers(0, 3))


def map_of(*rows):
    return np.array([[0 if c == "." else int(c) for c in row] for row in rows], np.int32)


def traced(labels):
    """(segment, is a hole, [(row, column), ...]) for each ring."""
    rings = trace_rings(labels)
    corners = [
        [tuple(corner) for corner in rings.vertices[start:stop].tolist()]
        for start, stop in zip(rings.offsets[:-1], rings.offsets[1:], strict=True)
    ]
    return list(zip(rings.labels.tolist(), rings.holes.tolist(), corners, strict=True))


def filled(vertices, offsets, groups, shape):
    runs = fill_rings(np.asarray(vertices, np.float64), np.asarray(offsets), np.asarray(groups), shape)
    return paint_runs(runs, shape[0] * shape[1])[0].reshape(shape)


def test_one_pixel():
    assert traced(map_of("1")) == [(1, False, [(0, 0), (0, 1), (1, 1), (1, 0)])]


def test_void_has_no_ring():
    assert traced(map_of("..", "..")) == []
    assert trace_rings(np.zeros((0, 3), np.int32)).offsets.tolist() == [0]


def test_collinear_corners_are_left_out():
    assert traced(map_of("111", "1..")) == [(1, False, [(0, 0), (0, 3), (1, 3), (1, 1), (2, 1), (2, 0)])]


def test_ring_with_a_hole_that_another_segment_fills():
    assert traced(map_of("111", "121", "111")) == [
        (1, False, [(0, 0), (0, 3), (3, 3), (3, 0)]),
        (1, True, [(1, 1), (2, 1), (2, 2), (1, 2)]),
        (2, False, [(1, 1), (1, 2), (2, 2), (2, 1)]),
    ]


def test_parts_that_touch_at_a_corner_are_separate_rings():
    assert traced(map_of("1.", ".1")) == [
        (1, False, [(0, 0), (0, 1), (1, 1), (1, 0)]),
        (1, False, [(1, 1), (1, 2), (2, 2), (2, 1)]),
    ]


def test_checkerboard():
    rings = traced(map_of("121", "212", "121"))
    assert len(rings) == 9
    assert all(len(corners) == 4 and not hole for _, hole, corners in rings)
    assert [label for label, _, _ in rings] == [1] * 5 + [2] * 4


def test_a_part_that_touches_itself_at_a_corner_gets_a_hole_not_a_crossing():
    # the void pixel in the middle is open towards the outside only at the corner (1, 1)
    assert traced(map_of(".11", "1.1", "111")) == [
        (1, False, [(0, 1), (0, 3), (3, 3), (3, 0), (1, 0), (1, 1)]),
        (1, True, [(1, 1), (2, 1), (2, 2), (1, 2)]),
    ]


def test_two_holes_that_touch_at_a_corner_are_two_rings():
    rings = traced(map_of("1111", "1.11", "11.1", "1111"))
    assert [(hole, len(corners)) for _, hole, corners in rings] == [(False, 4), (True, 4), (True, 4)]


@settings(max_examples=150, deadline=None)
@given(label_maps)
def test_properties_of_rings(labels):
    rings = trace_rings(labels)
    parts = connected_components(labels)
    assert sorted(rings.parts[~rings.holes].tolist()) == list(range(1, parts.max(initial=0) + 1))
    assert np.all(np.diff(rings.labels) >= 0)
    area = np.zeros(rings.parts.max(initial=0) + 1)
    for ring, (start, stop) in enumerate(zip(rings.offsets[:-1], rings.offsets[1:], strict=True)):
        corners = rings.vertices[start:stop].astype(int)
        assert len(np.unique(corners, axis=0)) == len(corners), "a ring touches itself"
        assert tuple(corners[0]) == min(map(tuple, corners))
        steps = np.roll(corners, -1, axis=0) - corners
        assert np.all((steps == 0).sum(axis=1) == 1), "edges are horizontal or vertical"
        assert np.all((steps * np.roll(steps, 1, axis=0)).sum(axis=1) == 0), "edges turn at each corner"
        following = np.roll(corners, -1, axis=0)
        shoelace = (corners[:, 1] * following[:, 0] - following[:, 1] * corners[:, 0]).sum() / 2
        assert (shoelace < 0) == rings.holes[ring]
        area[rings.parts[ring]] += shoelace
        if rings.holes[ring]:
            assert rings.parts[ring] == rings.parts[ring - 1], "a hole follows its outer ring"
    np.testing.assert_array_equal(area[1:], np.bincount(parts.ravel(), minlength=1)[1:])


@settings(max_examples=150, deadline=None)
@given(label_maps)
def test_filling_undoes_tracing(labels):
    rings = trace_rings(labels)
    np.testing.assert_array_equal(filled(rings.vertices, rings.offsets, rings.labels, labels.shape), labels)


@settings(max_examples=100, deadline=None)
@given(arrays(np.float64, st.tuples(st.integers(3, 8), st.just(2)), elements=st.floats(-4, 14)), st.booleans())
def test_filling_any_triangle_against_matplotlib(corners, closed):
    corners = corners[:3]
    vertices = np.concatenate((corners, corners[:1])) if closed else corners
    ours = filled(vertices, [0, len(vertices)], [1], (9, 11)) == 1
    rows, columns = np.mgrid[:9, :11] + 0.5
    centres = np.stack((rows.ravel(), columns.ravel()), axis=1)
    ring = np.concatenate((corners, corners[:1]))
    edges = np.roll(corners, -1, axis=0) - corners
    lengths = np.hypot(*edges.T)
    across = [
        np.abs(edge[0] * (centres - corner)[:, 1] - edge[1] * (centres - corner)[:, 0]) / max(length, 1e-300)
        for corner, edge, length in zip(corners, edges, lengths, strict=True)
        if length > 0
    ]
    clear = np.min(across, axis=0) > 1e-6 if across else np.zeros(len(centres), bool)
    theirs = Outline(ring).contains_points(centres)
    np.testing.assert_array_equal(ours.ravel()[clear], theirs[clear])


def test_even_odd_rule_and_what_lies_outside():
    square, inner = [(-3, -3), (-3, 9), (9, 9), (9, -3)], [(1, 1), (1, 3), (2, 3), (2, 1)]
    np.testing.assert_array_equal(filled(square + inner, [0, 4, 8], [1, 1], (3, 4)), map_of("1111", "1..1", "1111"))
    assert not filled([(5, 5), (5, 9), (9, 9)], [0, 3], [1], (3, 4)).any()


def test_a_centre_on_an_edge_belongs_to_the_right_and_below():
    left, right = [(0, 0), (0, 1.5), (2, 1.5), (2, 0)], [(0, 1.5), (0, 3), (2, 3), (2, 1.5)]
    np.testing.assert_array_equal(filled(left + right, [0, 4, 8], [1, 2], (2, 3)), map_of("122", "122"))
    upper, lower = [(0, 0), (0, 1), (1.5, 1), (1.5, 0)], [(1.5, 0), (1.5, 1), (3, 1), (3, 0)]
    np.testing.assert_array_equal(filled(upper + lower, [0, 4, 8], [1, 2], (3, 1)), map_of("1", "2", "2"))


@pytest.mark.parametrize("offsets", [[0, 0, 4], [0, 4, 4]])
def test_empty_rings_are_nothing(offsets):
    np.testing.assert_array_equal(filled([(0, 0), (0, 1), (1, 1), (1, 0)], offsets, [1, 1], (1, 2)), map_of("1."))
