"""From a map of boundary probabilities to thin lines, and to lines thick enough to be closed (Appendix C)."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int64
from scipy import ndimage
from skimage.measure import label as label_components

SMOOTHING = 1.5
"""Deviation in pixels of the smoothing in which crests are looked for: a saturated line gets one too."""
STEEP = 0.45
"""A crest bends down by at least this share of its slope within one deviation: the flank of a bent line is none."""
ECHO = 5.0
"""Pixels: a crest so near to a known contour, and along it, is the contour's own."""
PARALLEL = 0.6
"""The share of a step across the crest by which it leads away from the contour, from which on they run along."""
BLOCK_PIXELS = 2**20
"""Thinned at once, so that memory stays bounded."""
TOLERANCE = 1e-6
"""By which a neighbour must be higher to suppress a pixel: the two equal pixels of a crest both stay."""
SPECK = 5
"""Pixels of a line: fewer, far from others, are noise."""

_REACH = 16  # rows beyond a block that its smoothing and the step to the sides look at, and a few more


def non_maximum_suppression(
    boundary: Float32[np.ndarray, "h w"],
    minimum: float = 0.0,
    contour_distance: Float32[np.ndarray, "h w"] | None = None,
) -> Float32[np.ndarray, "h w"]:
    """Keep the crests of a boundary map: non-maximum suppression across the direction of the boundary.

    Paper: Appendix C, stage one. A pixel stays if the smoothed map is at least as high there as one pixel to either
    side of it, interpolated. The side is the direction in which the smoothed map bends down most, by its second
    derivatives: it is known on a crest, where the gradient vanishes, and lines reach their ends and junctions. Where
    it hardly bends down there is no crest. Lines come out one pixel wide, or two where two pixels are equally high;
    where the map is flat and not 0, everything stays.

    Where contours are known, crests along a near one are taken for its echo and suppressed: networks put a boundary a
    few pixels beside the contour, and what lies between the two is no object. (A choice; the paper is silent.)

    Args:
        boundary: (H, W) probabilities, in [0, 1].
        minimum: Pixels below this are suppressed anyway.
        contour_distance: (H, W) distance in pixels to the nearest known contour, 0 beyond it; None without any.

    Returns:
        (H, W) with the value of `boundary` where it stays, and 0 elsewhere.
    """
    height, width = boundary.shape
    kept = np.zeros_like(boundary)
    rows = max(1, BLOCK_PIXELS // max(1, width))
    for start in range(0, height, rows):
        stop, low = min(start + rows, height), max(0, start - _REACH)
        high = min(stop + _REACH, height)
        candidate = (boundary[start:stop] > 0) & (boundary[start:stop] >= minimum)
        if contour_distance is not None:
            candidate &= contour_distance[start:stop] > 0
        at = np.nonzero(candidate)
        if len(at[0]):
            near = None if contour_distance is None else contour_distance[low:high]
            stays = _is_crest(boundary[low:high], at[0] + (start - low), at[1], near)
            at = (at[0][stays] + start, at[1][stays])
            kept[at] = boundary[at]
    return kept


def dilate(lines: Bool[np.ndarray, "h w"], times: int) -> Bool[np.ndarray, "h w"]:
    """Dilate lines by a square of 3 x 3 pixels, so many times: gaps of up to twice as many pixels are closed.

    Paper: Appendix C, stage two.
    """
    if times == 0 or lines.size == 0:
        return lines
    # so many squares on top of one another are one larger square, whose maximum is found along rows, then columns
    return np.asarray(ndimage.maximum_filter(lines.view(np.uint8), 2 * times + 1, mode="constant") > 0)


def without_specks(lines: Bool[np.ndarray, "h w"], times: int) -> Bool[np.ndarray, "h w"]:
    """Take away thin lines of fewer than `SPECK` pixels that dilating so many times connects to no others.

    A choice, for the paper is silent: a noisy map has crests everywhere, and a few dots across an object would cut it.
    The dashes of a line with gaps stay, for the dilation connects them.
    """
    clusters = label_components(dilate(lines, times), connectivity=2)  # type: ignore[no-untyped-call]
    large: Bool[np.ndarray, " k1"] = np.bincount(clusters[lines], minlength=int(clusters.max(initial=0)) + 1) >= SPECK
    return np.asarray(lines & large[clusters])


def _is_crest(
    boundary: Float32[np.ndarray, "h w"],
    rows: Int64[np.ndarray, " n"],
    columns: Int64[np.ndarray, " n"],
    contour_distance: Float32[np.ndarray, "h w"] | None,
) -> Bool[np.ndarray, " n"]:
    """Which of N pixels are on a crest of the smoothed map that is no contour's echo."""
    smooth = np.pad(ndimage.gaussian_filter(boundary, SMOOTHING, mode="nearest"), 1, mode="edge").astype(np.float64)
    near = _neighbours(smooth, rows + 1, columns + 1)
    slope = np.hypot(near[2][1] - near[0][1], near[1][2] - near[1][0]) / 2
    vertical, horizontal = near[2][1] - 2 * near[1][1] + near[0][1], near[1][2] - 2 * near[1][1] + near[1][0]
    mixed = (near[2][2] - near[2][0] - near[0][2] + near[0][0]) / 4
    # the lower eigenvalue of the matrix of second derivatives: how it bends where it bends down most
    bend = (vertical + horizontal) / 2 - np.hypot((vertical - horizontal) / 2, mixed)
    crest: Bool[np.ndarray, " n"] = TOLERANCE - bend >= STEEP * slope / SMOOTHING
    angle = 0.5 * np.arctan2(2 * mixed, horizontal - vertical) + np.pi / 2
    down, right = np.sin(angle), np.cos(angle)
    for side in (1, -1):
        beside = _interpolated(smooth, rows + 1 + side * down, columns + 1 + side * right)
        crest &= near[1][1] + TOLERANCE >= beside
    if contour_distance is not None:
        crest &= ~_is_echo(contour_distance, rows, columns, down, right)
    return crest


def _is_echo(
    contour_distance: Float32[np.ndarray, "h w"],
    rows: Int64[np.ndarray, " n"],
    columns: Int64[np.ndarray, " n"],
    down: Float64[np.ndarray, " n"],
    right: Float64[np.ndarray, " n"],
) -> Bool[np.ndarray, " n"]:
    """Whether a contour is near, and is found across the line rather than along it."""
    near = _neighbours(np.pad(contour_distance, 1, mode="edge"), rows + 1, columns + 1)
    away_down = (near[2][0] + 2 * near[2][1] + near[2][2] - near[0][0] - 2 * near[0][1] - near[0][2]) / 8
    away_right = (near[0][2] + 2 * near[1][2] + near[2][2] - near[0][0] - 2 * near[1][0] - near[2][0]) / 8
    # the gradient of a distance has length 1, but is shorter midway between two contours: a line there is no echo
    aligned = np.abs(down * away_down + right * away_right) >= PARALLEL
    return np.asarray(aligned & (near[1][1] <= ECHO))


def _neighbours(
    values: Float[np.ndarray, "h w"], rows: Int64[np.ndarray, " n"], columns: Int64[np.ndarray, " n"]
) -> list[list[Float[np.ndarray, " n"]]]:
    """The 3 x 3 values around each of N pixels inside the map."""
    return [[values[rows + down, columns + right] for right in (-1, 0, 1)] for down in (-1, 0, 1)]


def _interpolated(
    values: Float64[np.ndarray, "h w"], rows: Float64[np.ndarray, " n"], columns: Float64[np.ndarray, " n"]
) -> Float64[np.ndarray, " n"]:
    """Bilinear interpolation at N places inside the map."""
    height, width = values.shape
    top = np.clip(np.floor(rows).astype(np.int64), 0, height - 2)
    left = np.clip(np.floor(columns).astype(np.int64), 0, width - 2)
    down, right = rows - top, columns - left
    flat, corner = values.ravel(), top * width + left
    upper = flat[corner] * (1 - right) + flat[corner + 1] * right
    lower = flat[corner + width] * (1 - right) + flat[corner + width + 1] * right
    return np.asarray(upper * (1 - down) + lower * down)
