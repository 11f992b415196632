"""Cell matching: true and false positives and misses at IoU 0.5 to 0.95, as cell papers report them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from upseg.functional.contingency import Overlaps, overlaps
from upseg.functional.label_maps import LabelMap, Mask
from upseg.metrics.accumulator import Accumulator, ratio

IOU_THRESHOLDS = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)


@dataclass(frozen=True, slots=True)
class MatchCounts:
    """Result of matching at one IoU threshold, of one image or of all.

    Attributes:
        true_positives: Matched pairs.
        false_positives: Predicted cells without a partner.
        false_negatives: Ground-truth cells without a partner.
    """

    true_positives: int
    false_positives: int
    false_negatives: int

    @property
    def f1(self) -> float:
        """2 TP / (2 TP + FP + FN); nan where there is no cell at all."""
        return ratio(2 * self.true_positives, 2 * self.true_positives + self.false_positives + self.false_negatives)

    @property
    def average_precision(self) -> float:
        """TP / (TP + FP + FN), which cell papers call average precision; nan where there is no cell at all."""
        return ratio(self.true_positives, self.true_positives + self.false_positives + self.false_negatives)


def match_cells(
    truth: LabelMap, prediction: LabelMap, thresholds: Sequence[float] = IOU_THRESHOLDS, valid: Mask | None = None
) -> list[MatchCounts]:
    """Match cells one to one, as many as possible among the pairs whose IoU reaches the threshold.

    Above 0.5 no cell has two candidates; at exactly 0.5 and below the largest matching is found.

    Source: Schmidt et al., Cell Detection with Star-convex Polygons, MICCAI 2018, Sec. 3.

    Args:
        truth: (H, W) ids, 0 background.
        prediction: (H, W) ids, 0 background.
        thresholds: IoU that a match has to reach, each more than 0.
        valid: Pixels to look at; all of them where it is None.

    Returns:
        One `MatchCounts` for each threshold.

    Raises:
        ValueError: If the shapes differ, a map is not one of integers >= 0, or a threshold is not in (0, 1].

    Example:
        >>> match_cells(np.array([[1, 1, 0, 2]]), np.array([[5, 5, 6, 0]]), thresholds=[0.5])
        [MatchCounts(true_positives=1, false_positives=1, false_negatives=1)]
    """
    if not all(0 < threshold <= 1 for threshold in thresholds):
        raise ValueError(f"IoU thresholds must be in (0, 1], got {tuple(thresholds)}")
    found = overlaps(truth, prediction, valid)
    matched = [_largest_matching(found, threshold) for threshold in thresholds]
    truths, predictions = len(found.row_ids) - 1, len(found.column_ids) - 1
    return [MatchCounts(count, predictions - count, truths - count) for count in matched]


class CellMatching(Accumulator):
    """Cell matching over a data set: counts pooled over images, and the mean over images.

    Args:
        thresholds: IoU that a match has to reach, each in (0, 1].

    Example:
        >>> metric = CellMatching()
        >>> metric.update(np.array([[1, 1, 0, 2]]), np.array([[5, 5, 6, 0]]))
        >>> metric.compute()["f1_50"]
        0.5
    """

    def __init__(self, thresholds: Sequence[float] = IOU_THRESHOLDS) -> None:
        self.thresholds = tuple(thresholds)
        zeros = np.zeros(len(self.thresholds))
        super().__init__(
            {
                "counts": np.zeros((len(self.thresholds), 3), np.int64),
                "images": np.zeros((), np.int64),
                "image_ap": zeros,
                "image_f1": zeros,
            }
        )

    def update(self, truth: LabelMap, prediction: LabelMap, valid: Mask | None = None) -> None:
        """Add one image; see `match_cells`. One without any cell in either map counts in no mean over images."""
        found = match_cells(truth, prediction, self.thresholds, valid)
        counts = [(c.true_positives, c.false_positives, c.false_negatives) for c in found]
        self.add(counts=counts)
        if np.any(counts):
            self.add(images=1, image_ap=[c.average_precision for c in found], image_f1=[c.f1 for c in found])

    def counts(self) -> dict[float, MatchCounts]:
        """The counts over all images, by threshold."""
        rows: Int64[np.ndarray, "thresholds 3"] = self.sums["counts"]
        return {t: MatchCounts(*map(int, row)) for t, row in zip(self.thresholds, rows, strict=True)}

    def compute(self) -> dict[str, float]:
        """`ap50`, `f1_50` (pooled) and `image_ap50`, `image_f1_50` (mean over images) and so on for each threshold.

        And the mean of each over the thresholds: `ap`, `f1`, `image_ap` (the score of the 2018 Data Science Bowl) and
        `image_f1`.
        """
        pooled = self.counts().values()
        images = self.sums["images"]
        columns = {
            "ap": [c.average_precision for c in pooled],
            "f1": [c.f1 for c in pooled],
            "image_ap": [ratio(total, images) for total in self.sums["image_ap"]],
            "image_f1": [ratio(total, images) for total in self.sums["image_f1"]],
        }
        table: dict[str, float] = {name: float(np.mean(values)) for name, values in columns.items()}
        for name, values in columns.items():
            joint = "_" if name.endswith("1") else ""
            table |= {f"{name}{joint}{round(100 * t)}": v for t, v in zip(self.thresholds, values, strict=True)}
        return table


def _largest_matching(found: Overlaps, threshold: float) -> int:
    """Number of pairs in the largest one-to-one matching of segments whose IoU reaches the threshold."""
    cells = found.between_segments() & (found.ious() >= threshold)
    rows, columns = found.rows[cells], found.columns[cells]
    if len(np.unique(rows)) == len(rows) and len(np.unique(columns)) == len(columns):
        return len(rows)
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import maximum_bipartite_matching

    graph = csr_array((np.ones(len(rows), bool), (rows, columns)), shape=(len(found.row_ids), len(found.column_ids)))
    return int(np.sum(maximum_bipartite_matching(graph, perm_type="column") >= 0))
