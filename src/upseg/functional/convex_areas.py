"""Areas of the convex hulls of segments, in pixels, as scikit-image counts them."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64, Int32, Int64
from scipy.spatial import ConvexHull

_TOLERANCE = 1e-9


def convex_areas(labels: Int32[np.ndarray, "h w"], count: int) -> Int64[np.ndarray, " k"]:
    """The number of pixels whose centres lie in the hull of each segment, its border included.

    The hull is that of the middles of the pixels' four sides. Only the first and the last pixel of each row of a
    segment can be on it, so all others are left out before.

    Args:
        labels: (H, W) ids 0..K.
        count: K; each id must occur.
    """
    ids, rows, first, last = _row_extents(labels)
    bounds = np.searchsorted(ids, np.arange(1, count + 2))
    areas = np.empty(count, np.int64)
    for index, (start, stop) in enumerate(zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)):
        areas[index] = _hull_area(rows[start:stop], first[start:stop], last[start:stop])
    return areas


def _row_extents(
    labels: Int32[np.ndarray, "h w"],
) -> tuple[Int64[np.ndarray, " n"], Int64[np.ndarray, " n"], Int64[np.ndarray, " n"], Int64[np.ndarray, " n"]]:
    """For each row of each segment: the id, the row, the first and the last column; by id, then row."""
    height, width = labels.shape
    flat = labels.ravel()
    starts = np.ones(flat.size, bool)
    starts[1:] = flat[1:] != flat[:-1]
    starts[::width] = True
    begin = np.flatnonzero(starts)
    end = np.append(begin[1:], flat.size) - 1
    ids = flat[begin].astype(np.int64)
    kept = ids > 0
    begin, end, ids = begin[kept], end[kept], ids[kept]
    order = np.argsort(ids * height + begin // width, kind="stable")  # runs of one row stay from left to right
    keys = (ids * height + begin // width)[order]
    heads = np.flatnonzero(np.append(True, keys[1:] != keys[:-1])[: len(keys)])
    tails = np.append(heads[1:], len(keys))[: len(heads)] - 1
    found, rows = np.divmod(keys[heads], height)
    return found, rows, begin[order][heads] % width, end[order][tails] % width


def _hull_area(rows: Int64[np.ndarray, " n"], first: Int64[np.ndarray, " n"], last: Int64[np.ndarray, " n"]) -> int:
    """Pixels in the hull of one segment."""
    if len(rows) == 1 or (np.ptp(first) == 0 and np.ptp(last) == 0):
        return int((rows[-1] - rows[0] + 1) * (last[0] - first[0] + 1))
    points = np.concatenate(
        [
            np.stack([rows, first - 0.5], 1),
            np.stack([rows, last + 0.5], 1),
            *(np.stack([rows + step, column], 1) for step in (-0.5, 0.5) for column in (first, last)),
        ]
    )
    corners = points[ConvexHull(points).vertices]
    between = np.arange(rows[0], rows[-1] + 1)
    left, right = _sides(corners, between)
    return int((np.floor(right + _TOLERANCE) - np.ceil(left - _TOLERANCE) + 1).sum())


def _sides(
    corners: Float64[np.ndarray, "n 2"], rows: Int64[np.ndarray, " r"]
) -> tuple[Float64[np.ndarray, " r"], Float64[np.ndarray, " r"]]:
    """The columns between which a convex polygon lies in each row."""
    corners = np.roll(corners, -int(np.argmin(corners[:, 0])), axis=0)
    lowest = int(np.argmax(corners[:, 0]))
    one, other = corners[: lowest + 1], np.concatenate([corners[lowest:], corners[:1]])[::-1]
    columns = [np.interp(rows, side[:, 0], side[:, 1]) for side in (one, other)]
    return np.minimum(*columns), np.maximum(*columns)
