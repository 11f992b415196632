from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from skimage.metrics import variation_of_information as skimage_information
from sklearn.metrics import rand_score

from tests.metrics.strategies import blobs, pairs
from tests.reference import metrics as reference
from upseg.metrics.covering import covering
from upseg.metrics.rand_index import probabilistic_rand_index, rand_index
from upseg.metrics.region_sweep import RegionSweep
from upseg.metrics.variation_of_information import variation_of_information

HALVES = np.array([[1, 1, 2, 2]])
WHOLE = np.array([[1, 1, 1, 1]])


def test_hand_computed() -> None:
    assert covering(HALVES, WHOLE) == pytest.approx(1 / 2)
    assert covering(np.array([[1, 1, 1, 2]]), HALVES) == pytest.approx((3 * 2 / 3 + 1 * 1 / 2) / 4)
    assert rand_index(HALVES, WHOLE) == pytest.approx(2 / 6)
    assert variation_of_information(HALVES, WHOLE) == pytest.approx(1.0)  # one bit


@given(pairs)
@settings(max_examples=60, deadline=None)
def test_agree_with_scikits_where_all_is_labelled(maps: tuple[np.ndarray, np.ndarray]) -> None:
    truth, prediction = maps[0] + 1, maps[1]
    if truth.size > 1:
        assert rand_index(truth, prediction) == pytest.approx(rand_score(truth.ravel(), prediction.ravel()))
    expected = sum(skimage_information(truth, prediction))  # in bits
    assert variation_of_information(truth, prediction) == pytest.approx(expected, abs=1e-9)
    best = [iou for iou, _ in reference.best_matches(truth, prediction)]
    areas = [(truth == i).sum() for i in reference.ids_of(truth)]
    assert covering(truth, prediction) == pytest.approx(np.dot(areas, best) / truth.size)


@given(pairs)
@settings(max_examples=20, deadline=None)
def test_unlabelled_pixels_are_left_out(maps: tuple[np.ndarray, np.ndarray]) -> None:
    truth, prediction = maps
    inside = truth > 0
    if inside.sum() < 2:
        assert math.isnan(rand_index(truth, prediction))
    else:
        assert rand_index(truth, prediction) == pytest.approx(reference.rand_index(truth[inside], prediction[inside]))


def test_the_same_partition_is_perfect() -> None:
    truth = blobs(0, 30, 40, 6) + 1
    assert covering(truth, truth * 7) == 1.0
    assert rand_index(truth, truth * 7) == 1.0
    assert variation_of_information(truth, truth * 7) == pytest.approx(0.0, abs=1e-12)


def test_nothing_labelled_is_nan() -> None:
    nothing = np.zeros_like(WHOLE)
    assert all(math.isnan(f(nothing, WHOLE)) for f in (covering, rand_index, variation_of_information))
    assert covering(WHOLE, nothing) == 0.0
    with pytest.raises(ValueError, match="annotator"):
        probabilistic_rand_index([], WHOLE)


def test_ods_takes_one_setting_and_ois_the_best_of_each_image() -> None:
    metric = RegionSweep(2)
    metric.update([HALVES], [HALVES, WHOLE])
    metric.update([WHOLE], [HALVES, WHOLE])
    metric.update([HALVES, WHOLE], [WHOLE, WHOLE])
    scores = metric.compute()
    # covering by setting: (4, 2), (2, 4) and (2 + 4, 2 + 4) of 16 pixels
    assert (scores["covering_ods"], scores["covering_ois"]) == pytest.approx((12 / 16, 14 / 16))
    assert scores["covering_best"] == pytest.approx(14 / 16)
    # Rand index by setting: (1, 1/3), (1/3, 1) and (2/3, 2/3)
    assert scores["probabilistic_rand_index_ods"] == pytest.approx((1 + 1 / 3 + 2 / 3) / 3)
    assert scores["probabilistic_rand_index_ois"] == pytest.approx((1 + 1 + 2 / 3) / 3)
    assert scores["variation_of_information_ods"] == pytest.approx((0 + 1 + 1 / 2) / 3)
    assert scores["variation_of_information_ois"] == pytest.approx((0 + 0 + 1 / 2) / 3)


def test_ods_finds_the_better_setting() -> None:
    metric = RegionSweep(3)
    for seed in range(3):
        truth = blobs(seed, 24, 32, 5) + 1
        metric.update([truth], [blobs(seed + 50, 24, 32, 5), truth, blobs(seed + 90, 24, 32, 3)])
    scores = metric.compute()
    assert scores["covering_ods"] == scores["covering_ois"] == scores["probabilistic_rand_index_ods"] == 1.0
    assert scores["variation_of_information_ods"] == pytest.approx(0.0, abs=1e-12)


def test_one_setting_has_ods_equal_to_ois() -> None:
    metric = RegionSweep()
    metric.update([blobs(0, 20, 20, 4), blobs(1, 20, 20, 5)], [blobs(2, 20, 20, 4)])
    scores = metric.compute()
    assert all(scores[f"{name}_ods"] == scores[f"{name}_ois"] for name in ("covering", "probabilistic_rand_index"))
    assert scores["variation_of_information_ods"] == scores["variation_of_information_ois"] > 0


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="at least one setting"):
        RegionSweep(0)
    with pytest.raises(ValueError, match="each of the 2 settings"):
        RegionSweep(2).update([WHOLE], [WHOLE])
    with pytest.raises(ValueError, match="labelled pixels"):
        RegionSweep(1).update([np.zeros_like(WHOLE)], [WHOLE])
