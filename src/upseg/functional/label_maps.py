"""Label maps: canonical numbering, areas, boxes, connected components, borders."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Collection, Iterator

import numpy as np
from jaxtyping import Bool, Float64, Int32, Int64, Integer

LabelMap = Integer[np.ndarray, "h w"]
"""(H, W) the number of what each pixel belongs to."""
Mask = Bool[np.ndarray, "h w"]
"""(H, W) whether each pixel belongs to something."""
MOST_IN_TABLE = 1 << 25
"""The largest number that tables are made for, twice the largest id in colours; only what is written takes memory."""
_BLOCK = 1 << 18  # pixels


def canonical_order(
    labels: Integer[np.ndarray, "h w"],
) -> tuple[Int32[np.ndarray, "h w"], Integer[np.ndarray, " k"]]:
    """Renumber the segments 1..K by their first pixel in row-major order; 0, void, stays 0.

    Returns:
        The (H, W) int32 map, and the K original values in their new order.

    Raises:
        ValueError: If `labels` is not a two-dimensional integer array.
    """
    if labels.ndim != 2 or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"labels must be an (H, W) integer array, got {labels.dtype} of shape {labels.shape}")
    if labels.size == 0:
        return np.zeros(labels.shape, np.int32), np.zeros(0, labels.dtype)
    low, high = int(labels.min()), int(labels.max())
    flat, canonical = labels.ravel(), np.empty(labels.size, np.int32)
    if high - low > max(4 * labels.size, MOST_IN_TABLE):
        starts = _run_starts(flat)
        unique, first, numbers = np.unique(flat[starts], return_index=True, return_inverse=True)
        order = np.argsort(first)
        order = order[unique[order] != 0]
        ranks = np.zeros(len(unique), np.int32)
        ranks[order] = np.arange(1, len(order) + 1)
        canonical[:] = np.repeat(ranks[numbers], np.diff(starts, append=flat.size))
        return canonical.reshape(labels.shape), unique[order]
    table, values, count = np.zeros(high - low + 1, np.int32), [np.zeros(0, np.int64)], 0
    for part in _blocks(labels.size):  # numbered as they come, in one pass and without a sort
        index = flat[part] if low == 0 and labels.dtype.kind == "i" else flat[part].astype(np.int64) - low
        found = index[_run_starts(index)].astype(np.int64)
        found = found[(table[found] == 0) & (found != -low)]
        places = np.arange(len(found), dtype=np.int32)
        table[found[::-1]] = places[::-1]  # the last write of each value is its first place
        values.append(found[table[found] == places])
        table[values[-1]] = np.arange(count + 1, count + 1 + len(values[-1]))
        count += len(values[-1])
        np.take(table, index, out=canonical[part], mode="clip")  # the other modes take twice the time
    return canonical.reshape(labels.shape), (np.concatenate(values) + low).astype(labels.dtype)


def distinct_values(values: Integer[np.ndarray, " n"]) -> tuple[Integer[np.ndarray, " k"], Int64[np.ndarray, " n"]]:
    """The K different values, ascending, and for each of N >= 0 its place among them: `np.unique` without its sort."""
    unique = np.unique(values)
    if unique.size == 0 or int(unique[-1]) > MOST_IN_TABLE:
        return unique, np.searchsorted(unique, values)
    table = np.zeros(int(unique[-1]) + 1, np.int32)
    table[unique] = np.arange(len(unique))
    return unique, table[values].astype(np.int64)


def _run_starts(flat: Integer[np.ndarray, " n"]) -> Int64[np.ndarray, " r"]:
    """Where a flattened map of at least one pixel has another value than before."""
    starts = np.flatnonzero(flat[1:] != flat[:-1])
    starts += 1
    return np.concatenate((np.zeros(1, np.int64), starts))


def segment_areas(labels: Integer[np.ndarray, "h w"]) -> Int64[np.ndarray, " k1"]:
    """Pixel counts of the values 0..K of a map whose ids are small non-negative integers: shape (K + 1,)."""
    flat, count = labels.ravel(), int(labels.max(initial=0)) + 1
    areas = np.zeros(count, np.int64)
    for part in _blocks(flat.size, at_least=count):
        areas += np.bincount(flat[part], minlength=count)
    return areas


def present_values(labels: Integer[np.ndarray, "h w"]) -> set[int]:
    """The different values of a map, block by block: without a sorted copy of all of it."""
    flat = labels.ravel()
    blocks = (flat[part] for part in _blocks(flat.size))
    return {value for block in blocks for value in np.unique(block[_run_starts(block)]).tolist()}


def label_checksum(labels: Int32[np.ndarray, "h w"]) -> str:
    """CRC-32 of a label map's height, width and ids (as little-endian 32-bit integers), as eight hexadecimal digits."""
    size = zlib.crc32(struct.pack("<qq", *labels.shape))
    return f"{zlib.crc32(np.ascontiguousarray(labels, '<i4').data.cast('B'), size):08x}"


def _blocks(size: int, at_least: int = 0) -> Iterator[slice]:
    """Slices that cover a flat map; what is computed of one stays in the cache, and large maps take little memory."""
    step = max(_BLOCK, at_least)
    return (slice(start, min(start + step, size)) for start in range(0, size, step))


def neighbour_pairs(labels: Int32[np.ndarray, "h w"], distances: Collection[int] = (1,)) -> Int64[np.ndarray, "n 2"]:
    """Pairs a < b of segments, each once, with pixels so far apart in a row or column; 1 is a shared edge, 0 none."""
    found, count = [np.zeros(0, np.int64)], int(labels.max(initial=0)) + 1
    for step in distances:
        for first, second in ((labels[step:], labels[:-step]), (labels[:, step:], labels[:, :-step])):
            differs = first != second
            one, other = first[differs], second[differs]
            pairs = np.minimum(one, other).astype(np.int64) * count + np.maximum(one, other)
            found.append(pairs[pairs >= count])
    both = np.concatenate(found)
    if count**2 <= 4 * labels.size:
        seen = np.zeros(count**2, bool)
        seen[both] = True
        both = np.flatnonzero(seen)
    else:
        both = np.unique(both)
    return np.stack(np.divmod(both, count), axis=1)


def segment_boxes(labels: Int32[np.ndarray, "h w"]) -> list[tuple[int, int, int, int]]:
    """(row, column, row, column) half-open boxes of those of the ids 1..K that occur, in their order."""
    count = int(labels.max(initial=0)) + 1
    top, bottom, right = (np.zeros(count, np.int64) for _ in range(3))
    left = np.full(count, labels.shape[1])
    for ids, rows, columns, lengths in _runs_in_rows(labels, count):
        fresh = bottom[ids] == 0
        top[ids[fresh][::-1]] = rows[fresh][::-1]  # the last write of each id is its first row
        bottom[ids] = rows + 1
        np.minimum.at(left, ids, columns)
        np.maximum.at(right, ids, columns + lengths)
    boxes = np.stack((top, left, bottom, right), 1)[1:]
    return [(first, start, last, stop) for first, start, last, stop in boxes[bottom[1:] > 0].tolist()]


def segment_centroids(labels: Integer[np.ndarray, "h w"]) -> Float64[np.ndarray, "k 2"]:
    """(K, 2) mean row and column of the pixels of the ids 1..K, each of which must occur."""
    count = int(labels.max(initial=0)) + 1
    sums = np.zeros((3, count))
    for ids, rows, columns, lengths in _runs_in_rows(labels, count):
        for number, each in enumerate((2 * rows, 2 * columns + lengths - 1, 2)):
            sums[number] += np.bincount(ids, each * lengths, count)
    return np.asarray((sums[:2, 1:] / sums[2, 1:]).T)


def _runs_in_rows(labels: Integer[np.ndarray, "h w"], count: int) -> Iterator[tuple[Int64[np.ndarray, " r"], ...]]:
    """Stretches of one value of 0..`count` - 1 in one row, some rows at a time: values, rows, columns and lengths."""
    height, width = labels.shape
    step = max(1, max(_BLOCK, count) // max(1, width))
    for row in range(0, height if width else 0, step):
        flat = labels[row : row + step].ravel()
        breaks = np.empty(flat.size, bool)
        np.not_equal(flat[1:], flat[:-1], out=breaks[1:])
        breaks[::width] = True
        starts = np.flatnonzero(breaks)
        rows = starts // width
        yield flat[starts].astype(np.int64), rows + row, starts - rows * width, np.diff(starts, append=flat.size)


def connected_components(labels: Integer[np.ndarray, "h w"], connectivity: int = 1) -> Int32[np.ndarray, "h w"]:
    """Split each label into its connected parts, numbered 1..C by first pixel; 0 stays 0.

    Args:
        labels: (H, W) integers, 0 void.
        connectivity: 1 for the four neighbours that share an edge, 2 for all eight.
    """
    from skimage.measure import label as label_components

    if labels.size == 0:
        return np.zeros(labels.shape, np.int32)
    parts = label_components(labels, background=0, connectivity=connectivity)  # type: ignore[no-untyped-call]
    parts = np.asarray(parts, np.int32)
    highest = np.maximum.accumulate(parts.ravel()[_run_starts(parts.ravel())])
    in_order = bool((np.diff(highest, prepend=0) <= 1).all())  # as they come, though this is promised nowhere
    return parts if in_order else canonical_order(parts)[0]


def fill_enclosed_holes(labels: Int32[np.ndarray, "h w"]) -> Int32[np.ndarray, "h w"]:
    """Give each 4-connected stretch of void (0) that one segment encloses to that segment.

    Returns:
        (H, W) ids; void that touches the map's edge, or two segments, stays void.
    """
    holes = connected_components((labels == 0).astype(np.int32))
    count = int(holes.max(initial=0)) + 1
    if count == 1:
        return labels
    lowest, highest = np.full(count, np.iinfo(np.int32).max, np.int32), np.zeros(count, np.int32)
    for own, other in ((slice(1, None), slice(None, -1)), (slice(None, -1), slice(1, None))):
        for hole, beside in ((holes[own], labels[other]), (holes[:, own], labels[:, other])):
            at = (hole > 0) & (beside > 0)
            np.minimum.at(lowest, hole[at], beside[at])
            np.maximum.at(highest, hole[at], beside[at])
    owner = np.where(lowest == highest, highest, 0).astype(np.int32)
    for edge in (holes[0], holes[-1], holes[:, 0], holes[:, -1]):
        owner[edge] = 0
    return np.where(labels == 0, owner[holes], labels)


def border_pixels(labels: Integer[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """The pixels with another value above, below, left or right of them, on both sides of each border."""
    found = np.zeros(labels.shape, bool)
    vertical, horizontal = labels[1:] != labels[:-1], labels[:, 1:] != labels[:, :-1]
    found[1:] |= vertical
    found[:-1] |= vertical
    found[:, 1:] |= horizontal
    found[:, :-1] |= horizontal
    return found
