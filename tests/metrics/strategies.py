"""What the metric tests draw from."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

sizes = st.tuples(st.integers(1, 9), st.integers(1, 9))


def label_maps(shape: tuple[int, int], most: int = 4) -> st.SearchStrategy[np.ndarray]:
    """Maps of small ids with plenty of void, so that empty ones and single segments are common."""
    return st.integers(0, most).flatmap(lambda k: hnp.arrays(np.int32, shape, elements=st.integers(0, k)))


pairs = sizes.flatmap(lambda shape: st.tuples(label_maps(shape), label_maps(shape)))


def blobs(seed: int, height: int, width: int, count: int) -> np.ndarray:
    """A random map of `count` compact segments, void between some of them."""
    rng = np.random.default_rng(seed)
    centres = rng.uniform(0, [height, width], (count, 2))
    rows, columns = np.mgrid[:height, :width]
    distances = [(rows - r) ** 2 + (columns - c) ** 2 for r, c in centres]
    labels = np.argmin(distances, axis=0).astype(np.int32) + 1
    labels[np.min(distances, axis=0) > (0.6 * height * width / count)] = 0
    return labels
