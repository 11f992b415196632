"""Region IoU with several annotators (the BSDS500 protocol of DynaSeg): All, Fine, Coarse and their mean."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64

from upseg.functional.contingency import overlaps
from upseg.functional.label_maps import LabelMap, Mask
from upseg.metrics.accumulator import Accumulator, ratio


def best_region_ious(truth: LabelMap, prediction: LabelMap, valid: Mask | None = None) -> Float64[np.ndarray, " k"]:
    """For each ground-truth region the best IoU over the predicted labels. A label may be the best of several regions.

    Args:
        truth: (H, W) ids of the regions, 0 unlabelled (no region).
        prediction: (H, W) predicted labels, 0 void (no label).
        valid: Pixels to look at; the others count neither for nor against a region.

    Returns:
        (K,) values in [0, 1] by ascending region id; 0 for a region that no label touches.

    Example:
        >>> best_region_ious(np.array([[1, 2, 2, 2]]), np.array([[5, 5, 6, 6]])).round(3).tolist()
        [0.5, 0.667]
    """
    return overlaps(truth, prediction, valid).best_cells()[0]


class RegionIoU(Accumulator):
    """Region IoU over a data set: averaged over all regions of all images, not image by image.

    Example:
        >>> metric = RegionIoU()
        >>> metric.update([np.array([[1, 1, 1, 1]]), np.array([[1, 1, 2, 2]])], np.array([[5, 5, 6, 6]]))
        >>> metric.compute()["coarse"], metric.compute()["fine"]
        (0.5, 1.0)
    """

    def __init__(self) -> None:
        super().__init__({"total": np.zeros(3), "count": np.zeros(3, np.int64)})

    def update(self, truths: Sequence[LabelMap], prediction: LabelMap, valid: Mask | None = None) -> None:
        """Add one image.

        Args:
            truths: One (H, W) map for each annotator, 0 unlabelled.
            prediction: (H, W) predicted labels, 0 void.
            valid: Pixels to look at.

        Raises:
            ValueError: If there is no annotator, or a map has another shape than the prediction.
        """
        if not truths:
            raise ValueError("region IoU needs the map of at least one annotator, got none")
        ious = [best_region_ious(truth, prediction, valid) for truth in truths]
        counts = [len(values) for values in ious]
        # the first annotator among those with equally many segments
        fine, coarse = int(np.argmax(counts)), int(np.argmin(counts))
        groups = (ious, [ious[fine]], [ious[coarse]])
        self.add(
            total=[sum(float(values.sum()) for values in group) for group in groups],
            count=[sum(len(values) for values in group) for group in groups],
        )

    def compute(self) -> dict[str, float]:
        """`all`, `fine` and `coarse` (annotators with most and with fewest segments), and the `mean` of the three."""
        values = [ratio(t, c) for t, c in zip(self.sums["total"], self.sums["count"], strict=True)]
        return dict(zip(("all", "fine", "coarse", "mean"), (*values, sum(values) / 3), strict=True))
