"""Mask average precision as on PASCAL VOC: mAP25, mAP50, mAP70, mAP75."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64

from upseg.functional.label_maps import LabelMap, Mask
from upseg.metrics.accumulator import Accumulator
from upseg.metrics.mask_iou import label_map_ious
from upseg.segmentation import Category

IOU_THRESHOLDS = (0.25, 0.5, 0.7, 0.75)


def match_detections(
    ious: Float64[np.ndarray, "truths detections"],
    scores: Float[np.ndarray, " detections"],
    thresholds: Sequence[float] = IOU_THRESHOLDS,
) -> Bool[np.ndarray, "detections thresholds"]:
    """Which detections of one image and class are true positives.

    From the highest score down (in the given order among equals) each detection claims the ground-truth object of its
    highest IoU, if that reaches the threshold. If another has claimed that object before, it is a false positive,
    even where a second object would also reach the threshold.

    Source: Everingham et al., The PASCAL VOC Challenge, IJCV 2010, Sec. 4.2 (boxes; here masks).
    """
    hits = np.zeros((len(scores), len(thresholds)), bool)
    if not len(ious):
        return hits
    order = np.argsort(-scores, kind="stable")
    targets = np.argmax(ious, axis=0)[order]
    best = np.max(ious, axis=0)[order]
    for column, threshold in enumerate(thresholds):
        candidates = np.flatnonzero(best >= threshold)
        _, first = np.unique(targets[candidates], return_index=True)
        hits[order[candidates[first]], column] = True
    return hits


def average_precision(
    scores: Float[np.ndarray, " detections"], hits: Bool[np.ndarray, " detections"], truths: int
) -> float:
    """Area under the precision-recall curve, precision made monotone: VOC's measure since 2010.

    Args:
        scores: Of all detections of one class in the data set, in any order.
        hits: Which of them are true positives.
        truths: Number of ground-truth objects.

    Returns:
        A value in [0, 1]; nan without a ground-truth object.
    """
    if truths == 0:
        return float("nan")
    found = hits[np.argsort(-scores, kind="stable")]
    precision = np.cumsum(found) / np.arange(1, len(found) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    # recall rises by 1 / truths at each true positive
    return float(envelope[found].sum() / truths)


class VocMaskAP(Accumulator):
    """Mean over the classes of the average precision at each IoU threshold.

    Detections of equal score rank in the order in which they were added, as in the reference code: give the images in a
    fixed order where scores repeat.

    Args:
        categories: The classes, each with its id in the data set.
        thresholds: IoU that a match has to reach.

    Example:
        >>> metric = VocMaskAP([Category(3, "dog")])
        >>> metric.update(np.array([[1, 1, 2, 2]]), {1: 3, 2: 3}, np.array([[5, 5, 0, 0]]), {5: 3}, scores={5: 0.9})
        >>> metric.compute()["map50"]
        0.5
    """

    def __init__(self, categories: Sequence[Category], thresholds: Sequence[float] = IOU_THRESHOLDS) -> None:
        self.categories, self.thresholds = tuple(categories), tuple(thresholds)
        super().__init__(
            {"truths": np.zeros(len(self.categories), np.int64)},
            {
                "scores": np.zeros(0),
                "classes": np.zeros(0, np.int64),
                "hits": np.zeros((0, len(self.thresholds)), np.uint8),
            },
        )

    def update(
        self,
        truth: LabelMap,
        truth_categories: Mapping[int, int],
        prediction: LabelMap,
        prediction_categories: Mapping[int, int],
        scores: Mapping[int, float],
        valid: Mask | None = None,
    ) -> None:
        """Add one image whose objects are disjoint.

        Args:
            truth: (H, W) ids, 0 no object.
            truth_categories: Category id of each id in `truth`.
            prediction: (H, W) ids, 0 void.
            prediction_categories: Category id of each id in `prediction`.
            scores: Confidence of each id in `prediction`.
            valid: Pixels to look at (VOC's border and difficult regions are void); all of them where it is None.

        Raises:
            ValueError: If an id lacks its category or score.
        """
        ious, truth_ids, prediction_ids = label_map_ious(truth, prediction, valid)
        truth_classes = _values_of(truth_ids, truth_categories, "ground-truth categories")
        classes = _values_of(prediction_ids, prediction_categories, "predicted categories")
        ranks = _values_of(prediction_ids, scores, "scores")
        known = [category.id for category in self.categories]
        unknown = np.setdiff1d(np.concatenate([truth_classes, classes]), known).astype(np.int64)
        if len(unknown):
            raise ValueError(f"expected categories among the {len(known)} of this metric, got {unknown[:5].tolist()}")
        for index, category in enumerate(known):
            rows, columns = truth_classes == category, classes == category
            hits = match_detections(ious[np.ix_(rows, columns)], ranks[columns], self.thresholds)
            self.append(scores=ranks[columns], classes=np.full(len(hits), index), hits=hits.astype(np.uint8))
        self.add(truths=[int(np.sum(truth_classes == category)) for category in known])

    def per_class(self) -> dict[Category, dict[str, float]]:
        """`ap25` and so on: the average precision of each class with a ground-truth object."""
        scores, classes, hits = self.rows("scores"), self.rows("classes"), self.rows("hits").astype(bool)
        table = {}
        for index, (category, truths) in enumerate(zip(self.categories, self.sums["truths"].tolist(), strict=True)):
            members = classes == index
            if truths:
                precisions = [average_precision(scores[members], column, truths) for column in hits[members].T]
                table[category] = dict(zip(self._names(), precisions, strict=True))
        return table

    def compute(self) -> dict[str, float]:
        """`map25` and so on: the mean over the classes with a ground-truth object."""
        rows = self.per_class().values()
        return {f"m{n}": float(np.mean([row[n] for row in rows])) if rows else float("nan") for n in self._names()}

    def _names(self) -> list[str]:
        return [f"ap{round(100 * threshold)}" for threshold in self.thresholds]


def _values_of(
    ids: Int64[np.ndarray, " k"], table: Mapping[int, int] | Mapping[int, float], name: str
) -> Float64[np.ndarray, " k"]:
    """The value of each id."""
    missing = [i for i in ids.tolist() if i not in table]
    if missing:
        raise ValueError(f"every segment of the map needs its entry in the {name}, but ids {missing[:5]} have none")
    return np.array([table[i] for i in ids.tolist()], np.float64)
