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
    if high - low <= 4 * labels.size:  # a table over the range of values: linear, no sort
        flat = labels.ravel()
        first = np.full(high - low + 1, labels.size, np.int64)
        for part in reversed([*_blocks(labels.size)]):
            # written backwards, so the last write of each value is its first pixel
            first[flat[part][::-1].astype(np.int64) - low] = np.arange(part.stop - 1, part.start - 1, -1)
        values = np.flatnonzero(first < labels.size)
        values = values[values != -low]
        values = values[np.argsort(first[values], kind="stable")]
        table = np.zeros(high - low + 1, np.int32)
        table[values] = np.arange(1, len(values) + 1)
        canonical = np.empty(labels.size, np.int32)
        for part in _blocks(labels.size):
            canonical[part] = table[flat[part].astype(np.int64) - low]
        return canonical.reshape(labels.shape), (values + low).astype(labels.dtype)
    unique, first_index, inverse = np.unique(labels, return_index=True, return_inverse=True)
    order = np.argsort(first_index, kind="stable")
    order = order[unique[order] != 0]
    ranks = np.zeros(len(unique), np.int32)
    ranks[order] = np.arange(1, len(order) + 1)
    return ranks[inverse].reshape(labels.shape), unique[order]


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
    return {value for part in _blocks(flat.size) for value in np.unique(flat[part]).tolist()}


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
    found = [np.zeros(0, np.int64)]
    for step in distances:
        for first, second in ((labels[step:], labels[:-step]), (labels[:, step:], labels[:, :-step])):
            differs = (first != second) & (first > 0) & (second > 0)
            one, other = first[differs].astype(np.int64), second[differs].astype(np.int64)
            found.append(np.unique((np.minimum(one, other) << 32) | np.maximum(one, other)))
    both = np.unique(np.concatenate(found))
    return np.stack([both >> 32, both & 0xFFFFFFFF], axis=1)


def segment_boxes(labels: Int32[np.ndarray, "h w"]) -> list[tuple[int, int, int, int]]:
    """(row, column, row, column) half-open boxes of the ids 1..K, each of which must occur."""
    from scipy import ndimage

    if labels.size == 0:
        return []
    return [
        (rows.start, columns.start, rows.stop, columns.stop)
        for rows, columns in (found for found in ndimage.find_objects(labels) if found is not None)
    ]


def segment_centroids(labels: Integer[np.ndarray, "h w"]) -> Float64[np.ndarray, "k 2"]:
    """(K, 2) mean row and column of the pixels of the ids 1..K, each of which must occur."""
    flat, (height, width) = labels.ravel(), labels.shape
    areas = segment_areas(labels)
    rows = np.bincount(flat, np.repeat(np.arange(height, dtype=np.float64), width), len(areas))
    columns = np.bincount(flat, np.tile(np.arange(width, dtype=np.float64), height), len(areas))
    return np.asarray(np.stack([rows[1:], columns[1:]], axis=1) / areas[1:, None])


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
    return canonical_order(parts.astype(np.int32))[0]


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
