"""Unsupervised labels against classes: Hungarian assignment, mean IoU and pixel accuracy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float64, Int64, Integer

from upseg.functional.label_maps import LabelMap, Mask
from upseg.metrics.accumulator import Accumulator, ratio
from upseg.segmentation import Category


def confusion_matrix(
    truth: LabelMap, prediction: LabelMap, class_count: int, label_count: int, valid: Mask | None = None
) -> Int64[np.ndarray, "labels1 classes"]:
    """Count the pixels of each pair of label and class.

    Args:
        truth: (H, W) class indices 0..class_count - 1 at the valid pixels.
        prediction: (H, W) labels 1..label_count, 0 void.
        class_count: Number of classes C.
        label_count: Number of labels L.
        valid: Pixels to count (such as those that are labelled); all of them where it is None.

    Returns:
        (L + 1, C), row 0 void.

    Raises:
        ValueError: If the shapes differ, or a class or label is out of range.
    """
    if truth.shape != prediction.shape:
        raise ValueError(f"truth and prediction must have the same shape, got {truth.shape} and {prediction.shape}")
    if valid is not None:
        truth, prediction = truth[valid], prediction[valid]
    for name, values, highest in (("classes", truth, class_count - 1), ("labels", prediction, label_count)):
        if values.size and not 0 <= int(values.min()) <= int(values.max()) <= highest:
            raise ValueError(f"expected {name} in 0..{highest}, got {values.min()}..{values.max()}")
    fused = prediction.astype(np.int64).ravel() * class_count + truth.astype(np.int64).ravel()
    table = np.bincount(fused, minlength=(label_count + 1) * class_count)
    return table.reshape(label_count + 1, class_count)


def assign_labels(confusion: Integer[np.ndarray, "labels1 classes"]) -> Int64[np.ndarray, " labels1"]:
    """One class for each label and one label for each class, so that the most pixels are right (Hungarian method).

    Returns:
        (L + 1,) the class of each label, -1 for void, for labels beyond the number of classes, and for pairs that share
        no pixel.
    """
    from scipy.optimize import linear_sum_assignment

    labels, classes = linear_sum_assignment(confusion[1:], maximize=True)
    assignment = np.full(len(confusion), -1, np.int64)
    useful = confusion[1:][labels, classes] > 0
    assignment[labels[useful] + 1] = classes[useful]
    return assignment


def apply_assignment(
    confusion: Integer[np.ndarray, "labels1 classes"], assignment: Int64[np.ndarray, " labels1"]
) -> Int64[np.ndarray, "classes1 classes"]:
    """Sum rows by assigned class: (C + 1, C), row 0 for labels without one, row c + 1 for those of class c."""
    merged = np.zeros((confusion.shape[1] + 1, confusion.shape[1]), np.int64)
    np.add.at(merged, assignment + 1, confusion)
    return merged


def semantic_scores(
    confusion: Integer[np.ndarray, "classes1 classes"],
) -> tuple[Float64[np.ndarray, " classes"], float]:
    """How well a semantic map agrees with the classes.

    Args:
        confusion: (C + 1, C): row 0 pixels predicted as no class, row c + 1 those predicted as c.

    Returns:
        The IoU of each class, nan for one that is neither in the ground truth nor predicted; and the share of the
        pixels with the right class, nan without any. Each is in [0, 1].
    """
    right = np.diagonal(confusion[1:]).astype(np.float64)
    unions = confusion[1:].sum(axis=1) + confusion.sum(axis=0) - right
    ious = np.full(len(right), np.nan)
    np.divide(right, unions, out=ious, where=unions > 0)
    return ious, ratio(right.sum(), confusion.sum())


class HungarianScores(Accumulator):
    """Hungarian mean IoU and pixel accuracy over a data set.

    Labels mean the same in every image, and `compute` makes one assignment for all.

    Args:
        categories: The classes, in the order of their indices.
        label_count: Number of labels.

    Raises:
        ValueError: If there is no category.

    Example:
        >>> metric = HungarianScores([Category(0, "dog"), Category(1, "sky", is_thing=False)], label_count=2)
        >>> metric.update(np.array([[0, 0, 1, 1]]), np.array([[2, 2, 1, 2]]))
        >>> metric.compute()["pixel_accuracy"]
        0.75
    """

    def __init__(self, categories: Sequence[Category], label_count: int) -> None:
        if not categories:
            raise ValueError("expected at least one category")
        self.categories = tuple(categories)
        super().__init__({"confusion": np.zeros((label_count + 1, len(categories)), np.int64)})

    def update(self, truth: LabelMap, prediction: LabelMap, valid: Mask | None = None) -> None:
        """Add one image; arguments as for `confusion_matrix`."""
        labels = len(self.sums["confusion"]) - 1
        self.add(confusion=confusion_matrix(truth, prediction, len(self.categories), labels, valid))

    def per_class(self) -> dict[Category, dict[str, float]]:
        """`iou` of each class that has occurred."""
        ious = zip(self.categories, semantic_scores(self._assigned())[0].tolist(), strict=True)
        return {category: {"iou": iou} for category, iou in ious if not np.isnan(iou)}

    def compute(self) -> dict[str, float]:
        """The mean IoU over the classes that occur, and the pixel accuracy.

        Returns:
            `mean_iou`, `mean_iou_things`, `mean_iou_stuff`: over all classes, those of things, those of stuff; the IoUs
            are those of the one matrix of all classes. `pixel_accuracy`: of the same matrix. `mean_iou_things_only`,
            `mean_iou_stuff_only`: of the sub-matrix of things, and of stuff, in which pixels do not count that are of a
            class of the other kind, or were given one or none (DynaSeg's Things and Stuff).
        """
        confusion = self._assigned()
        ious, accuracy = semantic_scores(confusion)
        is_thing = np.array([category.is_thing for category in self.categories])
        groups = {"": ~np.isnan(ious), "_things": is_thing & ~np.isnan(ious), "_stuff": ~is_thing & ~np.isnan(ious)}
        means = {f"mean_iou{name}": ratio(ious[chosen].sum(), chosen.sum()) for name, chosen in groups.items()}
        alone = {"things": is_thing, "stuff": ~is_thing}
        means |= {f"mean_iou_{name}_only": _mean_iou_alone(confusion, chosen) for name, chosen in alone.items()}
        return means | {"pixel_accuracy": accuracy}

    def _assigned(self) -> Int64[np.ndarray, "classes1 classes"]:
        confusion: Int64[np.ndarray, "labels1 classes"] = self.sums["confusion"]
        return apply_assignment(confusion, assign_labels(confusion))


def _mean_iou_alone(confusion: Int64[np.ndarray, "classes1 classes"], chosen: Bool[np.ndarray, " classes"]) -> float:
    """The mean IoU within some classes: what was confused with others does not count."""
    inside = confusion[1:][np.ix_(chosen, chosen)]
    ious, _ = semantic_scores(np.pad(inside, ((1, 0), (0, 0))))
    occurring = ~np.isnan(ious)
    return ratio(ious[occurring].sum(), occurring.sum())
