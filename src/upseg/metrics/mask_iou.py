"""IoU of every ground-truth segment with every predicted one."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float64, Int64, Integer

from upseg.functional.contingency import Overlaps, overlaps


def iou_matrix(found: Overlaps) -> Float64[np.ndarray, "rows columns"]:
    """IoU of the segments of two label maps, void left out: rows and columns by ascending id."""
    table = np.zeros((len(found.row_ids), len(found.column_ids)))
    table[found.rows, found.columns] = found.ious()
    return table[1:, 1:]


def label_map_ious(
    truth: Integer[np.ndarray, "h w"],
    prediction: Integer[np.ndarray, "h w"],
    valid: Bool[np.ndarray, "h w"] | None = None,
) -> tuple[Float64[np.ndarray, "k n"], Int64[np.ndarray, " k"], Int64[np.ndarray, " n"]]:
    """IoU of each ground-truth segment (rows) with each predicted one (columns), and the ids of both, ascending.

    Args:
        truth: (H, W) ids, 0 no segment.
        prediction: (H, W) ids, 0 void.
        valid: Pixels to look at; all of them where it is None.

    Raises:
        ValueError: If the shapes differ, or a map is not one of integers >= 0.
    """
    found = overlaps(truth, prediction, valid)
    return iou_matrix(found), found.row_ids[1:], found.column_ids[1:]


def mask_ious(
    truth: Bool[np.ndarray, "k h w"],
    prediction: Bool[np.ndarray, "n h w"],
    valid: Bool[np.ndarray, "h w"] | None = None,
) -> Float64[np.ndarray, "k n"]:
    """IoU of masks that may overlap each other, as those of a detector.

    Returns:
        (K, N) in [0, 1]; 0 for two empty masks.

    Raises:
        ValueError: If the masks differ in height or width.
    """
    if truth.shape[1:] != prediction.shape[1:]:
        raise ValueError(f"masks must have one height and width, got {truth.shape[1:]} and {prediction.shape[1:]}")
    if valid is None:
        pixels = truth.shape[1] * truth.shape[2]
        rows, columns = truth.reshape(len(truth), pixels), prediction.reshape(len(prediction), pixels)
    else:
        rows, columns = truth[:, valid], prediction[:, valid]
    # float64 products of 0 and 1 are exact, and BLAS does not multiply integers
    shared = rows.astype(np.float64) @ columns.astype(np.float64).T
    unions = rows.sum(axis=1)[:, None] + columns.sum(axis=1)[None] - shared
    return np.asarray(np.divide(shared, unions, out=np.zeros_like(shared), where=unions > 0))
