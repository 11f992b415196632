from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra import numpy as hnp
from sklearn.metrics import mean_absolute_percentage_error, root_mean_squared_error

from upseg.metrics.depth_errors import Depth, depth_errors

depths = hnp.arrays(np.float64, (5, 6), elements={"min_value": 0.01, "max_value": 9.9})


def test_hand_computed() -> None:
    truth, prediction = np.array([[2.0, 4.0], [1.0, 0.0]]), np.array([[2.0, 5.5], [2.0, 7.0]])
    found = depth_errors(truth, prediction)
    assert found["rmse"] == pytest.approx(math.sqrt((0 + 1.5**2 + 1) / 3))
    assert found["abs_rel"] == pytest.approx((0 + 1.5 / 4 + 1) / 3)
    assert (found["delta1"], found["delta2"], found["delta3"]) == pytest.approx((1 / 3, 2 / 3, 2 / 3))  # 1, 1.375, 2


@given(depths, depths)
@settings(max_examples=40, deadline=None)
def test_agrees_with_scikit_learn(truth: np.ndarray, prediction: np.ndarray) -> None:
    found = depth_errors(truth, prediction)
    assert found["rmse"] == pytest.approx(root_mean_squared_error(truth.ravel(), prediction.ravel()))
    assert found["abs_rel"] == pytest.approx(mean_absolute_percentage_error(truth.ravel(), prediction.ravel()))
    assert found["delta1"] <= found["delta2"] <= found["delta3"]


def test_unknown_depth_and_masked_pixels_are_left_out() -> None:
    truth = np.array([[2.0, 0.0, np.nan, 80.0, 3.0]])
    prediction = np.array([[2.0, np.nan, 5.0, 5.0, 9.0]])
    valid = np.array([[True, True, True, True, False]])
    assert depth_errors(truth, prediction, valid)["rmse"] == 0.0
    assert depth_errors(truth, truth, maximum=100.0)["abs_rel"] == 0.0


def test_predictions_are_clipped_to_the_range() -> None:
    truth = np.array([[10.0, 1.0]])
    assert depth_errors(truth, np.array([[250.0, 1.0]]))["rmse"] == 0.0
    assert depth_errors(truth, np.array([[10.0, -3.0]]))["abs_rel"] == pytest.approx((1 - 1e-3) / 2)


def test_mean_over_images_without_those_that_have_no_depth() -> None:
    metric = Depth()
    metric.update(np.full((1, 1), 2.0), np.full((1, 1), 3.0))
    metric.update(np.full((4, 4), 4.0), np.full((4, 4), 4.0))
    metric.update(np.zeros((2, 2)), np.ones((2, 2)))
    metric.update(np.full((1, 1), 1.0), np.full((1, 1), 3.0))
    scores = metric.compute()
    assert (scores["rmse"], scores["abs_rel"]) == pytest.approx(((1 + 0 + 2) / 3, (0.5 + 0 + 2) / 3))
    assert scores["delta1"] == pytest.approx(1 / 3)


@pytest.mark.usefixtures("unchecked_shapes")
def test_bad_input() -> None:
    ones = np.ones((2, 2))
    with pytest.raises(ValueError, match="same shape"):
        depth_errors(ones, np.ones((2, 3)))
    with pytest.raises(ValueError, match="1 of 4 predicted depths"):
        depth_errors(ones, np.array([[1, 1], [1, np.nan]]))
    with pytest.raises(ValueError, match="range of depth"):
        depth_errors(ones, ones, minimum=0.0)
