"""Lines drawn by hand: what they cover, and how they cut a region."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int32, Int64

Number = int | float
Stroke = Sequence[tuple[Number, Number]]
"""Points (row, column) in pixels, joined by straight lines; one point alone is a dot."""

_NEAR, _FAR = 4.0, 8.0  # pixels from a line that cuts: where its two sides begin and end, with the border in between


def draw_stroke(shape: tuple[int, int], points: Stroke, radius: Number = 0) -> Bool[np.ndarray, "h w"]:
    """The pixels that a round brush covers along a line.

    Args:
        shape: (H, W) of the picture; what lies outside is left out.
        points: Of the line, at least one.
        radius: Of the brush, in pixels, at least 0; 0 for a line one pixel wide.

    Raises:
        ValueError: If there is no point, or the radius is negative.

    Example:
        >>> draw_stroke((1, 5), [(0, 1), (0, 3)]).tolist()
        [[False, True, True, True, False]]
    """
    from scipy import ndimage
    from skimage.draw import line

    if len(points) == 0 or radius < 0:
        raise ValueError(f"a stroke has at least one point and a radius of at least 0, got {len(points)} and {radius}")
    mask = np.zeros(shape, bool)
    whole = [(round(row), round(column)) for row, column in points]
    reach = int(np.ceil(radius))
    # only around the line: a brush in a picture of 24 megapixels must not cost a distance for each pixel
    top, left = np.maximum(np.min(whole, axis=0) - reach - 1, 0)
    bottom, right = np.minimum(np.max(whole, axis=0) + reach + 2, shape)
    if bottom <= top or right <= left:
        return mask
    box = np.zeros((bottom - top + 2 * reach, right - left + 2 * reach), bool)
    for start, end in zip(whole, [*whole[1:], whole[-1]], strict=True):
        rows, columns = line(*start, *end)  # type: ignore[no-untyped-call]
        rows, columns = rows - top + reach, columns - left + reach
        seen = (rows >= 0) & (rows < box.shape[0]) & (columns >= 0) & (columns < box.shape[1])
        box[rows[seen], columns[seen]] = True
    if reach:
        box = ndimage.distance_transform_edt(~box) <= radius
    mask[top:bottom, left:right] = box[reach : reach + bottom - top, reach : reach + right - left]
    return mask


def cut_region(
    region: Bool[np.ndarray, "h w"], strokes: Sequence[Stroke], gradient: Float[np.ndarray, "h w"]
) -> Int32[np.ndarray, "h w"]:
    """Cut a region into parts, along one line or between several.

    One stroke is where the cut is wanted: a watershed of the gradient starts on either side of it, so that the border
    comes to lie on the strongest edge near the line, and where the line ends it goes on as the edges do. Two strokes or
    more each mark one part, and borders are where the floods from them meet.

    Args:
        region: (H, W) the pixels to be cut.
        strokes: At least one.
        gradient: (H, W) how strong the image's edges are.

    Returns:
        (H, W) parts 1..N of the region, 0 elsewhere; all 1 where nothing was cut.

    Raises:
        ValueError: If there is no stroke.

    Example:
        >>> flat = np.zeros((4, 9))
        >>> cut_region(np.ones((4, 9), bool), [[(0, 1), (3, 1)], [(0, 7), (3, 7)]], flat)[0].tolist()
        [1, 1, 1, 1, 1, 2, 2, 2, 2]
    """
    from skimage.segmentation import watershed

    if not strokes:
        raise ValueError("there must be at least one stroke to cut along")
    markers = _sides(region, strokes[0]) if len(strokes) == 1 else np.zeros(region.shape, np.int32)
    if len(strokes) > 1:
        for number, stroke in enumerate(strokes, start=1):
            markers[draw_stroke((region.shape[0], region.shape[1]), stroke) & region] = number
    present = np.unique(markers[markers > 0])
    if len(present) < 2:
        return region.astype(np.int32)
    flooded = watershed(_blunt(gradient), markers, mask=region)  # type: ignore[no-untyped-call]
    table = np.zeros(int(present[-1]) + 1, np.int32)
    table[present] = np.arange(1, len(present) + 1)
    parts: Int32[np.ndarray, "h w"] = table[flooded]
    # parts of the region that no flood reaches stay with the first
    parts[region & (parts == 0)] = 1
    return parts


def _sides(region: Bool[np.ndarray, "h w"], stroke: Stroke) -> Int32[np.ndarray, "h w"]:
    """The two sides of a line, as markers: pixels near it, told apart by which side they are on."""
    rows, columns = np.nonzero(region & draw_stroke((region.shape[0], region.shape[1]), stroke, _FAR))
    side, distance = _sides_of_points(np.stack([rows, columns], axis=1), np.array(stroke, float))
    markers = np.zeros(region.shape, np.int32)
    for near in (_NEAR, 1.0):  # in a narrow region the sides begin beside the line
        markers[rows, columns] = np.where(distance >= near, side, 0)
        if {1, 2} <= set(np.unique(markers).tolist()):
            break
    return markers


def _sides_of_points(
    points: Int64[np.ndarray, "n 2"], line_points: Float64[np.ndarray, "m 2"]
) -> tuple[Int32[np.ndarray, " n"], Float64[np.ndarray, " n"]]:
    """For each point 1 or 2 by the side of a line on which it lies, 0 upon it, and its distance in pixels."""
    best, side = np.full(len(points), np.inf), np.zeros(len(points), np.int32)
    for start, end in pairwise(line_points):
        along, offset = end - start, points - start
        share = np.clip(offset @ along / (float(along @ along) or 1.0), 0, 1)
        distance = np.linalg.norm(offset - share[:, None] * along, axis=1)
        turned = along[0] * offset[:, 1] - along[1] * offset[:, 0]
        nearer = distance < best
        best[nearer] = distance[nearer]
        side[nearer] = np.select([turned[nearer] > 0, turned[nearer] < 0], [1, 2], 0)
    return side, best


def _blunt(gradient: Float[np.ndarray, "h w"]) -> Float32[np.ndarray, "h w"]:
    """The gradient without the differences that noise makes: in 64 steps of its 99th percentile."""
    top = float(np.percentile(gradient, 99)) or 1.0
    blunt: Float32[np.ndarray, "h w"] = np.floor(np.clip(gradient / top, 0, 1) * 64).astype(np.float32)
    return blunt


def edge_strength(image: Float32[np.ndarray, "h w 3"]) -> Float32[np.ndarray, "h w"]:
    """How strong the edges of an image are: the gradient of its lightly smoothed brightness.

    Example:
        >>> edge_strength(np.zeros((2, 3, 3), np.float32)).max()
        np.float32(0.0)
    """
    from scipy import ndimage

    grey = ndimage.gaussian_filter(image.mean(axis=2), 1.0)
    rows, columns = ndimage.sobel(grey, 0), ndimage.sobel(grey, 1)
    strength: Float32[np.ndarray, "h w"] = np.hypot(rows, columns).astype(np.float32)
    return strength
