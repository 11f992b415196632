from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings

from tests.metrics.strategies import blobs, pairs
from tests.reference import metrics as reference
from upseg.metrics.boundary_iou import boundary_width
from upseg.metrics.class_agnostic import ClassAgnostic, best_matches


def scores_of(truth: np.ndarray, prediction: np.ndarray) -> dict[str, float]:
    metric = ClassAgnostic()
    metric.update(truth, prediction)
    return dict(metric.compute())


def test_hand_computed() -> None:
    truth = np.array([[1, 1, 2, 2, 3, 3, 3, 3]])
    prediction = np.array([[1, 1, 1, 0, 4, 5, 5, 5]])
    scores = scores_of(truth, prediction)
    assert scores["recall"] == pytest.approx(2 / 3)  # 2/3, 1/4 and 3/4
    assert scores["mean_iou"] == pytest.approx((2 / 3 + 1 / 4 + 3 / 4) / 3)
    assert scores["boundary_iou"] == pytest.approx(scores["mean_iou"])  # one row is all rim


def test_half_is_not_recalled() -> None:
    assert scores_of(np.array([[1, 1]]), np.array([[1, 0]]))["recall"] == 0.0


@given(pairs)
@settings(max_examples=60, deadline=None)
def test_agrees_with_loop(maps: tuple[np.ndarray, np.ndarray]) -> None:
    truth, prediction = maps
    found, expected = best_matches(truth, prediction), reference.best_matches(truth, prediction)
    width = boundary_width(*truth.shape)
    np.testing.assert_allclose(found.ious, [iou for iou, _ in expected], rtol=1e-12)
    assert found.prediction_ids.tolist() == [partner for _, partner in expected]
    rims = [
        reference.boundary_iou(truth == i, prediction == j, width) if j else 0.0
        for i, (_, j) in zip(found.truth_ids, expected, strict=True)
    ]
    np.testing.assert_allclose(found.boundary_ious, rims, rtol=1e-12)


def test_the_same_map_is_perfect_and_numbering_does_not_matter() -> None:
    truth = blobs(3, 50, 60, 8)
    scores = scores_of(truth, (10 - truth) * (truth > 0))
    assert scores == {"recall": 1.0, "mean_iou": 1.0, "boundary_iou": 1.0}


def test_false_positives_cost_nothing_and_misses_do() -> None:
    truth = np.zeros((20, 20), int)
    truth[2:9, 2:9] = 1
    prediction = truth.copy()
    prediction[12:18, 12:18] = 2
    assert scores_of(truth, prediction)["mean_iou"] == 1.0
    assert scores_of(prediction, truth)["mean_iou"] == 0.5


def test_ignored_pixels_do_not_count() -> None:
    truth, prediction = blobs(1, 40, 40, 5), blobs(2, 40, 40, 5)
    valid = np.ones(truth.shape, bool)
    valid[:, :17] = False
    changed = prediction.copy()
    changed[:, :10] = 3
    found, again = best_matches(truth, prediction, valid), best_matches(truth, changed, valid)
    np.testing.assert_array_equal(found.ious, again.ious)


def test_degenerate() -> None:
    truth = blobs(0, 20, 30, 4)
    assert scores_of(truth, np.zeros_like(truth))["mean_iou"] == 0.0
    nothing = scores_of(np.zeros_like(truth), truth)
    assert math.isnan(nothing["recall"])
    assert scores_of(np.ones_like(truth), np.ones_like(truth))["boundary_iou"] == 1.0


def test_over_all_segments_of_all_images() -> None:
    images = [(blobs(s, 30, 40, 3 + s), blobs(s + 9, 30, 40, 4)) for s in range(4)]
    whole = ClassAgnostic()
    for image in images:
        whole.update(*image)
    ious = np.concatenate([best_matches(*image).ious for image in images])
    assert whole.compute()["mean_iou"] == pytest.approx(ious.mean())
    assert whole.compute()["recall"] == pytest.approx((ious > 0.5).mean())
