"""Region IoU with several annotators (the BSDS500 protocol of DynaSeg): All, Fine, Coarse and their mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Integer

from upseg.functional.contingency import overlaps
from upseg.metrics.accumulator import Accumulator, ratio


@dataclass(frozen=True, slots=True)
class RegionIoUScores:
    """Best-match region IoU, each in [0, 1]; nan where there is no ground-truth region.

    Attributes:
        all: Mean over the regions of every annotator.
        fine: Mean over the regions of the annotator with most segments.
        coarse: Mean over the regions of the annotator with fewest segments.
    """

    all: float
    fine: float
    coarse: float

    @property
    def mean(self) -> float:
        """Mean of all, fine and coarse."""
        return (self.all + self.fine + self.coarse) / 3


def best_region_ious(
    truth: Integer[np.ndarray, "h w"],
    prediction: Integer[np.ndarray, "h w"],
    valid: Bool[np.ndarray, "h w"] | None = None,
) -> Float64[np.ndarray, " k"]:
    """For each ground-truth region the best IoU over the predicted labels. A label may be the best of several regions.

    Args:
        truth: (H, W) ids of the regions, 0 unlabelled (no region).
        prediction: (H, W) predicted labels, 0 void (no label).
        valid: Pixels to look at; the others count neither for nor against a region.

    Returns:
        (K,) values in [0, 1] by ascending region id; 0 for a region that no label touches.
    """
    return overlaps(truth, prediction, valid).best_cells()[0]


def region_iou(
    truths: Sequence[Integer[np.ndarray, "h w"]],
    prediction: Integer[np.ndarray, "h w"],
    valid: Bool[np.ndarray, "h w"] | None = None,
) -> RegionIoUScores:
    """Region IoU of one image against the maps of all its annotators.

    Args:
        truths: One (H, W) map for each annotator, 0 unlabelled.
        prediction: (H, W) predicted labels, 0 void.
        valid: Pixels to look at.

    Raises:
        ValueError: If there is no annotator, or a map has another shape than the prediction.
    """
    metric = RegionIoU()
    metric.update(truths, prediction, valid)
    return metric.compute_scores()


class RegionIoU(Accumulator):
    """Region IoU over a data set: averaged over all regions of all images, not image by image."""

    def __init__(self) -> None:
        super().__init__({"total": np.zeros(3), "count": np.zeros(3, np.int64)})

    def update(
        self,
        truths: Sequence[Integer[np.ndarray, "h w"]],
        prediction: Integer[np.ndarray, "h w"],
        valid: Bool[np.ndarray, "h w"] | None = None,
    ) -> None:
        """Add one image; see `region_iou`."""
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

    def compute_scores(self) -> RegionIoUScores:
        """The scores so far."""
        return RegionIoUScores(*(ratio(t, c) for t, c in zip(self.sums["total"], self.sums["count"], strict=True)))

    def compute(self) -> dict[str, float]:
        """`all`, `fine`, `coarse` and `mean`."""
        scores = self.compute_scores()
        return {"all": scores.all, "fine": scores.fine, "coarse": scores.coarse, "mean": scores.mean}
