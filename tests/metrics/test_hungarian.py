from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import accuracy_score, jaccard_score
from sklearn.metrics import confusion_matrix as sklearn_confusion_matrix

from tests.metrics.strategies import blobs
from tests.reference import metrics as reference
from upseg.metrics.hungarian import (
    HungarianScores,
    apply_assignment,
    assign_labels,
    confusion_matrix,
    semantic_scores,
)
from upseg.segmentation import Category

CLASSES = (Category(0, "cat"), Category(1, "sky", is_thing=False), Category(2, "road", is_thing=False))
tables = st.tuples(st.integers(1, 5), st.integers(1, 4)).flatmap(
    lambda shape: hnp.arrays(np.int64, shape, elements=st.integers(0, 9))
)


def test_hand_computed() -> None:
    truth = np.array([[0, 0, 1, 1, 2, 2]])
    prediction = np.array([[3, 3, 1, 3, 2, 0]])
    metric = HungarianScores(CLASSES, label_count=3)
    metric.update(truth, prediction)
    scores = metric.compute()
    assert scores["pixel_accuracy"] == pytest.approx(4 / 6)
    assert scores["mean_iou_things"] == pytest.approx(2 / 3)
    assert scores["mean_iou_stuff"] == pytest.approx((1 / 2 + 1 / 2) / 2)
    assert scores["mean_iou"] == pytest.approx((2 / 3 + 1 / 2 + 1 / 2) / 3)


def test_things_alone_and_stuff_alone_by_hand() -> None:
    """The paper's sub-matrices: a stuff pixel called a thing counts against stuff in the whole matrix only."""
    truth = np.array([[0, 0, 1, 1, 1, 2, 2]])
    prediction = np.array([[1, 1, 2, 2, 1, 3, 2]])
    metric = HungarianScores(CLASSES, label_count=3)
    metric.update(truth, prediction)
    scores = metric.compute()
    assert scores["mean_iou_things"] == pytest.approx(2 / 3)
    assert scores["mean_iou_things_only"] == 1
    assert scores["mean_iou_stuff"] == pytest.approx((2 / 4 + 1 / 2) / 2)
    assert scores["mean_iou_stuff_only"] == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert np.isnan(HungarianScores(CLASSES[1:], label_count=2).compute()["mean_iou_things_only"])


@given(tables)
@settings(max_examples=60, deadline=None)
def test_assignment_is_the_best_of_all(table: np.ndarray) -> None:
    confusion = np.concatenate([np.zeros((1, table.shape[1]), np.int64), table])
    assignment = assign_labels(confusion)
    assert assignment[0] == -1
    used = assignment[assignment >= 0]
    assert len(set(used.tolist())) == len(used)
    right = sum(int(confusion[label, c]) for label, c in enumerate(assignment) if c >= 0)
    assert right == reference.best_assignment(table)


@given(st.integers(0, 50))
@settings(max_examples=20, deadline=None)
def test_agrees_with_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth, prediction = rng.integers(0, 3, (2, 6, 7))
    table = confusion_matrix(truth, prediction + 1, 3, 3)
    np.testing.assert_array_equal(
        table[1:], sklearn_confusion_matrix(prediction.ravel(), truth.ravel(), labels=[0, 1, 2])
    )
    ious, accuracy = semantic_scores(table)
    expected = jaccard_score(truth.ravel(), prediction.ravel(), average=None, labels=[0, 1, 2])
    np.testing.assert_allclose(ious, expected)
    assert accuracy == pytest.approx(accuracy_score(truth.ravel(), prediction.ravel()))


def test_more_labels_than_classes_leave_some_without_a_class() -> None:
    confusion = np.array([[0, 0], [5, 0], [0, 4], [3, 3]])
    assert assign_labels(confusion).tolist() == [-1, 0, 1, -1]
    np.testing.assert_array_equal(apply_assignment(confusion, assign_labels(confusion)), [[3, 3], [5, 0], [0, 4]])


def test_labels_that_share_no_pixel_are_not_assigned() -> None:
    assert assign_labels(np.array([[0, 0], [7, 0], [2, 0]])).tolist() == [-1, 0, -1]


def test_labels_mean_the_same_in_all_images() -> None:
    truth = blobs(0, 20, 30, 3) % 3
    swapped = (truth + 1) % 3
    metric = HungarianScores(CLASSES, label_count=3)
    for prediction in (truth + 1, swapped + 1):
        metric.update(truth, prediction)
    assert metric.compute()["pixel_accuracy"] == pytest.approx(0.5)


def test_unlabelled_pixels_and_empty_predictions() -> None:
    truth = np.array([[0, 1, 255, 255]])
    metric = HungarianScores(CLASSES, label_count=2)
    metric.update(truth, np.zeros((1, 4), int), truth != 255)
    assert (metric.compute()["mean_iou"], metric.compute()["pixel_accuracy"]) == (0.0, 0.0)
    metric.update(truth, np.array([[1, 2, 1, 1]]), truth != 255)
    assert metric.compute()["pixel_accuracy"] == pytest.approx(0.5)
    assert list(metric.per_class()) == list(CLASSES[:2])  # the third has not occurred


def test_bad_input() -> None:
    truth = np.array([[0, 3]])
    with pytest.raises(ValueError, match=r"classes in 0\.\.2, got 0\.\.3"):
        confusion_matrix(truth, truth, 3, 3)
    with pytest.raises(ValueError, match=r"labels in 0\.\.2"):
        confusion_matrix(truth, truth, 4, 2)
    with pytest.raises(ValueError, match="at least one category"):
        HungarianScores([], 3)
