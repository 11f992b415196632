"""What is a depth map, how disparities become one, and what is near in it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from upseg.predicted_depth import LEAST_DISPARITY, PredictedDepth

disparities = arrays(
    np.float32, array_shapes(min_dims=2, max_dims=2, max_side=6), elements=st.floats(-100, 100, width=32)
)


def test_disparities_become_shares_of_their_range() -> None:
    depth = PredictedDepth.relative(np.array([[-3.0, 1.0], [5.0, 3.0]], np.float32))
    assert not depth.is_metric
    assert depth.shape == (2, 2)
    np.testing.assert_allclose(depth.values, [[LEAST_DISPARITY, 0.5], [1, 0.75]], atol=1e-4)
    assert depth.values.max() == 1
    assert depth.values.min() > 0


@given(disparities)
def test_all_of_them_are_known_and_in_order(disparity: np.ndarray) -> None:
    values = PredictedDepth.relative(disparity).values
    assert values.dtype == np.float32
    assert values.min() > 0
    assert values.max() == 1
    order = np.argsort(disparity, axis=None, kind="stable")
    assert (np.diff(values.ravel()[order]) >= 0).all()


def test_a_map_without_relief_is_all_near() -> None:
    np.testing.assert_array_equal(PredictedDepth.relative(np.full((2, 3), 7.0, np.float32)).values, 1)
    assert PredictedDepth.relative(np.zeros((0, 3), np.float32)).shape == (0, 3)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf, -0.5])
@pytest.mark.parametrize("is_metric", [True, False])
def test_what_is_no_depth_is_refused(wrong: float, is_metric: bool) -> None:
    with pytest.raises(ValueError, match="depth must be finite and at least 0"):
        PredictedDepth(np.array([[1, wrong]], np.float32), is_metric)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("other", [0.0, "same"])
def test_disparities_that_are_not_finite_are_refused(wrong: float, other: object) -> None:
    disparity = np.array([[wrong, wrong if other == "same" else other]], np.float32)
    with np.errstate(invalid="ignore"), pytest.raises(ValueError, match="depth must be finite"):
        PredictedDepth.relative(disparity)


def test_disparities_above_1_are_refused_and_metres_are_not() -> None:
    with pytest.raises(ValueError, match=r"at most 1, got 1\.5; PredictedDepth\.relative scales it"):
        PredictedDepth(np.array([[1.5]], np.float32), is_metric=False)
    assert PredictedDepth(np.array([[1.5]], np.float32), is_metric=True).shape == (1, 1)


def test_values_cannot_be_changed() -> None:
    depth = PredictedDepth(np.ones((2, 2), np.float32), is_metric=True)
    with pytest.raises(ValueError, match="read-only"):
        depth.values[0, 0] = 3


def test_nearness_is_a_logarithm_of_metres_and_disparity_itself() -> None:
    metres = PredictedDepth(np.array([[1, 2, 4, 0]], np.float32), is_metric=True)
    np.testing.assert_allclose(metres.nearness, [[1, 0.5, 0, np.nan]], atol=1e-6)
    relative = PredictedDepth(np.array([[0.2, 0.4, 0.6, 0]], np.float32), is_metric=False)
    np.testing.assert_allclose(relative.nearness, [[0, 0.5, 1, np.nan]], atol=1e-6)


@pytest.mark.parametrize("is_metric", [True, False])
def test_where_all_is_equally_far_all_is_near(is_metric: bool) -> None:
    values = np.array([[0.5, 0], [0.5, 0.5]], np.float32)
    np.testing.assert_array_equal(PredictedDepth(values, is_metric).nearness, [[1, np.nan], [1, 1]])
    np.testing.assert_array_equal(PredictedDepth(np.zeros((1, 2), np.float32), is_metric).nearness, np.nan)
