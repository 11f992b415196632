"""Runs: stretches of one value in a flattened label map, the form in which thousands of masks are cheap."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int32, Int64, Integer

_MOST_PAINTED = 4_000_000_000
"""Pixels of segments that overlap: painting so many takes seconds."""


@dataclass(frozen=True)
class Runs:
    """Stretches of pixels that belong to segments, in a label map that was flattened in some order.

    Attributes:
        starts: First index of each run.
        stops: One past the last index of each run.
        ids: The segment of each run, at least 1.
    """

    starts: Int64[np.ndarray, " n"]
    stops: Int64[np.ndarray, " n"]
    ids: Int64[np.ndarray, " n"]


def find_runs(flat: Integer[np.ndarray, " n"]) -> Runs:
    """The longest possible runs of a flattened label map, in order of start; void (0) has none."""
    if flat.size == 0:
        return Runs(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.int64))
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    starts = np.concatenate((np.zeros(1, np.int64), changes))
    stops = np.concatenate((changes, np.array([flat.size])))
    ids = flat[starts].astype(np.int64)
    inside = ids != 0
    return Runs(starts[inside], stops[inside], ids[inside])


def paint_runs(runs: Runs, size: int) -> tuple[Int32[np.ndarray, " size"], Bool[np.ndarray, " k1"]]:
    """Write runs into a flat label map; where segments overlap, the one with the smaller area lies on top.

    Runs of one segment may overlap each other: they are united. Of equal areas the larger id lies on top.

    Args:
        runs: Runs within 0..size, in any order, with ids that fit an int32.
        size: Number of pixels of the map.

    Returns:
        The (size,) map with 0 where no run is, and for each value 0..max(id) whether another segment hides some of it.
    """
    united = _united(runs, size)
    count = int(united.ids.max(initial=0)) + 1
    in_order = np.argsort(united.starts, kind="stable")
    if np.all(united.starts[in_order][1:] >= united.stops[in_order][:-1]):
        return _paint_disjoint(united, size), np.zeros(count, bool)
    areas = np.zeros(count, np.int64)
    np.add.at(areas, united.ids, united.stops - united.starts)
    if areas.sum() > _MOST_PAINTED:
        raise ValueError(f"its segments overlap to {areas.sum():,} pixels, more than the {_MOST_PAINTED:,} drawn here")
    flat = np.zeros(size, np.int32)
    for index in np.lexsort((united.ids, -areas[united.ids])).tolist():
        flat[united.starts[index] : united.stops[index]] = united.ids[index]
    return flat, np.bincount(flat, minlength=count) < areas


def _united(runs: Runs, size: int) -> Runs:
    """Merge the runs of each segment that overlap or touch, and drop the empty ones: order of id, then of start."""
    keep = runs.stops > runs.starts
    ids = runs.ids[keep]
    # one number line on which each segment has its own stretch, so that no run can reach into another segment's
    starts, stops = ids * (size + 1) + runs.starts[keep], ids * (size + 1) + runs.stops[keep]
    order = np.argsort(starts, kind="stable")
    starts, reach = starts[order], np.maximum.accumulate(stops[order])
    first = np.ones(len(starts), bool)
    first[1:] = starts[1:] > reach[:-1]
    last = np.append(first[1:], True) if len(first) else first
    owners = starts[first] // (size + 1)
    return Runs(starts[first] - owners * (size + 1), reach[last] - owners * (size + 1), owners)


def _paint_disjoint(runs: Runs, size: int) -> Int32[np.ndarray, " size"]:
    steps = np.zeros(size + 1, np.int32)
    # no two runs share a start, nor two a stop, but a stop may be another run's start: hence two separate additions
    steps[runs.starts] += runs.ids.astype(np.int32)
    steps[runs.stops] -= runs.ids.astype(np.int32)
    return np.cumsum(steps[:-1], dtype=np.int32, out=steps[:-1])
