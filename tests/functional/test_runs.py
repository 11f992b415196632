from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from upseg.functional.runs import Runs, find_runs, paint_runs

SIZE = 12
one_run = st.tuples(st.integers(0, SIZE), st.integers(0, SIZE), st.integers(1, 4))


def runs_of(rows):
    table = np.array(rows, np.int64).reshape(-1, 3)
    return Runs(table[:, 0], table[:, 1], table[:, 2])


def as_rows(runs):
    return list(zip(runs.starts.tolist(), runs.stops.tolist(), runs.ids.tolist(), strict=True))


def test_runs_by_hand():
    assert as_rows(find_runs(np.array([0, 2, 2, 1, 0, 0, 1]))) == [(1, 3, 2), (3, 4, 1), (6, 7, 1)]
    assert as_rows(find_runs(np.array([5], np.uint8))) == [(0, 1, 5)]
    assert as_rows(find_runs(np.zeros(0, int))) == []


@given(st.lists(st.integers(0, 3), max_size=30))
def test_painting_undoes_finding(values):
    flat = np.array(values, np.int32)
    painted, hidden = paint_runs(find_runs(flat), len(flat))
    np.testing.assert_array_equal(painted, flat)
    assert not hidden.any()


@settings(max_examples=200)
@given(st.lists(one_run, max_size=8))
def test_smaller_segments_lie_on_top(rows):
    rows = [(start, max(start, stop), value) for start, stop, value in rows]
    painted, hidden = paint_runs(runs_of(rows), SIZE)
    pixels = {value: {p for s, e, v in rows if v == value for p in range(s, e)} for value in range(1, 5)}
    expected = np.zeros(SIZE, int)
    for value in sorted(pixels, key=lambda v: (-len(pixels[v]), v)):
        expected[sorted(pixels[value])] = value
    np.testing.assert_array_equal(painted, expected)
    for value in range(1, len(hidden)):
        assert hidden[value] == bool(pixels[value] - set(np.flatnonzero(expected == value)))
