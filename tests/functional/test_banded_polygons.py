"""Outlines band by band: the very rings of the whole map."""

import numpy as np
import pytest

from upseg.functional.banded_polygons import trace_rings_in_bands
from upseg.functional.polygons import Rings, trace_rings


def in_bands(labels: np.ndarray, height: int) -> Rings:
    bands = [slice(top, min(top + height, len(labels))) for top in range(0, len(labels), height)]
    return trace_rings_in_bands(lambda rows: labels[rows], labels.shape, bands)


@pytest.mark.parametrize("height", [1, 2, 5, 40])
@pytest.mark.parametrize(("values", "size", "seed"), [(2, 1, 0), (3, 1, 1), (2, 4, 2), (1, 1, 3)])
def test_rings_are_those_of_the_whole_map(height: int, values: int, size: int, seed: int) -> None:
    cells = np.random.default_rng(seed).integers(0, values, (17, 23))
    labels = np.kron(cells, np.ones((size, size), int)).astype(np.int32)
    whole, found = trace_rings(labels), in_bands(labels, height)
    for name in ("vertices", "offsets", "labels", "parts", "holes"):
        assert np.array_equal(getattr(found, name), getattr(whole, name)), name
    assert (len(whole.labels) > 0) == (values > 1)


def test_a_ring_around_everything_is_one_part_with_a_hole() -> None:
    labels = np.ones((9, 7), np.int32)
    labels[3:6, 2:5] = 0
    found = in_bands(labels, 2)
    assert (found.labels.tolist(), found.parts.tolist(), found.holes.tolist()) == ([1, 1], [1, 1], [False, True])
