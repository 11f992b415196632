"""Variation of information: the distance of two segmentations in information."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64, Int64

from upseg.functional.contingency import overlaps
from upseg.functional.label_maps import LabelMap, Mask


def variation_of_information(truth: LabelMap, prediction: LabelMap, valid: Mask | None = None) -> float:
    """VI = H(truth | prediction) + H(prediction | truth), in bits, as the BSDS500 benchmark's code takes log2.

    Source: Meilă, Comparing Clusterings, COLT 2003. In nats: times ln 2.

    Args:
        truth: (H, W) ids, 0 unlabelled: such pixels are left out.
        prediction: (H, W) labels; void (0) is a label like any other.
        valid: Pixels to look at; all of them where it is None.

    Returns:
        Bits, 0 (the same partition) to 2 log2(N); nan without a labelled pixel. With several annotators take the mean
        over their maps.

    Example:
        >>> variation_of_information(np.array([[1, 1, 2, 2]]), np.array([[1, 1, 1, 1]]))
        1.0
    """
    labelled = truth > 0 if valid is None else (truth > 0) & valid
    found = overlaps(truth, prediction, labelled)
    pixels = int(found.counts.sum())
    if pixels == 0:
        return float("nan")
    joint = _entropy(found.counts / pixels)
    marginals = _entropy(_shares(found.row_areas, pixels)) + _entropy(_shares(found.column_areas, pixels))
    return max(0.0, 2.0 * joint - marginals)  # rounding may leave a negative of the order of 1e-16


def _shares(areas: Int64[np.ndarray, " k"], pixels: int) -> Float64[np.ndarray, " occupied"]:
    """The shares of the pixels, without the empty rows."""
    return areas[areas > 0] / pixels


def _entropy(shares: Float64[np.ndarray, " k"]) -> float:
    """Entropy in bits of shares that are all positive."""
    return -float(shares @ np.log2(shares))
