"""Panoptic quality, by the rules of COCO's reference implementation."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

from upseg.functional.contingency import Overlaps, overlaps, sum_by
from upseg.functional.label_maps import LabelMap
from upseg.metrics.accumulator import Accumulator
from upseg.segmentation import Category

MATCH_THRESHOLD = 0.5


@dataclass(frozen=True, slots=True)
class PanopticCounts:
    """What one image, or all so far, add to the panoptic quality of each class.

    Attributes:
        true_positives: Matched pairs, by class.
        false_positives: Predicted segments without a partner.
        false_negatives: Ground-truth segments without a partner.
        iou_sums: Sum of the matched pairs' IoU.
    """

    true_positives: Int64[np.ndarray, " classes"]
    false_positives: Int64[np.ndarray, " classes"]
    false_negatives: Int64[np.ndarray, " classes"]
    iou_sums: Float64[np.ndarray, " classes"]


def panoptic_counts(
    truth: LabelMap,
    truth_classes: Mapping[int, int],
    prediction: LabelMap,
    prediction_classes: Mapping[int, int],
    class_count: int,
    crowd_ids: Collection[int] = (),
) -> PanopticCounts:
    """Match the segments of one image and count.

    A pair of one class whose IoU is more than 0.5 is a match; there can be only one for each segment. Ground-truth void
    (0) is taken out of the union, and crowd segments are neither matched nor missed. A predicted segment without a
    partner is no false positive where more than half of it lies on void or on crowd of its own class.

    Source: Kirillov et al., Panoptic Segmentation, CVPR 2019, Eq. 1, Sec. 4; crowd as in panopticapi's `evaluation.py`.

    Args:
        truth: (H, W) segment ids, 0 void. Any ids, such as COCO's from RGB.
        truth_classes: Class index in 0..class_count - 1 of each id in `truth`.
        prediction: (H, W) segment ids, 0 void.
        prediction_classes: Class index of each id in `prediction`.
        class_count: Number of classes C.
        crowd_ids: Ids in `truth` that are crowds.

    Raises:
        ValueError: If the shapes differ, an id of a map has no class or the reverse, or a class is out of range.

    Example:
        >>> counts = panoptic_counts(np.array([[1, 1, 2]]), {1: 0, 2: 1}, np.array([[5, 5, 5]]), {5: 0}, 2)
        >>> counts.true_positives.tolist(), counts.false_negatives.tolist()
        ([1, 0], [0, 1])
    """
    found = overlaps(truth, prediction)
    row_classes = _classes_of(found.row_ids, truth_classes, class_count, "ground truth")
    column_classes = _classes_of(found.column_ids, prediction_classes, class_count, "prediction")
    crowd = np.isin(found.row_ids, np.fromiter(crowd_ids, np.int64, len(crowd_ids)))
    on_void = _column_sums(found, found.rows == 0)
    matched, ious = _match(found, row_classes, column_classes, crowd, on_void)
    rows, columns = found.rows[matched], found.columns[matched]

    missed = ~crowd
    missed[0], missed[rows] = False, False
    on_own_crowd = _column_sums(found, crowd[found.rows] & (row_classes[found.rows] == column_classes[found.columns]))
    # as the reference does: a float quotient, and strictly more than half
    excused = (on_void + on_own_crowd) / np.maximum(found.column_areas, 1) > MATCH_THRESHOLD
    wrong = ~excused
    wrong[0], wrong[columns] = False, False
    # without any pair NumPy forgets that weights make floats
    iou_sums = np.bincount(row_classes[rows], weights=ious, minlength=class_count).astype(np.float64)
    return PanopticCounts(
        true_positives=np.bincount(row_classes[rows], minlength=class_count),
        false_positives=np.bincount(column_classes[wrong], minlength=class_count),
        false_negatives=np.bincount(row_classes[missed], minlength=class_count),
        iou_sums=iou_sums,
    )


class PanopticQuality(Accumulator):
    """Panoptic quality over a data set: over all, over things, over stuff, and class by class.

    Args:
        categories: The classes, each with its id in the data set.

    Raises:
        ValueError: If there is no category, or two have the same id.

    Example:
        >>> metric = PanopticQuality([Category(3, "dog"), Category(9, "sky", is_thing=False)])
        >>> metric.update(np.array([[1, 1, 2, 2]]), {1: 3, 2: 9}, np.array([[5, 5, 5, 5]]), {5: 9})
        >>> metric.compute()["pq_things"]
        0.0
    """

    def __init__(self, categories: Sequence[Category]) -> None:
        self.categories = tuple(categories)
        self._index = {category.id: index for index, category in enumerate(self.categories)}
        if not self.categories or len(self._index) != len(self.categories):
            raise ValueError(
                f"expected categories with distinct ids, got {len(self.categories)} of {len(self._index)} ids"
            )
        counts = np.zeros(len(self.categories), np.int64)
        super().__init__({"tp": counts, "fp": counts, "fn": counts, "iou": counts.astype(np.float64)})

    def update(
        self,
        truth: LabelMap,
        truth_categories: Mapping[int, int],
        prediction: LabelMap,
        prediction_categories: Mapping[int, int],
        crowd_ids: Collection[int] = (),
    ) -> None:
        """Add one image.

        Args:
            truth: (H, W) segment ids, 0 void.
            truth_categories: Category id of each id in `truth`.
            prediction: (H, W) segment ids, 0 void.
            prediction_categories: Category id of each id in `prediction`.
            crowd_ids: Ids in `truth` that are crowds.

        Raises:
            ValueError: As `panoptic_counts`, or if a category id is none of the metric's.
        """
        truth_classes, prediction_classes = self._indices(truth_categories), self._indices(prediction_categories)
        counts = panoptic_counts(truth, truth_classes, prediction, prediction_classes, len(self.categories), crowd_ids)
        self.add(tp=counts.true_positives, fp=counts.false_positives, fn=counts.false_negatives, iou=counts.iou_sums)

    def per_class(self) -> dict[Category, dict[str, float]]:
        """`pq`, `sq` and `rq` of each class that has occurred, in the categories' order."""
        scores = ((category, self._means(np.array([i]))) for i, category in enumerate(self.categories))
        return {category: values for category, values in scores if not np.isnan(values["pq"])}

    def compute(self) -> dict[str, float]:
        """`pq`, `sq`, `rq`, and the three of `_things` and of `_stuff`: means over the classes that have occurred."""
        is_thing = np.array([category.is_thing for category in self.categories])
        groups = {"": np.ones_like(is_thing), "_things": is_thing, "_stuff": ~is_thing}
        return {
            f"{name}{group}": value
            for group, chosen in groups.items()
            for name, value in self._means(np.flatnonzero(chosen)).items()
        }

    def _indices(self, categories: Mapping[int, int]) -> dict[int, int]:
        """Class indices of category ids."""
        unknown = {category for category in categories.values() if category not in self._index}
        if unknown:
            raise ValueError(
                f"expected categories among the {len(self._index)} of this metric, got {sorted(unknown)[:5]}; "
                "is this prediction of another data set?"
            )
        return {segment: self._index[category] for segment, category in categories.items()}

    def _means(self, classes: Int64[np.ndarray, " n"]) -> dict[str, float]:
        """Means over those of the classes that have occurred; nan without any.

        PQ is the panoptic quality, SQ the mean IoU of the matched pairs (0 without any), RQ the F1 score of the
        matching. Class by class PQ = SQ x RQ; the means of the three do not keep that.
        """
        tp, fp, fn, iou = (self.sums[name][classes] for name in ("tp", "fp", "fn", "iou"))
        occurs = tp + fp + fn > 0
        if not occurs.any():
            return dict.fromkeys(("pq", "sq", "rq"), float("nan"))
        tp, fp, fn, iou = tp[occurs], fp[occurs], fn[occurs], iou[occurs]
        weight = tp + 0.5 * fp + 0.5 * fn
        values = {"pq": iou / weight, "sq": iou / np.maximum(tp, 1), "rq": tp / weight}
        return {name: float(np.mean(value)) for name, value in values.items()}


def _match(
    found: Overlaps,
    row_classes: Int64[np.ndarray, " rows"],
    column_classes: Int64[np.ndarray, " columns"],
    crowd: np.ndarray,
    on_void: Int64[np.ndarray, " columns"],
) -> tuple[Int64[np.ndarray, " n"], Float64[np.ndarray, " n"]]:
    """The matching cells and their IoU, ground-truth void left out of the union."""
    same = found.between_segments() & (row_classes[found.rows] == column_classes[found.columns]) & ~crowd[found.rows]
    cells = np.flatnonzero(same)
    rows, columns, shared = found.rows[cells], found.columns[cells], found.counts[cells]
    unions = found.row_areas[rows] + found.column_areas[columns] - shared - on_void[columns]
    ious = shared / unions
    return cells[ious > MATCH_THRESHOLD], ious[ious > MATCH_THRESHOLD]


def _column_sums(found: Overlaps, chosen: np.ndarray) -> Int64[np.ndarray, " columns"]:
    """Pixels of each column in the chosen cells."""
    return sum_by(found.columns[chosen], found.counts[chosen], len(found.column_ids))


def _classes_of(
    ids: Int64[np.ndarray, " k1"], classes: Mapping[int, int], class_count: int, name: str
) -> Int64[np.ndarray, " k1"]:
    """The class index of each id of a map, -1 for void."""
    expected = set(ids[1:].tolist())
    if expected != classes.keys():
        nameless, absent = sorted(expected - classes.keys())[:5], sorted(classes.keys() - expected)[:5]
        raise ValueError(
            f"the {name}'s map and its table must list the same segments, but ids {nameless} of the map have no class "
            f"and ids {absent} of the table have no pixel"
        )
    outside = {c for c in classes.values() if not 0 <= c < class_count}
    if outside:
        raise ValueError(f"classes of the {name} must be in 0..{class_count - 1}, got {sorted(outside)[:5]}")
    return np.array([-1, *(classes[i] for i in ids[1:].tolist())], np.int64)
