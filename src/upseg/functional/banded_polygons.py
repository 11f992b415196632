"""Exact outlines of segments of a label map that is never whole in memory: only its corners are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from jaxtyping import Int32, Int64

from upseg.functional.label_maps import connected_components
from upseg.functional.polygons import Corners, Rings, find_corners, linked_rings

Bands = Callable[[slice], Int32[np.ndarray, "h w"]]
"""Gives some rows of a label map."""


def trace_rings_in_bands(labels_at: Bands, shape: tuple[int, int], bands: Sequence[slice]) -> Rings:
    """What `upseg.functional.polygons.trace_rings` gives for the whole map, in two passes over its bands.

    Args:
        labels_at: Gives rows of the map.
        shape: (H, W) of the map.
        bands: Rows that cover it, from top to bottom.
    """
    table, values = _joined_parts(labels_at, bands)
    above, found = np.zeros((1, shape[1]), np.int32), []
    for rows, _, parts in _parts_in_bands(labels_at, bands):
        stretch = [above, table[parts], *([np.zeros_like(above)] if rows.stop == shape[0] else [])]
        corners = find_corners(np.pad(np.concatenate(stretch), ((0, 0), (1, 1))))
        found.append((corners.rows + rows.start, corners.columns, corners.parts, corners.arriving, corners.leaving))
        above = stretch[1][-1:]
    return linked_rings(Corners(*map(np.concatenate, zip(*found, strict=True))), values, shape)


def _parts_in_bands(
    labels_at: Bands, bands: Sequence[slice]
) -> Iterator[tuple[slice, Int32[np.ndarray, "h w"], Int32[np.ndarray, "h w"]]]:
    """Of each band its rows, its labels, and its 4-connected parts, numbered through all bands."""
    before = 0
    for rows in bands:
        labels = labels_at(rows)
        parts = connected_components(labels)
        count = int(parts.max(initial=0))
        yield rows, labels, np.where(parts > 0, parts + np.int32(before), np.int32(0))
        before += count


def _joined_parts(
    labels_at: Bands, bands: Sequence[slice]
) -> tuple[Int32[np.ndarray, " n1"], Int64[np.ndarray, " p1"]]:
    """The part of the whole map, by first pixel, that each part of a band belongs to, and the segment of each."""
    pairs, segments = [np.zeros((2, 0), np.int64)], [np.zeros(1, np.int64)]
    above = None
    for _, labels, parts in _parts_in_bands(labels_at, bands):
        first = int(sum(map(len, segments)))
        own = np.zeros(max(int(parts.max(initial=0)) + 1 - first, 0), np.int64)
        inside = parts > 0
        own[parts[inside] - first] = labels[inside]
        segments.append(own)
        if above is not None:
            same = (labels[0] > 0) & (labels[0] == above[0])
            pairs.append(np.unique(np.stack([parts[0][same], above[1][same]]), axis=1).astype(np.int64))
        above = labels[-1], parts[-1]
    values, (a, b) = np.concatenate(segments), np.concatenate(pairs, axis=1)
    from scipy import sparse

    links = sparse.coo_array((np.ones(len(a), bool), (a, b)), shape=(len(values), len(values)))
    joined = sparse.csgraph.connected_components(links, directed=False)[1]
    _, firsts, table = np.unique(joined, return_index=True, return_inverse=True)
    ranks = np.empty(len(firsts), np.int64)
    order = np.argsort(firsts)
    ranks[order] = np.arange(len(firsts))
    return ranks[table].astype(np.int32), values[firsts[order]]
