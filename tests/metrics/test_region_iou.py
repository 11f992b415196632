from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings

from tests.metrics.strategies import blobs, pairs
from tests.reference import metrics as reference
from upseg.metrics.region_iou import RegionIoU, best_region_ious

COARSE = np.array([[1, 1, 1, 1]])
FINE = np.array([[1, 2, 3, 3]])
PREDICTION = np.array([[1, 1, 2, 2]])


def region_iou(truths: list[np.ndarray], prediction: np.ndarray) -> dict[str, float]:
    metric = RegionIoU()
    metric.update(truths, prediction)
    return metric.compute()


def test_hand_computed() -> None:
    scores = region_iou([COARSE, FINE], PREDICTION)
    assert scores["coarse"] == pytest.approx(1 / 2)
    assert scores["fine"] == pytest.approx((1 / 2 + 1 / 2 + 1) / 3)
    assert scores["all"] == pytest.approx((1 / 2 + 1 / 2 + 1 / 2 + 1) / 4)
    assert scores["mean"] == pytest.approx((scores["all"] + scores["fine"] + scores["coarse"]) / 3)


def test_averages_over_regions_not_images() -> None:
    metric = RegionIoU()
    metric.update([FINE], FINE)
    metric.update([COARSE], PREDICTION)
    assert metric.compute()["all"] == pytest.approx((3 * 1 + 1 / 2) / 4)


@given(pairs)
@settings(max_examples=60, deadline=None)
def test_agrees_with_loop(maps: tuple[np.ndarray, np.ndarray]) -> None:
    expected = [iou for iou, _ in reference.best_matches(*maps)]
    np.testing.assert_allclose(best_region_ious(*maps), expected, rtol=1e-12)


def test_the_numbers_of_the_labels_do_not_matter() -> None:
    truths, prediction = [blobs(seed, 30, 40, 4 + seed) for seed in range(3)], blobs(9, 30, 40, 6)
    assert region_iou(truths, prediction) == region_iou([t * 1000 for t in truths], prediction * 12345)


def test_one_annotator_has_one_score() -> None:
    scores = region_iou([blobs(0, 30, 40, 5)], blobs(1, 30, 40, 5))
    assert scores["all"] == scores["fine"] == scores["coarse"]
    assert scores["mean"] == pytest.approx(scores["all"])


def test_empty_prediction_scores_zero_and_no_region_nan() -> None:
    assert region_iou([FINE], np.zeros_like(FINE))["all"] == 0.0
    assert math.isnan(region_iou([np.zeros_like(FINE)], FINE)["all"])


def test_no_annotator() -> None:
    with pytest.raises(ValueError, match="at least one annotator"):
        region_iou([], FINE)
