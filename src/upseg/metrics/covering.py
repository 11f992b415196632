"""Segmentation covering: how well a segmentation's regions cover those of another."""

from __future__ import annotations

from upseg.functional.contingency import overlaps
from upseg.functional.label_maps import LabelMap, Mask
from upseg.metrics.accumulator import ratio


def covering(truth: LabelMap, prediction: LabelMap, valid: Mask | None = None) -> float:
    """Covering of the ground truth by the prediction: the area-weighted mean of each region's best IoU.

    C(S' → S) = 1/N Σ_{R∈S} |R| max_{R'∈S'} IoU(R, R')

    Source: Arbeláez et al., Contour Detection and Hierarchical Image Segmentation, PAMI 2011, Eq. 13, Sec. 3.2.

    Args:
        truth: (H, W) ids of the regions, 0 unlabelled: such pixels are in N for no region, but in the union of a label.
        prediction: (H, W) predicted labels, 0 void (no label).
        valid: Pixels to look at; all of them where it is None.

    Returns:
        A value in [0, 1]; nan without a ground-truth region. With several annotators take the mean over their maps.

    Example:
        >>> import numpy as np
        >>> covering(np.array([[1, 1, 2, 2]]), np.array([[1, 1, 1, 1]]))
        0.5
    """
    found = overlaps(truth, prediction, valid)
    areas = found.row_areas[1:]
    return ratio(float(areas @ found.best_cells()[0]), float(areas.sum()))
