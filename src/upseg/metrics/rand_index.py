"""Rand index: the share of pixel pairs on which two segmentations agree."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from upseg.functional.contingency import overlaps
from upseg.functional.label_maps import LabelMap, Mask
from upseg.metrics.accumulator import ratio


def rand_index(truth: LabelMap, prediction: LabelMap, valid: Mask | None = None) -> float:
    """Share of the pairs of pixels that both maps join or both maps part. Not corrected for chance.

    RI = 1 - (½ Σ_i a_i² + ½ Σ_j b_j² - Σ_ij n_ij²) / C(N, 2), n the contingency table, a and b its marginal sums.

    Source: Rand, Objective Criteria for the Evaluation of Clustering Methods, JASA 1971.

    Args:
        truth: (H, W) ids, 0 unlabelled: such pixels are left out.
        prediction: (H, W) labels; void (0) is a label like any other, so leaving pixels out gains nothing.
        valid: Pixels to look at; all of them where it is None.

    Returns:
        A value in [0, 1]; nan with fewer than two labelled pixels.

    Example:
        >>> round(rand_index(np.array([[1, 1, 2, 2]]), np.array([[1, 1, 1, 1]])), 3)
        0.333
    """
    labelled = truth > 0 if valid is None else (truth > 0) & valid
    found = overlaps(truth, prediction, labelled)
    pixels = int(found.row_areas.sum())
    apart = _squares(found.row_areas) / 2 + _squares(found.column_areas) / 2 - _squares(found.counts)
    return 1.0 - ratio(apart, pixels * (pixels - 1) / 2)


def probabilistic_rand_index(truths: Sequence[LabelMap], prediction: LabelMap, valid: Mask | None = None) -> float:
    """Mean Rand index over the annotators of one image.

    Source: Unnikrishnan et al., Toward Objective Evaluation of Image Segmentation Algorithms, PAMI 2007, Eq. 3, with
    the sample mean for the probability that two pixels belong together, as the BSDS500 benchmark computes it.

    Raises:
        ValueError: If there is no annotator.

    Example:
        >>> annotators = [np.array([[1, 1, 2, 2]]), np.array([[1, 1, 1, 1]])]
        >>> round(probabilistic_rand_index(annotators, np.array([[1, 1, 1, 1]])), 3)
        0.667
    """
    if not truths:
        raise ValueError("the probabilistic Rand index needs the map of at least one annotator, got none")
    return float(np.mean([rand_index(truth, prediction, valid) for truth in truths]))


def _squares(counts: np.ndarray) -> float:
    """Sum of squares; float64, as pixels to the fourth power may leave int64."""
    values = counts.astype(np.float64)
    return float(values @ values)
