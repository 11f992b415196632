from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.metrics.strategies import blobs, pairs
from tests.reference import metrics as reference
from upseg.metrics.boundary_iou import boundary_band, boundary_ious, boundary_width


def boundary_iou_table(truth: np.ndarray, prediction: np.ndarray, ratio: float = 0.02) -> np.ndarray:
    """Of all pairs, ground truth x prediction."""
    found, ious = boundary_ious(truth, prediction, dilation_ratio=ratio)
    table = np.zeros((len(found.row_ids), len(found.column_ids)))
    table[found.rows, found.columns] = ious
    return table[1:, 1:]


@pytest.mark.parametrize(("size", "width"), [((480, 640), 16), ((1, 1), 1), ((321, 481), 12), ((20, 15), 1)])
def test_width_is_two_percent_of_the_diagonal(size: tuple[int, int], width: int) -> None:
    assert boundary_width(*size) == width


def test_hand_drawn_rim() -> None:
    labels = np.ones((5, 6), int)
    labels[2, 3] = 2
    expected = np.ones((5, 6), bool)
    expected[1:4, 1] = False  # all else touches the border of the image or the other label
    np.testing.assert_array_equal(boundary_band(labels, 1), expected)


@given(pairs, st.integers(1, 4))
@settings(max_examples=60, deadline=None)
def test_band_is_what_erosion_takes_from_each_mask(maps: tuple[np.ndarray, np.ndarray], width: int) -> None:
    labels = maps[0]
    band = boundary_band(labels, width)
    for value in np.unique(labels):
        np.testing.assert_array_equal(band & (labels == value), reference.rim(labels == value, width))


@pytest.mark.parametrize("ratio", [0.02, 0.05, 0.2, 0.6])
@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_erosion_loop(seed: int, ratio: float) -> None:
    truth, prediction = blobs(seed, 40, 57, 6), np.roll(blobs(seed, 40, 57, 6), 2, axis=1)
    width = boundary_width(*truth.shape, ratio)
    expected = [
        [reference.boundary_iou(truth == i, prediction == j, width) for j in reference.ids_of(prediction)]
        for i in reference.ids_of(truth)
    ]
    found = boundary_iou_table(truth, prediction, ratio)
    assert found.max() > 0.1
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@given(pairs)
@settings(max_examples=60, deadline=None)
def test_agrees_with_erosion_loop_on_any_map(maps: tuple[np.ndarray, np.ndarray]) -> None:
    truth, prediction = maps
    width = boundary_width(*truth.shape)
    expected = np.array(
        [
            reference.boundary_iou(truth == i, prediction == j, width)
            for i in reference.ids_of(truth)
            for j in reference.ids_of(prediction)
        ]
    )
    np.testing.assert_allclose(boundary_iou_table(truth, prediction).ravel(), expected, rtol=1e-12)


def test_a_thin_segment_has_its_boundary_iou_equal_to_its_iou() -> None:
    truth, prediction = np.zeros((2, 30, 30), int)
    truth[10:12, 3:23], prediction[10:12, 8:28] = 1, 1
    assert boundary_iou_table(truth, prediction)[0, 0] == pytest.approx(15 / 25)


def test_only_valid_pixels_count_but_rims_are_those_of_the_whole_maps() -> None:
    truth, prediction = blobs(0, 30, 30, 3), blobs(1, 30, 30, 3)
    valid = np.zeros(truth.shape, bool)
    valid[5:20, 7:25] = True
    found, ious = boundary_ious(truth, prediction, valid, 0.05)
    width = boundary_width(30, 30, 0.05)
    for row, column, iou in zip(found.rows, found.columns, ious, strict=True):
        masks = truth == found.row_ids[row], prediction == found.column_ids[column]
        rims = [reference.rim(mask, width) & valid for mask in masks]
        assert iou == pytest.approx(reference.mask_iou(*rims))
    assert len(boundary_ious(truth, prediction, np.zeros(truth.shape, bool))[1]) == 0


@pytest.mark.usefixtures("unchecked_shapes")
def test_bad_input() -> None:
    with pytest.raises(ValueError, match="at least 1 pixel"):
        boundary_band(np.ones((4, 4), int), 0)
    with pytest.raises(ValueError, match="same shape"):
        boundary_ious(np.ones((4, 4), int), np.ones((4, 5), int))
