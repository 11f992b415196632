"""IoU of every ground-truth segment with every predicted one."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64, Int64

from upseg.functional.contingency import overlaps
from upseg.functional.label_maps import LabelMap, Mask


def label_map_ious(
    truth: LabelMap, prediction: LabelMap, valid: Mask | None = None
) -> tuple[Float64[np.ndarray, "k n"], Int64[np.ndarray, " k"], Int64[np.ndarray, " n"]]:
    """IoU of each ground-truth segment (rows) with each predicted one (columns), and the ids of both, ascending.

    Args:
        truth: (H, W) ids, 0 no segment.
        prediction: (H, W) ids, 0 void.
        valid: Pixels to look at; all of them where it is None.

    Raises:
        ValueError: If the shapes differ, or a map is not one of integers >= 0.

    Example:
        >>> ious, truth_ids, prediction_ids = label_map_ious(np.array([[1, 1, 2]]), np.array([[7, 0, 9]]))
        >>> ious.tolist(), prediction_ids.tolist()
        ([[0.5, 0.0], [0.0, 1.0]], [7, 9])
    """
    found = overlaps(truth, prediction, valid)
    table = np.zeros((len(found.row_ids), len(found.column_ids)))
    table[found.rows, found.columns] = found.ious()
    return table[1:, 1:], found.row_ids[1:], found.column_ids[1:]
