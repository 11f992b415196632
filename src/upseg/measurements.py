"""Measuring segments: one row for each, in pixels and in physical units; and one row for a whole image.

What scikit-image's `regionprops_table` measures is here the same number, computed for all segments at once where it
would take them one by one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float32, Float64, Int32, Int64

from upseg.functional.label_maps import segment_areas
from upseg.images.pixel_size import PixelSize
from upseg.segmentation import Segmentation, Table

CHANNELS = ("red", "green", "blue")
_ROOT = float(np.sqrt(2))
# how long the border is at a border pixel, by 1 + 2 (border pixels beside it) + 10 (those at its corners): Benkrid and
# Crookes, Design and FPGA Implementation of a Perimeter Estimator, 2000
_STEPS: Mapping[int, float] = {
    **dict.fromkeys((5, 7, 15, 17, 25, 27), 1.0),
    **dict.fromkeys((21, 33), _ROOT),
    **dict.fromkeys((13, 23), (1 + _ROOT) / 2),
}


def measure(
    segmentation: Segmentation,
    image: Float32[np.ndarray, "h w 3"] | None = None,
    pixel_size: PixelSize | float | str | None = None,
    *,
    shapes: bool = True,
) -> Table:
    """Measure every segment; see `Segmentation.table`.

    The columns: `id`, `class`, `score`, `parent`, `area`, `centroid_row`, `centroid_column`, the box as `top`, `left`,
    `bottom`, `right` (half open), `equivalent_diameter`; with `shapes` `perimeter`, `major_axis`, `minor_axis`,
    `eccentricity`, `orientation` (radians, of the major axis from the rows' direction), `solidity`; with an image
    `mean_red` and so on, also `min`, `max` and `std`, in [0, 1]; with a pixel size areas and lengths once more with the
    unit at the end of the name, as in `area_um2`.

    Args:
        segmentation: Of K segments.
        image: (H, W, 3) RGB in [0, 1].
        pixel_size: None for the one in the provenance, if there is one.
        shapes: Whether to measure what needs the border and the hull.

    Returns:
        Columns by name, (K,) each.

    Raises:
        ValueError: If the image has another size, or the pixel size is none.

    Example:
        >>> table = measure(Segmentation.from_labels(np.array([[7, 7, 0, 9]])))
        >>> table["centroid_column"].tolist(), table["perimeter"].tolist()
        ([0.5, 3.0], [0.0, 0.0])
    """
    segmentation.check_size(image)
    table = _facts(segmentation)
    if shapes:
        table |= _shapes(segmentation)
    if image is not None:
        table |= _intensities(segmentation.labels, image)
    known = segmentation.provenance.get("pixel_size") if pixel_size is None else pixel_size
    return table if known is None else table | _in_units(table, PixelSize.of(known))


def summarize(table: Table, pixels: int | None = None) -> dict[str, Any]:
    """One row for an image: the number of segments, their areas, and how many there are of each class.

    Args:
        table: Of the image's segments.
        pixels: Of the image; where given, `coverage` is the share of them that belong to segments.

    Example:
        >>> summary = summarize(measure(Segmentation.from_labels(np.array([[7, 7, 0, 9]]))), pixels=4)
        >>> summary["segments"], summary["mean_area"], summary["coverage"]
        (2, 1.5, 0.75)
    """
    areas = np.asarray(table["area"], np.float64)
    names = [str(name) for name in table["class"] if name]
    row: dict[str, Any] = {"segments": len(areas), "total_area": int(areas.sum())}
    for name, reduce in (("mean", np.mean), ("median", np.median), ("std", np.std), ("min", np.min), ("max", np.max)):
        for column in [key for key in table if key == "area" or key.startswith("area_")]:
            row[f"{name}_{column}"] = float(reduce(np.asarray(table[column], np.float64))) if len(areas) else None
    if pixels is not None:
        row["coverage"] = float(areas.sum()) / pixels
    return row | {f"count_{name}": names.count(name) for name in sorted(set(names))}


def _facts(segmentation: Segmentation) -> Table:
    areas = segment_areas(segmentation.labels)[1:]
    boxes = np.array([segment.bbox for segment in segmentation], np.int64).reshape(-1, 4)
    centroids = segmentation.centroids
    table = {
        "id": np.arange(1, len(areas) + 1),
        "class": np.array([s.category.name if s.category else "" for s in segmentation], object),
        "score": np.array([np.nan if s.score is None else s.score for s in segmentation], np.float64),
        "parent": np.array([s.parent or 0 for s in segmentation], np.int64),
        "area": areas,
        "centroid_row": centroids[:, 0],
        "centroid_column": centroids[:, 1],
    }
    table |= dict(zip(("top", "left", "bottom", "right"), boxes.T, strict=True))
    return table | {"equivalent_diameter": np.sqrt(4 * areas / np.pi)}


def _shapes(segmentation: Segmentation) -> Table:
    labels, areas = segmentation.labels, segment_areas(segmentation.labels)[1:]
    perimeters = _perimeters(labels, len(areas))
    column_variance, minus_covariance, row_variance = _inertia(labels, segmentation.centroids, areas)
    middle = (column_variance + row_variance) / 2
    spread = np.sqrt(((column_variance - row_variance) / 2) ** 2 + minus_covariance**2)
    largest, least = middle + spread, np.maximum(middle - spread, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        eccentricity = np.where(largest > 0, np.sqrt(1 - least / largest), 0.0)
    difference = row_variance - column_variance
    upright = np.where(minus_covariance < 0, np.pi / 4, -np.pi / 4)  # where there is no longer axis
    return {
        "perimeter": perimeters,
        "major_axis": 4 * np.sqrt(largest),
        "minor_axis": 4 * np.sqrt(least),
        "eccentricity": eccentricity,
        "orientation": np.where(difference == 0, upright, np.arctan2(-2 * minus_covariance, difference) / 2),
        "solidity": areas / convex_areas(labels, len(areas)),
    }


def _inertia(
    labels: Int32[np.ndarray, "h w"], centroids: Float64[np.ndarray, "k 2"], areas: Int64[np.ndarray, " k"]
) -> tuple[Float64[np.ndarray, " k"], Float64[np.ndarray, " k"], Float64[np.ndarray, " k"]]:
    """The inertia tensor of each segment: variance of columns, minus the covariance, variance of rows."""
    flat = labels.ravel()
    height, width = labels.shape
    rows, columns = np.repeat(np.arange(height, dtype=np.float64), width), np.tile(np.arange(float(width)), height)
    count = len(areas) + 1
    row_mean, column_mean = centroids.T
    row_square = np.bincount(flat, rows * rows, count)[1:] / areas - row_mean**2
    column_square = np.bincount(flat, columns * columns, count)[1:] / areas - column_mean**2
    product = np.bincount(flat, rows * columns, count)[1:] / areas - row_mean * column_mean
    return _settled(column_square), -_settled(product), _settled(row_square)


def _settled(values: Float64[np.ndarray, " k"]) -> Float64[np.ndarray, " k"]:
    """Without what rounding leaves of a zero: variances are multiples of 1 / area², far larger."""
    return np.where(np.abs(values) < 1e-9, 0.0, values)


def _perimeters(labels: Int32[np.ndarray, "h w"], count: int) -> Float64[np.ndarray, " k"]:
    padded = np.pad(labels, 1)
    inner = padded[1:-1, 1:-1]
    border = np.zeros(padded.shape, bool)
    same = np.ones(inner.shape, bool)
    for neighbour in (padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:]):
        same &= neighbour == inner
    border[1:-1, 1:-1] = ~same & (inner > 0)
    at = np.flatnonzero(border)
    on_border = np.where(border, padded, 0).ravel()
    own = on_border[at]
    width = padded.shape[1]
    codes = np.ones(len(at), np.int64)
    for value, steps in ((2, (-width, width, -1, 1)), (10, (-width - 1, -width + 1, width - 1, width + 1))):
        for step in steps:
            codes += value * (on_border[at + step] == own)
    lengths = np.zeros(50)
    lengths[list(_STEPS)] = list(_STEPS.values())
    return np.bincount(own, lengths[codes], count + 1)[1:].astype(np.float64)  # of nothing it counts integers


def _intensities(labels: Int32[np.ndarray, "h w"], image: Float32[np.ndarray, "h w 3"]) -> Table:
    flat = labels.ravel()
    areas = segment_areas(labels)
    order = np.argsort(flat, kind="stable")[areas[0] :]  # without void
    starts = np.concatenate([[0], np.cumsum(areas[1:])[:-1]]).astype(np.int64)[: len(areas) - 1]
    table: Table = {}
    for name, values in zip(CHANNELS, image.reshape(-1, 3).T, strict=True):
        ordered = values[order]
        low, high = (extreme.reduceat(ordered, starts).astype(float) for extreme in (np.minimum, np.maximum))
        mean = np.bincount(flat, values, len(areas)) / np.maximum(areas, 1)
        deviation = values - mean[flat]
        spread = np.sqrt(np.bincount(flat, deviation * deviation, len(areas)) / np.maximum(areas, 1))
        table |= {f"mean_{name}": mean[1:], f"min_{name}": low, f"max_{name}": high, f"std_{name}": spread[1:]}
    return table


def _in_units(table: Table, size: PixelSize) -> Table:
    lengths = [name for name in ("equivalent_diameter", "perimeter", "major_axis", "minor_axis") if name in table]
    return {f"area_{size.unit}2": table["area"] * size.length**2} | {
        f"{name}_{size.unit}": table[name] * size.length for name in lengths
    }


_TOLERANCE = 1e-9


def convex_areas(labels: Int32[np.ndarray, "h w"], count: int) -> Int64[np.ndarray, " k"]:
    """The number of pixels whose centres lie in the hull of each segment 1..K, all of which occur, border included.

    The hull is that of the middles of the pixels' four sides. Only the first and the last pixel of each row of a
    segment can be on it, so all others are left out before.
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
    from scipy.spatial import ConvexHull

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
