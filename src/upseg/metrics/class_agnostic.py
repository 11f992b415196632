"""Class-agnostic recall, mean IoU and Boundary IoU: is each ground-truth segment found, whatever it is called?"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

from upseg.functional.label_maps import LabelMap, Mask
from upseg.metrics.accumulator import Accumulator, ratio
from upseg.metrics.boundary_iou import DILATION_RATIO, boundary_ious

RECALL_THRESHOLD = 0.5


@dataclass(frozen=True, slots=True)
class BestMatches:
    """For each ground-truth segment of one image the predicted segment of the highest IoU.

    Attributes:
        truth_ids: The ground-truth segments, ascending.
        prediction_ids: The best predicted segment of each, 0 where none touches it.
        ious: Their IoU, in [0, 1].
        boundary_ious: The Boundary IoU of that same pair, in [0, 1].
    """

    truth_ids: Int64[np.ndarray, " k"]
    prediction_ids: Int64[np.ndarray, " k"]
    ious: Float64[np.ndarray, " k"]
    boundary_ious: Float64[np.ndarray, " k"]


def best_matches(
    truth: LabelMap, prediction: LabelMap, valid: Mask | None = None, dilation_ratio: float = DILATION_RATIO
) -> BestMatches:
    """Match each ground-truth segment with its best prediction; one prediction may be the best of several.

    Args:
        truth: (H, W) ids, 0 no segment. A predicted segment that spills over 0 pays for it in its union.
        prediction: (H, W) ids, 0 void.
        valid: Pixels to look at; the others (crowd, ignored) count neither for nor against.
        dilation_ratio: Width of the Boundary IoU's rim in image diagonals.

    Raises:
        ValueError: If the shapes differ, or a map is not one of integers >= 0.

    Example:
        >>> best_matches(np.array([[1, 1, 2, 2]]), np.array([[5, 5, 5, 0]])).prediction_ids.tolist()
        [5, 5]
    """
    found, rims = boundary_ious(truth, prediction, valid, dilation_ratio)
    ious, cells = found.best_cells()
    partners = np.append(found.column_ids[found.columns], 0)[cells]  # -1, for none, is the 0 at the end
    return BestMatches(found.row_ids[1:], partners, ious, np.append(rims, 0.0)[cells])


class ClassAgnostic(Accumulator):
    """Recall, mean IoU and Boundary IoU over all ground-truth segments of all images. False positives do not enter.

    Args:
        dilation_ratio: Width of the Boundary IoU's rim in image diagonals.

    Example:
        >>> metric = ClassAgnostic()
        >>> metric.update(np.array([[1, 1, 2, 2]]), np.array([[5, 5, 0, 6]]))
        >>> metric.compute()
        {'recall': 0.5, 'mean_iou': 0.75, 'boundary_iou': 0.75}
    """

    def __init__(self, dilation_ratio: float = DILATION_RATIO) -> None:
        count, total = np.zeros((), np.int64), np.zeros(())
        super().__init__({"segments": count, "recalled": count, "iou": total, "boundary_iou": total})
        self.dilation_ratio = dilation_ratio

    def update(self, truth: LabelMap, prediction: LabelMap, valid: Mask | None = None) -> None:
        """Add one image; see `best_matches`."""
        found = best_matches(truth, prediction, valid, self.dilation_ratio)
        self.add(
            segments=len(found.ious),
            recalled=np.sum(found.ious > RECALL_THRESHOLD),
            iou=found.ious.sum(),
            boundary_iou=found.boundary_ious.sum(),
        )

    def update_masks(self, masks: Iterable[Mask], prediction: LabelMap, wholes: Iterable[Mask] = ()) -> None:
        """Add one image whose segments overlap.

        Args:
            masks: Of the ground truth, whole.
            prediction: (H, W) ids, 0 void.
            wholes: Further predicted segments, which overlap those of the map: those with parts, and their parts.
        """
        others = list(wholes)
        for mask in masks:
            found = best_matches(mask.astype(np.int32), prediction, None, self.dilation_ratio)
            candidates = [(float(iou), float(rim)) for iou, rim in zip(found.ious, found.boundary_ious, strict=True)]
            for other in others:
                one = best_matches(mask.astype(np.int32), other.astype(np.int32), None, self.dilation_ratio)
                candidates += zip(one.ious.tolist(), one.boundary_ious.tolist(), strict=True)
            if candidates:
                iou, rim = max(candidates)
                self.add(segments=1, recalled=int(iou > RECALL_THRESHOLD), iou=iou, boundary_iou=rim)

    def compute(self) -> dict[str, float]:
        """`recall` (share with a prediction of IoU > 0.5), `mean_iou` and `boundary_iou` (of the pair of best IoU)."""
        names = {"recall": "recalled", "mean_iou": "iou", "boundary_iou": "boundary_iou"}
        return {name: ratio(self.sums[total], self.sums["segments"]) for name, total in names.items()}
