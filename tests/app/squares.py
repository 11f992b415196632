"""What the page shows in its tests: six squares and their levels, on a photo of two halves."""

from __future__ import annotations

import numpy as np

from upseg.hierarchy import Hierarchy, MergeTree
from upseg.segmentation import Segmentation

SIDE = 100
ATOMS = np.kron(np.arange(1, 7, dtype=np.int32).reshape(2, 3), np.ones((SIDE, SIDE), np.int32))
"""Six squares, 1 2 3 above 4 5 6; at detail 0.5 the segments are 1-2-3 and 4-5, and 6 alone."""


TREE = MergeTree(6, np.array([[0, 1], [3, 4], [0, 2], [3, 5], [0, 3]]), np.array([0.1, 0.2, 0.5, 0.6, 0.9]))


def photo(shape=(2 * SIDE, 3 * SIDE)) -> np.ndarray:
    image = np.full((*shape, 3), 0.25, np.float32)
    image[:, shape[1] // 2 :] = (0.8, 0.6, 0.4)
    return image


def levels() -> Segmentation:
    hierarchy = Hierarchy(ATOMS, TREE, scale=1.0)
    return Segmentation.from_hierarchy(hierarchy, 0.5, {"method": "dynaseg", "settings": {"detail": 0.5}})
