"""Boundary IoU: the IoU of two segments' rims, for all segments of two label maps at once."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Bool, Float64

from upseg.functional.contingency import Overlaps, overlaps_by_pixel, sum_by
from upseg.functional.label_maps import LabelMap, Mask

DILATION_RATIO = 0.02


def boundary_width(height: int, width: int, dilation_ratio: float = DILATION_RATIO) -> int:
    """Width of the rim in pixels: the ratio times the image's diagonal, rounded, at least 1.

    Source: Cheng et al., Boundary IoU, CVPR 2021, Sec. 4 and 5: 2 % of the diagonal.
    """
    return max(1, round(dilation_ratio * math.hypot(height, width)))


def boundary_band(labels: LabelMap, width: int) -> Mask:
    """The pixels within `width` of another label or of the image's border, all labels at once.

    Distance is the chessboard distance, so a label's band is what its mask loses to `width` erosions by a 3 x 3 square
    with nothing outside the image: the rim that Boundary IoU's reference code computes mask by mask.

    Args:
        labels: (H, W) integers; void is a label like any other.
        width: Pixels, at least 1.

    Returns:
        (H, W), True in the band.

    Raises:
        ValueError: If `width` is less than 1.
    """
    if width < 1:
        raise ValueError(f"the width of a boundary band must be at least 1 pixel, got {width}")
    height, length = labels.shape
    if min(height, length) <= 2 * width:
        return np.ones(labels.shape, bool)
    # A (2 width + 1)² window is of one label iff all the 2 x 2 cells within it are.
    across = labels[:, 1:] != labels[:, :-1]
    mixed = across[1:] | across[:-1]
    mixed |= (labels[1:] != labels[:-1])[:, 1:]
    band = np.ones(labels.shape, bool)
    tall = _any_in_window(mixed, 2 * width)
    band[width : height - width, width : length - width] = _any_in_window(tall.T, 2 * width).T
    return band


def boundary_ious(
    truth: LabelMap, prediction: LabelMap, valid: Mask | None = None, dilation_ratio: float = DILATION_RATIO
) -> tuple[Overlaps, Float64[np.ndarray, " cells"]]:
    """The overlaps of two label maps, and the Boundary IoU of each of their cells; that of all other pairs is 0.

    B. IoU(G, P) = |A ∩ B| / (|A| + |B| - |A ∩ B|), A = G_d ∩ G, B = P_d ∩ P, G_d the pixels within d of G's contour.

    Source: Cheng et al., Boundary IoU, CVPR 2021, Eq. 2, Sec. 4.

    Args:
        truth: (H, W) ids, 0 unlabelled.
        prediction: (H, W) ids, 0 void.
        valid: Pixels to count; all of them where it is None. The rims are those of the whole maps.
        dilation_ratio: d in image diagonals.

    Returns:
        The `Overlaps` (rows: ground truth), and a value in [0, 1] for each of its cells; 0 where neither has a rim.

    Raises:
        ValueError: If the shapes differ, or a map is not one of integers >= 0.

    Example:
        >>> truth = np.array([[1, 1, 2, 2]])
        >>> found, values = boundary_ious(truth, np.array([[1, 1, 1, 2]]))
        >>> values.round(3).tolist()
        [0.667, 0.25, 0.5]
    """
    found, cell_of_pixel = overlaps_by_pixel(truth, prediction, valid)
    width = boundary_width(truth.shape[0], truth.shape[1], dilation_ratio)
    # whether a pixel is in the rim of its segment in the ground truth (2), in the prediction (1), in both (3)
    rims = 2 * boundary_band(truth, width).astype(np.int64) + boundary_band(prediction, width)
    rims = rims.ravel() if valid is None else rims[valid]
    pixels = np.bincount(4 * cell_of_pixel + rims, minlength=4 * len(found.counts)).reshape(-1, 4)
    of_truth = sum_by(found.rows, pixels[:, 2] + pixels[:, 3], len(found.row_ids))
    of_prediction = sum_by(found.columns, pixels[:, 1] + pixels[:, 3], len(found.column_ids))
    unions = of_truth[found.rows] + of_prediction[found.columns] - pixels[:, 3]
    return found, np.asarray(pixels[:, 3] / np.maximum(unions, 1))


def _any_in_window(cells: Mask, length: int) -> Bool[np.ndarray, "h2 w"]:
    """Whether any of `length` cells in a row (along axis 0) is True; only for windows wholly inside.

    Windows double in length at each step, so the cost is the logarithm of the length.
    """
    reach = 1
    while reach < length:
        step = min(reach, length - reach)
        cells = cells[step:] | cells[:-step]
        reach += step
    return cells
