"""Random segmentations, small but with everything that can be awkward."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from upseg.segmentation import Category

label_maps = arrays(np.int32, array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.integers(0, 4))

_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(), children, max_size=3),
    max_leaves=5,
)
_categories = st.dictionaries(st.integers(0, 300), st.tuples(st.text(), st.booleans()), min_size=1, max_size=4)


@st.composite
def segmentation_parts(draw: st.DrawFn) -> dict[str, Any]:
    """Arguments of `Segmentation.from_labels` with scores, categories and parents for some segments.

    The test makes the call: the type checks draw random numbers, which hypothesis does not allow in a strategy.
    """
    labels = draw(label_maps)
    values = [int(v) for v in np.unique(labels) if v]
    table = [Category(i, name, thing) for i, (name, thing) in draw(_categories).items()]

    def some(of: st.SearchStrategy) -> st.SearchStrategy:
        return st.dictionaries(st.sampled_from(values), of, max_size=len(values)) if values else st.just({})

    return {
        "labels": labels,
        "scores": draw(some(st.floats(0, 1))),
        "categories": draw(some(st.sampled_from(table))),
        "parents": draw(some(st.sampled_from(values or [0]))),
        "provenance": draw(st.dictionaries(st.text(), _json, max_size=3)),
    }


def labels_of(*rows: str) -> np.ndarray:
    """A label map drawn with digits, `.` for void."""
    return np.array([[0 if c == "." else int(c) for c in row] for row in rows], np.int32)


def many_segments(count: int) -> np.ndarray:
    """A map of `count` one-pixel segments and some void."""
    width = 300
    labels = np.zeros(-(-(count + 5) // width) * width, np.int32)
    labels[5 : count + 5] = np.arange(1, count + 1)
    return labels.reshape(-1, width)
