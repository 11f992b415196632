from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.metrics.strategies import blobs, pairs
from tests.reference import metrics as reference
from upseg.metrics.mask_iou import label_map_ious
from upseg.metrics.voc_mask_ap import VocMaskAP, average_precision, match_detections
from upseg.segmentation import Category

CLASSES = (Category(7, "dog"), Category(8, "cat"))


@given(pairs)
@settings(max_examples=40, deadline=None)
def test_ious_agree_with_loop(maps: tuple[np.ndarray, np.ndarray]) -> None:
    truth, prediction = maps
    ious, rows, columns = label_map_ious(truth, prediction)
    assert (rows.tolist(), columns.tolist()) == (reference.ids_of(truth), reference.ids_of(prediction))
    expected = [[reference.mask_iou(truth == i, prediction == j) for j in columns] for i in rows]
    np.testing.assert_allclose(ious, np.reshape(expected, ious.shape), rtol=1e-12)


def test_hand_matched() -> None:
    # both detections want the first object; the second could reach the other one, but that is not VOC's rule
    ious = np.array([[0.9, 0.8], [0.0, 0.6]])
    hits = match_detections(ious, np.array([0.3, 0.7]), (0.5, 0.85))
    assert hits.tolist() == [[False, True], [True, False]]


def test_hand_computed_curve() -> None:
    scores, hits = np.array([0.9, 0.8, 0.7, 0.6]), np.array([True, False, True, False])
    assert average_precision(scores, hits, 4) == pytest.approx((1 + 2 / 3) / 4)
    # a later, higher precision lifts the earlier points
    assert average_precision(scores, np.array([False, True, True, True]), 3) == pytest.approx(3 / 4)


detections = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 4), st.integers(0, 2**32 - 1)), min_size=1, max_size=4
)


@given(detections, st.sampled_from([0.25, 0.5, 0.75]))
@settings(max_examples=80, deadline=None)
def test_agrees_with_loop(images: list[tuple[int, int, int]], threshold: float) -> None:
    drawn, hits = [], []
    for truths, found, seed in images:
        rng = np.random.default_rng(seed)
        ious, scores = rng.integers(0, 9, (truths, found)) / 8, rng.random(found)
        hits.append(match_detections(ious, scores, (threshold,))[:, 0])
        drawn.append((scores, ious))
    objects = sum(truths for truths, _, _ in images)
    found = average_precision(np.concatenate([scores for scores, _ in drawn]), np.concatenate(hits), objects)
    if objects == 0:
        assert math.isnan(found)
    else:
        assert found == pytest.approx(reference.voc_average_precision(drawn, threshold), abs=1e-12)


def test_from_label_maps_class_by_class() -> None:
    truth = np.array([[1, 1, 2, 2, 3, 3]])
    prediction = np.array([[5, 5, 6, 6, 0, 0]])
    metric = VocMaskAP(CLASSES)
    metric.update(truth, {1: 7, 2: 8, 3: 8}, prediction, {5: 7, 6: 7}, {5: 0.5, 6: 0.9})
    # dog: its only object behind a false positive; cat: nothing found
    names = ("ap25", "ap50", "ap70", "ap75")
    dog, cat = (dict.fromkeys(names, value) for value in (0.5, 0.0))
    assert metric.per_class() == {CLASSES[0]: dog, CLASSES[1]: cat}
    assert metric.compute() == pytest.approx({"map25": 0.25, "map50": 0.25, "map70": 0.25, "map75": 0.25})


def test_perfect_and_without_objects() -> None:
    metric = VocMaskAP(CLASSES)
    for seed in (0, 1):
        labels = blobs(seed, 30, 30, 5)
        table = {i: 7 + i % 2 for i in reference.ids_of(labels)}
        metric.update(labels, table, labels, table, dict.fromkeys(table, 0.5))
    assert metric.compute() == pytest.approx({"map25": 1.0, "map50": 1.0, "map70": 1.0, "map75": 1.0})
    nothing = np.zeros((4, 4), int)
    metric.update(blobs(0, 30, 30, 5), dict.fromkeys(range(1, 6), 7), np.zeros((30, 30), int), {}, {})
    metric.update(nothing, {}, nothing, {}, {})
    assert metric.compute()["map50"] < 1.0


def test_bad_input() -> None:
    labels = np.array([[1, 2]])
    both = {1: 7, 2: 8}
    with pytest.raises(ValueError, match=r"ids \[2\] have none"):
        VocMaskAP(CLASSES).update(labels, both, labels, both, {1: 0.5})
    with pytest.raises(ValueError, match=r"got \[9\]"):
        VocMaskAP(CLASSES).update(labels, {1: 7, 2: 9}, labels, both, {1: 0.5, 2: 0.5})
