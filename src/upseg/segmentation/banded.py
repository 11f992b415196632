"""Segments of an image that is too large for one label map in memory: the map in bands of rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float64, Int32, Int64

Bands = Callable[[slice], Int32[np.ndarray, "h w"]]
"""Gives some rows of a label map."""
_BAND_PIXELS = 1 << 23


@dataclass(frozen=True, eq=False)
class BandedSegmentation:
    """What a `Segmentation` is, without the whole map; ids are canonical: 1..K by first pixel in row-major order.

    Attributes:
        shape: (H, W) in pixels.
        labels_at: Gives some rows of the map, (h, W) int32.
        areas: (K,) in pixels.
        first_rows: (K,) of the first row of each segment, not decreasing.
        last_rows: (K,) of the last row of each.
        scores: (K,) in [0, 1]; None where the method gives none.
        provenance: How it came to be.
    """

    shape: tuple[int, int]
    labels_at: Bands
    areas: Int64[np.ndarray, " k"]
    first_rows: Int64[np.ndarray, " k"]
    last_rows: Int64[np.ndarray, " k"]
    scores: Float64[np.ndarray, " k"] | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.areas)

    def bands(self, multiple: int = 1) -> Iterator[slice]:
        """Rows, a few million pixels at a time, from top to bottom; bands begin at multiples of so many."""
        return bands(self.shape, multiple)


def bands(shape: tuple[int, int], multiple: int = 1) -> Iterator[slice]:
    """Bands of rows of a few million pixels that cover a map; they begin at multiples of a number."""
    height = max(1, _BAND_PIXELS // (shape[1] * multiple)) * multiple
    return (slice(top, min(top + height, shape[0])) for top in range(0, shape[0], height))


def number_canonically(
    shape: tuple[int, int],
    labels_at: Bands,
    count: int,
    provenance: Mapping[str, Any],
    scores: Float64[np.ndarray, " n1"] | None = None,
) -> BandedSegmentation:
    """Give the segments of a map their canonical ids, in one pass over its bands.

    Args:
        shape: (H, W).
        labels_at: Gives rows with numbers from 0 (void) to N.
        count: N + 1.
        provenance: How the map came to be.
        scores: (N + 1,) of the numbers; that of 0 counts for nothing. None for no scores.
    """
    pixels = shape[0] * shape[1]
    first, last = np.full(count, pixels, np.int64), np.full(count, -1, np.int64)
    areas = np.zeros(count, np.int64)
    for rows in bands(shape):
        flat = labels_at(rows).ravel()
        places = np.arange(rows.start * shape[1], rows.stop * shape[1], dtype=np.int64)
        there = np.flatnonzero(flat)  # most of a slide is void
        flat, places = flat[there], places[there]
        areas += np.bincount(flat, minlength=count)
        firsts = np.full(count, pixels, np.int64)
        firsts[flat[::-1]] = places[::-1]  # written backwards, so that the last write of each is its first pixel
        np.minimum(first, firsts, out=first)
        last[flat] = places
    present = np.flatnonzero(areas)
    order = present[np.argsort(first[present])]
    table = np.zeros(count, np.int32)
    table[order] = np.arange(1, len(order) + 1)
    return BandedSegmentation(
        shape,
        lambda rows: table[labels_at(rows)],
        areas[order],
        first[order] // shape[1],
        last[order] // shape[1],
        None if scores is None else scores[order],
        provenance,
    )
