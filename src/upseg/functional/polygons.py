"""Exact outlines of the segments of a label map as polygons on the pixel grid, and back again.

Pixel (row r, column c) is the unit square from corner (r, c) to corner (r + 1, c + 1), so its centre is (r + 0.5,
c + 0.5). Every 4-connected part of a segment has one outer ring and one ring for each hole. A ring never touches
itself: where two pixels of one part meet only at a corner, the rings on the two sides of that corner are separate.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64, Int32, Int64, Integer

from upseg.functional.label_maps import connected_components
from upseg.functional.runs import Runs

# Directions of an edge in reading order of (row, column): 0 is right, 1 down, 2 left, 3 up. The segment lies to the
# right hand of one who walks along it on the screen. Quadrants of a corner: 0 top left, 1 top right, 2 bottom left,
# 3 bottom right; OPPOSITE, and the two quadrants that share an edge with each.
_OPPOSITE = (3, 2, 1, 0)
_BESIDE = ((1, 2), (0, 3), (0, 3), (1, 2))
# (direction that arrives, direction that leaves) where only the pixel in this quadrant is inside ...
_CONVEX = ((1, 2), (2, 3), (0, 1), (3, 0))
# ... and where only the pixel in this quadrant is outside
_CONCAVE = ((0, 3), (1, 0), (3, 2), (2, 1))


_MOST_CROSSINGS = 20_000_000
"""Of edges with rows of pixels: each takes about 100 bytes while outlines are filled."""


_FARTHEST = 1e9
"""Pixels: beyond it the crossings of edges with rows are not exact any more."""


@dataclass(frozen=True)
class Rings:
    """The outlines of all segments of a label map: R rings with N vertices in all.

    Attributes:
        vertices: (N, 2) corners as (row, column), ring after ring; collinear corners are left out and the first is not
            repeated at the end. Each ring begins at its topmost, then leftmost corner. The shoelace sum over (x, y) =
            (column, row) is positive for outer rings and negative for holes.
        offsets: (R + 1,) where each ring begins in `vertices`, and N.
        labels: (R,) the segment of each ring, not decreasing.
        parts: (R,) the 4-connected part of each ring: a part's rings follow each other, its outer ring first.
        holes: (R,) whether the ring bounds a hole.
    """

    vertices: Int32[np.ndarray, "n 2"]
    offsets: Int64[np.ndarray, " r1"]
    labels: Int64[np.ndarray, " r"]
    parts: Int64[np.ndarray, " r"]
    holes: Bool[np.ndarray, " r"]


@dataclass(frozen=True)
class Corners:
    """Every turn of every ring, in order of vertex."""

    rows: Int64[np.ndarray, " n"]
    columns: Int64[np.ndarray, " n"]
    parts: Int64[np.ndarray, " n"]
    arriving: Int64[np.ndarray, " n"]
    leaving: Int64[np.ndarray, " n"]


def trace_rings(labels: Integer[np.ndarray, "h w"]) -> Rings:
    """Trace the outlines of all segments at once, in time linear in the pixels plus n log n in the corners.

    Args:
        labels: (H, W) integers, 0 void.
    """
    parts = connected_components(labels)
    values = np.zeros(int(parts.max(initial=0)) + 1, np.int64)
    values[parts.ravel()] = labels.ravel()
    return linked_rings(find_corners(np.pad(parts, 1)), values, labels.shape)


def linked_rings(corners: Corners, values: Int64[np.ndarray, " p1"], shape: tuple[int, int]) -> Rings:
    """The rings of all corners of a map.

    Args:
        corners: In order of vertex.
        values: (P + 1,) the segment of each part.
        shape: (H, W) of the map.
    """
    if len(corners.rows) == 0:
        nothing = np.zeros(0, np.int64)
        return Rings(np.zeros((0, 2), np.int32), np.zeros(1, np.int64), nothing, nothing, np.zeros(0, bool))
    order, offsets = _walk(_following(corners, *shape))
    vertices = np.stack((corners.rows[order], corners.columns[order]), axis=1).astype(np.int32)
    return _sorted_rings(vertices, offsets, corners.parts[order[offsets[:-1]]], values)


def find_corners(padded: Int32[np.ndarray, "h2 w2"]) -> Corners:
    """All convex and concave turns. A vertex has one for each part and each side on which that part's outline turns.

    Args:
        padded: (H + 2, W + 2) the 4-connected parts of a map, 0 around it.
    """
    top_left, top_right = padded[:-1, :-1], padded[:-1, 1:]
    bottom_left, bottom_right = padded[1:, :-1], padded[1:, 1:]
    straight = ((top_left == top_right) & (bottom_left == bottom_right)) | (
        (top_left == bottom_left) & (top_right == bottom_right)
    )
    rows, columns = np.nonzero(~straight)
    around = [padded[rows + down, columns + right] for down in (0, 1) for right in (0, 1)]
    found = [_turns(around, quadrant, convex) for quadrant in range(4) for convex in (True, False)]
    index, part, arriving, leaving = (np.concatenate(column) for column in zip(*found, strict=True))
    order = np.argsort(index, kind="stable")
    index = index[order]
    return Corners(rows[index], columns[index], part[order], arriving[order], leaving[order])


def _turns(
    around: list[Int32[np.ndarray, " n"]], quadrant: int, convex: bool
) -> tuple[Int64[np.ndarray, " m"], Int64[np.ndarray, " m"], Int64[np.ndarray, " m"], Int64[np.ndarray, " m"]]:
    """Vertices where the pixel in `quadrant` is alone inside (or alone outside): indices, parts, directions."""
    own, opposite = around[quadrant], around[_OPPOSITE[quadrant]]
    first, second = (around[q] for q in _BESIDE[quadrant])
    if convex:
        index = np.flatnonzero((own != 0) & (own != first) & (own != second))
        part = own[index]
        # Two pixels of one part that meet at a corner: the part closes a loop around one of the other two pixels, so
        # the outline must stay on that pixel's side, or the ring would pass this vertex twice.
        touching = opposite[index] == part
        arriving, leaving = _CONVEX[quadrant]
        leaving_all = np.where(touching, (leaving + 2) % 4, leaving)
    else:
        index = np.flatnonzero((first != 0) & (first == second) & (first == opposite) & (own != first))
        part = first[index]
        arriving, leaving = _CONCAVE[quadrant]
        leaving_all = np.full(len(index), leaving)
    return index, part.astype(np.int64), np.full(len(index), arriving), leaving_all.astype(np.int64)


def _following(corners: Corners, height: int, width: int) -> Int64[np.ndarray, " n"]:
    """The corner at which the edge that leaves each corner ends.

    Edges of one direction on one grid line do not overlap, so the i-th corner they leave from belongs to the i-th
    corner they arrive at.
    """
    by_row = corners.rows * (width + 1) + corners.columns
    by_column = corners.columns * (height + 1) + corners.rows
    following = np.empty(len(by_row), np.int64)
    for direction in range(4):
        place = by_column if direction % 2 else by_row
        leaving = np.flatnonzero(corners.leaving == direction)
        arriving = np.flatnonzero(corners.arriving == direction)
        following[leaving[np.argsort(place[leaving])]] = arriving[np.argsort(place[arriving])]
    return following


def _walk(following: Int64[np.ndarray, " n"]) -> tuple[Int64[np.ndarray, " n"], Int64[np.ndarray, " r1"]]:
    """Split a permutation into its cycles: the elements cycle after cycle, and where each cycle begins.

    Cycles begin at their smallest element and are ordered by it. They are opened there and chained into one long path,
    which scipy then walks.
    """
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components as graph_components
    from scipy.sparse.csgraph import depth_first_order

    size = len(following)

    def graph(successors: Int64[np.ndarray, " n"]) -> Any:
        return csr_array((np.ones(size, np.int8), successors, np.arange(size + 1)), shape=(size, size))

    cycles = graph_components(graph(following), directed=False)[1]
    firsts = np.unique(cycles, return_index=True)[1]
    firsts.sort()
    lasts = np.empty(size, np.int64)
    lasts[following] = np.arange(size)
    lasts = lasts[firsts]
    path = following.copy()
    path[lasts] = np.roll(firsts, -1)
    order = depth_first_order(graph(path), int(firsts[0]), return_predecessors=False).astype(np.int64)
    rank = np.empty(size, np.int64)
    rank[order] = np.arange(size)
    return order, np.append(rank[firsts], size)


def _sorted_rings(
    vertices: Int32[np.ndarray, "n 2"],
    offsets: Int64[np.ndarray, " r1"],
    parts: Int64[np.ndarray, " r"],
    values: Integer[np.ndarray, " p1"],
) -> Rings:
    """Order rings by segment, part, outer before hole, and place."""
    rows, columns = vertices[:, 0].astype(np.int64), vertices[:, 1].astype(np.int64)
    following = np.arange(1, len(rows) + 1)
    following[offsets[1:] - 1] = offsets[:-1]
    shoelace = columns * rows[following] - columns[following] * rows
    holes = np.add.reduceat(shoelace, offsets[:-1]) < 0
    order = np.lexsort((np.arange(len(parts)), holes, parts, values[parts]))
    lengths = np.diff(offsets)[order]
    new_offsets = np.concatenate((np.zeros(1, np.int64), np.cumsum(lengths)))
    gather = np.repeat(offsets[:-1][order] - new_offsets[:-1], lengths) + np.arange(len(rows))
    return Rings(vertices[gather], new_offsets, values[parts[order]], parts[order], holes[order])


def fill_rings(
    vertices: Float64[np.ndarray, "n 2"],
    offsets: Int64[np.ndarray, " r1"],
    groups: Int64[np.ndarray, " r"],
    shape: tuple[int, int],
) -> Runs:
    """The pixels whose centre lies inside, by the even-odd rule over the rings of each group.

    The inverse of `trace_rings` where the vertices lie on the pixel grid; exact to the floating point for any others. A
    centre that lies on an edge belongs to the polygon on its right or, on a horizontal edge, below it.

    Args:
        vertices: (N, 2) corners as (row, column) in pixels, ring after ring, in either direction, open or closed.
        offsets: (R + 1,) where each ring begins, and N.
        groups: (R,) which rings belong together, at least 1; groups may overlap.
        shape: (H, W) of the map; what lies outside is cut off.

    Returns:
        Runs in row-major order with the groups as ids.

    Raises:
        ValueError: If they cross more rows than fit into memory, or reach too far.
    """
    height, width = shape
    if len(vertices) and not np.abs(vertices).max() < _FARTHEST:
        raise ValueError(f"its outlines have coordinates that are no numbers, or beyond {_FARTHEST:.0e}")
    following = np.arange(1, len(vertices) + 1)
    occupied = offsets[1:] > offsets[:-1]
    following[offsets[1:][occupied] - 1] = offsets[:-1][occupied]
    (rows, columns), (end_rows, end_columns) = vertices.T, vertices[following].T
    owners = np.repeat(groups, np.diff(offsets))
    # the rows whose centre, r + 0.5, lies in [upper end, lower end) of the edge
    first = np.clip(np.ceil(np.minimum(rows, end_rows) - 0.5), 0, height).astype(np.int64)
    stop = np.clip(np.ceil(np.maximum(rows, end_rows) - 0.5), 0, height).astype(np.int64)
    counts = stop - first
    if counts.sum() > _MOST_CROSSINGS:
        raise ValueError(
            f"its outlines cross {counts.sum():,} rows, more than the {_MOST_CROSSINGS:,} that can be drawn"
        )
    edge = np.repeat(np.arange(len(vertices)), counts)
    row = np.arange(len(edge)) + np.repeat(first - (np.cumsum(counts) - counts), counts)
    slope = (end_columns - columns)[edge] / (end_rows - rows)[edge]
    crossing = columns[edge] + (row + 0.5 - rows[edge]) * slope
    column = np.clip(np.ceil(crossing - 0.5), 0, width).astype(np.int64)
    # every group crosses every row an even number of times: sorted, the crossings pair up into runs
    keys = np.sort((owners[edge] * height + row) * (width + 1) + column)
    group_rows, column = np.divmod(keys, width + 1)
    owner, row = np.divmod(group_rows[0::2], height)
    return Runs(row * width + column[0::2], row * width + column[1::2], owner)
