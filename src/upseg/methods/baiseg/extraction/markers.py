"""From closed lines to one marker for each object: the peaks of the distance to the nearest line (Appendix C)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Float32, Int32, Int64
from scipy import ndimage
from scipy.sparse import csr_array
from scipy.sparse.csgraph import minimum_spanning_tree

BLOCK_PIXELS = 2**20
"""Looked at together, so that memory stays bounded."""

_BEFORE = ((-1, -1), (-1, 0), (-1, 1), (0, -1))
_AFTER = ((0, 1), (1, -1), (1, 0), (1, 1))


def distance_transform(boundary: Bool[np.ndarray, "h w"]) -> Float32[np.ndarray, "h w"]:
    """The Euclidean distance from each pixel to the nearest one on the boundary, which itself has 0.

    Paper: Appendix C, stage two. What lies outside of the image is no boundary. Without any boundary every pixel has
    the image's diagonal.
    """
    height, width = boundary.shape
    if not boundary.any():
        return np.full(boundary.shape, np.hypot(height, width), np.float32)
    nearest = ndimage.distance_transform_edt(~boundary, return_distances=False, return_indices=True)
    distance = np.empty(boundary.shape, np.float32)
    columns = np.arange(width, dtype=np.int32)
    for rows in _row_blocks(height, width):
        own = np.arange(rows.start, rows.stop, dtype=np.int32)[:, None]
        down, right = (nearest[0, rows] - own).astype(np.float32), (nearest[1, rows] - columns).astype(np.float32)
        distance[rows] = np.sqrt(down * down + right * right)
    return distance


def markers(
    distance: Float32[np.ndarray, "h w"], ratio: float, regions: Int32[np.ndarray, "h w"] | None = None
) -> Int32[np.ndarray, "h w"]:
    """Find one marker for each object: peaks of the distance map between which it does not dip too deep are one object.

    Paper: Appendix C, stage two, "threshold processing" and labelling. The paper's threshold is one number for the
    image, which loses every object smaller than it. Here two peaks are one object if a way between them stays at or
    above `ratio` times the lower peak: small objects are judged by their own size. Merged objects are judged by their
    highest peak.

    The marker of an object is everything of it above the highest pass to another object: as large as it can be without
    a contact, so that little is left to flood, and that from both sides of a pass alike.

    Args:
        distance: (H, W) to the nearest boundary, 0 on it.
        ratio: In (0, 1]; 1 merges only peaks of one plateau.
        regions: (H, W) integers; no way leads from one value to another. None where there is only one.

    Returns:
        (H, W) ids 1..K, 0 outside of all markers.
    """
    if distance.size == 0:
        return np.zeros(distance.shape, np.int32)
    basins, peaks = _basins(distance, regions)
    if len(peaks) == 1:
        return basins
    first, second, heights = _passes(distance, basins, regions, len(peaks))
    objects = _objects(peaks, first, second, heights, ratio)
    floors = np.zeros(int(objects.max()) + 1, np.float32)
    apart = objects[first] != objects[second]
    for side in (first, second):
        np.maximum.at(floors, objects[side[apart]], heights[apart])
    for rows in _row_blocks(*distance.shape):
        found = objects[basins[rows]]
        found[distance[rows] <= floors[found]] = 0
        basins[rows] = found
    return basins


def _basins(
    distance: Float32[np.ndarray, "h w"], regions: Int32[np.ndarray, "h w"] | None
) -> tuple[Int32[np.ndarray, "h w"], Float32[np.ndarray, " n1"]]:
    """The pixels from which the steepest ascent leads to one local maximum, numbered from 1; and its height, from 1.

    Of equally high pixels the later one counts as higher. A plateau may so have several maxima; the passes between them
    are as high as they are.
    """
    height, width = distance.shape
    flat = distance.ravel()
    above = np.empty(flat.shape, np.int32)
    for rows, best, steps in _ascents(distance, regions):
        own = np.arange(rows.start * width, rows.stop * width, dtype=np.int32).reshape(best.shape)
        above[rows.start * width : rows.stop * width] = (own + steps).ravel()
    tops = np.flatnonzero((above == np.arange(flat.size, dtype=np.int32)) & (flat > 0))
    while True:  # each round doubles how far up a pixel looks
        higher = above[above]
        if np.array_equal(higher, above):
            break
        above = higher
    numbers = np.zeros(flat.shape, np.int32)
    numbers[tops] = np.arange(1, len(tops) + 1, dtype=np.int32)
    return numbers[above].reshape(height, width), np.concatenate((np.zeros(1, np.float32), flat[tops]))


def _ascents(
    distance: Float32[np.ndarray, "h w"], regions: Int32[np.ndarray, "h w"] | None
) -> Iterator[tuple[slice, Float32[np.ndarray, "r w"], Int32[np.ndarray, "r w"]]]:
    """Blocks of rows, the height of the highest neighbour or the pixel itself, and the step in the flat map to it."""
    width = distance.shape[1]
    for rows, window in _windows(distance, regions):
        best = np.zeros(window.shape, np.float32)
        steps = np.zeros(window.shape, np.int32)
        # in the order of the flat map, so that of equally high pixels the last one stays
        for down, right in (*_BEFORE, (0, 0), *_AFTER):
            value = window.reachable(down, right)
            better = (value >= best) & (value > 0)
            np.copyto(best, value, where=better)
            np.copyto(steps, np.int32(down * width + right), where=better)
        yield rows, best, steps


def _passes(
    distance: Float32[np.ndarray, "h w"],
    basins: Int32[np.ndarray, "h w"],
    regions: Int32[np.ndarray, "h w"] | None,
    count: int,
) -> tuple[Int64[np.ndarray, " m"], Int64[np.ndarray, " m"], Float32[np.ndarray, " m"]]:
    """Each two basins with a way between them, and how high the highest such way lies at its lowest point."""
    keys, heights = [np.zeros(0, np.int64)], [np.zeros(0, np.float32)]
    padded = np.pad(basins, 1)
    for rows, window in _windows(distance, regions):
        own = basins[rows]
        for down, right in _AFTER:
            other = padded[rows.start + 1 + down : rows.stop + 1 + down, 1 + right : 1 + right + own.shape[1]]
            at = np.nonzero((own != other) & (own > 0) & (other > 0))
            height = np.minimum(window.reachable(down, right)[at], distance[rows][at])
            one, two = own[at].astype(np.int64), other[at]
            at_key, at_height = _highest(np.minimum(one, two) * count + np.maximum(one, two), height)
            keys.append(at_key[at_height > 0])
            heights.append(at_height[at_height > 0])
    key, height = _highest(np.concatenate(keys), np.concatenate(heights))
    return key // count, key % count, height


def _highest(
    keys: Int64[np.ndarray, " n"], heights: Float32[np.ndarray, " n"]
) -> tuple[Int64[np.ndarray, " m"], Float32[np.ndarray, " m"]]:
    """The different keys, rising, and the largest height of each."""
    if len(keys) == 0:
        return keys, heights
    order = np.argsort(keys)
    keys = keys[order]
    starts = np.flatnonzero(np.diff(keys, prepend=-1))
    return keys[starts], np.maximum.reduceat(heights[order], starts)


def _objects(
    peaks: Float32[np.ndarray, " n1"],
    first: Int64[np.ndarray, " m"],
    second: Int64[np.ndarray, " m"],
    heights: Float32[np.ndarray, " m"],
    ratio: float,
) -> Int32[np.ndarray, " n1"]:
    """The object of each basin, numbered from 1 in their order; of basin 0, 0."""
    count = len(peaks)
    # only the passes of a tree of highest passes can join anything: any other lies below a way along these
    falling = np.argsort(-heights, kind="stable")
    ranks = np.arange(1, len(falling) + 1, dtype=np.float64)
    tree = minimum_spanning_tree(csr_array((ranks, (first[falling], second[falling])), shape=(count, count)))
    kept = falling[np.sort(tree.data).astype(np.int64) - 1]
    joined = list(range(count))
    highest = peaks.tolist()
    for one, two, height in zip(first[kept].tolist(), second[kept].tolist(), heights[kept].tolist(), strict=True):
        low, high = _root(joined, one), _root(joined, two)
        if highest[low] > highest[high]:
            low, high = high, low
        if height >= ratio * highest[low]:
            joined[low] = high
    roots = np.array([_root(joined, basin) for basin in range(count)])
    _, starts, inverse = np.unique(roots, return_index=True, return_inverse=True)
    numbers = np.empty(len(starts), np.int32)
    numbers[np.argsort(starts, kind="stable")] = np.arange(len(starts), dtype=np.int32)
    return numbers[inverse]


def _root(joined: list[int], basin: int) -> int:
    while joined[basin] != basin:
        joined[basin] = joined[joined[basin]]
        basin = joined[basin]
    return basin


class _Window:
    """A block of rows of the distance map, from which each neighbour can be asked."""

    def __init__(self, distance: Float32[np.ndarray, "r2 w2"], regions: Int32[np.ndarray, "r2 w2"] | None) -> None:
        self.distance = distance
        self.regions = regions
        self.shape = (distance.shape[0] - 2, distance.shape[1] - 2)
        self.beside = {(down, right): self._same(down, right) for down, right in ((-1, 0), (1, 0), (0, -1), (0, 1))}

    def reachable(self, down: int, right: int) -> Float32[np.ndarray, "r w"]:
        """The height of one neighbour, 0 where no way leads to it.

        A diagonal step needs one of the two pixels beside it, so that a diagonal line of boundary has no leaks.
        """
        value = self._shifted(self.distance, down, right)
        if down and right:
            return np.where(self._same(down, right) & (self.beside[down, 0] | self.beside[0, right]), value, 0)
        if self.regions is None or (down, right) == (0, 0):
            return value
        return np.where(self.beside[down, right], value, 0)

    def _same(self, down: int, right: int) -> Bool[np.ndarray, "r w"]:
        inside: Bool[np.ndarray, "r w"] = self._shifted(self.distance, down, right) > 0
        if self.regions is not None:
            inside &= self._shifted(self.regions, down, right) == self._shifted(self.regions, 0, 0)
        return inside

    def _shifted(self, values: np.ndarray, down: int, right: int) -> np.ndarray:
        return values[1 + down : 1 + down + self.shape[0], 1 + right : 1 + right + self.shape[1]]


def _windows(
    distance: Float32[np.ndarray, "h w"], regions: Int32[np.ndarray, "h w"] | None
) -> Iterator[tuple[slice, _Window]]:
    padded = np.pad(distance, 1)
    padded_regions = None if regions is None else np.pad(regions, 1)
    for rows in _row_blocks(*distance.shape):
        part = slice(rows.start, rows.stop + 2)
        yield rows, _Window(padded[part], None if padded_regions is None else padded_regions[part])


def _row_blocks(height: int, width: int) -> Iterator[slice]:
    step = max(1, BLOCK_PIXELS // max(1, width))
    for start in range(0, height, step):
        yield slice(start, min(start + step, height))
