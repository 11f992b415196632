from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.metrics.strategies import blobs, pairs
from tests.reference import metrics as reference
from upseg.metrics.cell_matching import IOU_THRESHOLDS, CellMatching, MatchCounts, match_cells


def test_hand_counted() -> None:
    truth = np.array([[1, 1, 1, 1, 2, 2, 2, 0, 3]])
    prediction = np.array([[4, 4, 4, 0, 5, 5, 5, 5, 0]])
    at = dict(zip((0.5, 0.75, 0.8), match_cells(truth, prediction, (0.5, 0.75, 0.8)), strict=True))
    assert at[0.5] == at[0.75] == MatchCounts(2, 0, 1)  # both have IoU 3/4
    assert at[0.8] == MatchCounts(0, 2, 3)
    assert (at[0.5].f1, at[0.5].average_precision) == pytest.approx((4 / 5, 2 / 3))


@given(pairs, st.sampled_from([0.1, 0.25, 0.5, 0.55, 0.9]))
@settings(max_examples=100, deadline=None)
def test_agrees_with_trying_every_matching(maps: tuple[np.ndarray, np.ndarray], threshold: float) -> None:
    truth, prediction = maps
    rows, columns = reference.ids_of(truth), reference.ids_of(prediction)
    ious = [[reference.mask_iou(truth == i, prediction == j) for j in columns] for i in rows]
    matched = reference.largest_matching(np.reshape(ious, (len(rows), len(columns))) >= threshold)
    (found,) = match_cells(truth, prediction, (threshold,))
    assert found == MatchCounts(matched, len(columns) - matched, len(rows) - matched)


def test_two_cells_of_just_half_make_one_match() -> None:
    halves, whole = np.array([[1, 1, 2, 2]]), np.array([[1, 1, 1, 1]])
    assert match_cells(halves, whole)[0] == MatchCounts(1, 0, 1)
    assert match_cells(whole, halves)[0] == MatchCounts(1, 1, 0)


def test_pooled_and_mean_over_images() -> None:
    metric = CellMatching()
    metric.update(np.array([[1, 2, 3, 4]]), np.array([[1, 2, 3, 0]]))
    metric.update(np.array([[1, 0, 0, 0]]), np.array([[0, 0, 1, 0]]))
    metric.update(np.zeros((1, 4), int), np.zeros((1, 4), int))
    scores = metric.compute()
    assert (scores["ap50"], scores["ap"], scores["ap95"]) == pytest.approx((3 / 6,) * 3)
    assert scores["f1_50"] == pytest.approx(6 / 9)
    assert (scores["image_ap"], scores["image_f1_75"]) == pytest.approx(((3 / 4 + 0) / 2, (6 / 7 + 0) / 2))
    assert metric.counts()[0.5] == MatchCounts(3, 1, 2)


def test_perfect_and_empty() -> None:
    metric = CellMatching()
    metric.update(blobs(0, 30, 30, 6), blobs(0, 30, 30, 6))
    assert set(metric.compute().values()) == {1.0}
    found = metric.counts()[0.5].true_positives
    metric.update(blobs(1, 30, 30, 6), np.zeros((30, 30), np.int32))
    assert metric.counts()[0.95] == MatchCounts(found, 0, len(np.unique(blobs(1, 30, 30, 6))) - 1)
    assert metric.compute()["image_ap"] == pytest.approx(0.5)


def test_stricter_thresholds_never_match_more() -> None:
    truth = blobs(3, 40, 40, 8)
    counts = [c.true_positives for c in match_cells(truth, np.roll(truth, 1, axis=1))]
    assert len(counts) == len(IOU_THRESHOLDS)
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > counts[-1]


def test_bad_threshold() -> None:
    with pytest.raises(ValueError, match="thresholds"):
        match_cells(np.ones((2, 2), int), np.ones((2, 2), int), (0.0,))
