"""Compressed run lengths against pycocotools, byte for byte."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as oracle

from tests.formats.strategies import label_maps, labels_of
from upseg.functional.label_maps import canonical_order
from upseg.functional.runs import compress_counts, counts_to_runs, decompress_counts, encode_label_map, paint_runs

# pycocotools hands numpy an object whose __array__ is of the old kind
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")


def decode(texts: list[str], height: int, width: int) -> np.ndarray:
    runs = counts_to_runs(*decompress_counts(texts), np.arange(1, len(texts) + 1), height * width)
    return paint_runs(runs, height * width)[0].reshape(width, height).T


def test_hand_computed():
    labels = labels_of("1.", "21", "21")
    # segment 1: column 0 is in, out, out; column 1 out, in, in: lengths 0 1 3 2, the last as a difference 2 - 1
    # segment 2: 1 2 3
    assert encode_label_map(labels) == ["0131", "123"]
    np.testing.assert_array_equal(decode(["0131", "123"], 3, 2), labels)


@settings(max_examples=150, deadline=None)
@given(label_maps)
def test_equal_to_pycocotools_on_small_maps(labels):
    labels, _ = canonical_order(labels)
    texts = encode_label_map(labels)
    assert len(texts) == labels.max(initial=0)
    for value, text in enumerate(texts, start=1):
        assert text.encode() == oracle.encode(np.asfortranarray((labels == value).astype(np.uint8)))["counts"]
    np.testing.assert_array_equal(decode(texts, *labels.shape), labels)


@pytest.mark.parametrize("seed", range(3))
def test_equal_to_pycocotools_on_a_large_map(seed):
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 40, (9, 13))
    labels = np.kron(small, np.ones((37, 53), int))
    labels[rng.random(labels.shape) < 0.01] = 41
    labels, _ = canonical_order(labels)
    texts = encode_label_map(labels)
    for value, text in enumerate(texts, start=1):
        mask = (labels == value).astype(np.uint8)
        assert text.encode() == oracle.encode(np.asfortranarray(mask))["counts"]
        np.testing.assert_array_equal(oracle.decode({"size": list(labels.shape), "counts": text}), mask)
    np.testing.assert_array_equal(decode(texts, *labels.shape), labels)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(st.integers(0, 2**31), max_size=9), max_size=4))
def test_any_lengths_survive(masks):
    offsets = np.cumsum([0, *map(len, masks)])
    counts = np.array([count for mask in masks for count in mask], np.int64)
    again, again_offsets = decompress_counts(compress_counts(counts, offsets))
    np.testing.assert_array_equal(again, counts)
    np.testing.assert_array_equal(again_offsets, offsets)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("01 1", "a character that cannot be in them"),
        ("01\u00e41", "a character that cannot be in them"),
        ("01p", "a character that cannot be in them"),
        ("01o", "end in the middle of a number"),
        ("o" * 20 + "0", "more than 60 bits"),
    ],
)
def test_texts_that_are_not_run_lengths(text, message):
    with pytest.raises(ValueError, match=message):
        decompress_counts([text])


@pytest.mark.parametrize("counts", [[1, 2], [1, 2, 4], [-1, 7], [3, -3, 6], [1 << 60, 1], []])
def test_lengths_that_do_not_fill_the_mask(counts):
    with pytest.raises(ValueError, match="add up to its 6 pixels"):
        counts_to_runs(np.array(counts, np.int64), np.array([0, len(counts)]), np.array([1]), 6)
