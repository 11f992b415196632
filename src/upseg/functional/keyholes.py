"""One ring for a segment of several parts and holes: its rings joined by bridges of no width."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float64, Int64, Integer

Bridges = dict[int, list[int]]
"""By corner, the corners of other rings that are reached from it."""


def join_rings(rings: Sequence[Integer[np.ndarray, "_ 2"]]) -> Int64[np.ndarray, "n 2"]:
    """Join rings on the pixel grid into one that covers the same pixels by the even-odd rule.

    Rings that are near each other are joined, along the grid and back on the same way: what is passed twice bounds
    nothing, and no way along the grid meets the centre of a pixel. Time is n log n in the corners.

    Args:
        rings: Corners as (row, column), whole numbers, open; at least one, no two of them the same.

    Returns:
        (N, 2) corners, open.
    """
    corners = np.concatenate(rings).astype(np.int64)
    if len(rings) == 1:
        return corners
    lengths = [len(ring) for ring in rings]
    bridges = _bridges(corners, np.repeat(np.arange(len(rings)), lengths), len(rings))
    ends = np.cumsum(lengths).tolist()
    bounds = {
        number: (stop - length, stop)
        for stop, length in zip(ends, lengths, strict=True)
        for number in range(stop - length, stop)
    }
    points: list[tuple[int, int]] = []
    tours = [_tour(0, corners, bounds, bridges)]
    while tours:
        step = next(tours[-1], None)
        if step is None:
            tours.pop()
        elif isinstance(step, int):
            tours.append(_tour(step, corners, bounds, bridges))
        else:
            points.append(step)
    return np.array(points, np.int64)


def _tour(
    start: int, corners: Int64[np.ndarray, "n 2"], bounds: dict[int, tuple[int, int]], bridges: Bridges
) -> Iterator[tuple[int, int] | int]:
    """The corners of a ring from one on; a number stands for the tour of the ring that has that corner."""
    first, stop = bounds[start]
    for number in (*range(start, stop), *range(first, start)):
        row, column = corners[number].tolist()
        yield row, column
        for goal in bridges.get(number, ()):
            far_row, far_column = corners[goal].tolist()
            yield row, far_column
            yield goal
            yield from ((far_row, far_column), (row, far_column), (row, column))


def _bridges(corners: Int64[np.ndarray, "n 2"], owners: Int64[np.ndarray, " n"], count: int) -> Bridges:
    """A tree of short bridges over all rings, from the first ring on."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import breadth_first_order, minimum_spanning_tree

    pairs = _neighbours(corners)
    pairs = pairs[owners[pairs[:, 0]] != owners[pairs[:, 1]]]
    lengths: Float64[np.ndarray, " p"] = 1.0 + np.abs(corners[pairs[:, 0]] - corners[pairs[:, 1]]).sum(axis=1)
    pairs = np.where((owners[pairs[:, 0]] > owners[pairs[:, 1]])[:, None], pairs[:, ::-1], pairs)
    first, second = owners[pairs].T
    order = np.lexsort((lengths, second, first))
    key = first[order] * count + second[order]
    shortest = order[np.concatenate(([True], key[1:] != key[:-1]))]
    graph = coo_array((lengths[shortest], (first[shortest], second[shortest])), shape=(count, count)).tocsr()
    ends = {(int(first[p]), int(second[p])): pairs[p].tolist() for p in shortest.tolist()}
    reached, parents = breadth_first_order(minimum_spanning_tree(graph), 0, directed=False)
    bridges: Bridges = defaultdict(list)
    for ring in reached[1:].tolist():
        parent = int(parents[ring])
        one, other = ends[min(ring, parent), max(ring, parent)]
        start, goal = (one, other) if parent < ring else (other, one)
        bridges[start].append(goal)
    return bridges


def _neighbours(corners: Int64[np.ndarray, "n 2"]) -> Int64[np.ndarray, "p 2"]:
    """Pairs of corners, among them the shortest ones between any two groups of them: sides of Delaunay's triangles."""
    from scipy.spatial import Delaunay

    places, one_of, place_of = np.unique(corners, axis=0, return_index=True, return_inverse=True)
    mesh = Delaunay(places.astype(np.float64))
    sides = np.concatenate([mesh.simplices[:, [0, 1]], mesh.simplices[:, [1, 2]], mesh.simplices[:, [2, 0]]])
    sides = np.concatenate((sides, mesh.coplanar[:, [0, 2]])).astype(np.int64)
    same = np.stack((np.arange(len(corners)), one_of[place_of.ravel()]), axis=1)
    return np.concatenate((one_of[sides], same[same[:, 0] != same[:, 1]])).astype(np.int64)
