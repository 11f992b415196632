from __future__ import annotations

import numpy as np
import pytest

from upseg.data.shapes.settings import STUFF
from upseg.data.shapes.textures import TEXTURES


def plane(periods: float = 6.0, side: int = 96) -> tuple[np.ndarray, np.ndarray]:
    at = np.linspace(-periods / 2, periods / 2, side, dtype=np.float32)
    return tuple(np.meshgrid(at, at, indexing="ij"))


def test_there_is_a_texture_for_each_class_of_background():
    assert list(TEXTURES) == list(STUFF)


@pytest.mark.parametrize("name", list(TEXTURES))
def test_textures_stay_within_their_range_and_follow_the_seed(name):
    fields = [TEXTURES[name](np.random.default_rng(seed), *plane()) for seed in (0, 0, 1)]
    assert all(np.abs(field).max() <= 1.31 for field in fields)  # wood adds two waves
    np.testing.assert_array_equal(fields[0], fields[1])
    # stripes and checks are told by their hardness only, and that is drawn
    assert not np.array_equal(fields[0], fields[2])


@pytest.mark.parametrize("name", [name for name in TEXTURES if name != "plain"])
def test_textures_but_the_plain_one_have_contrast(name):
    assert TEXTURES[name](np.random.default_rng(3), *plane()).std() > 0.15


def test_stripes_repeat_along_one_coordinate_only():
    u, v = plane()
    field = TEXTURES["stripes"](np.random.default_rng(0), u, v)
    np.testing.assert_array_equal(field, field[:, :1].repeat(96, axis=1))
    shifted = TEXTURES["stripes"](np.random.default_rng(0), u + 1, v)
    np.testing.assert_allclose(field, shifted, atol=1e-4)


def test_mosaic_takes_the_tone_of_the_nearest_point():
    """Against a search over all points of the jittered lattice."""
    u, v = plane(4.0, 24)
    field = TEXTURES["mosaic"](np.random.default_rng(5), u, v)
    rng = np.random.default_rng(5)
    tones = rng.uniform(-1, 1, (32, 32)).astype(np.float32)
    jitter = rng.uniform(0.1, 0.9, (2, 32, 32)).astype(np.float32)
    cells = [(row, column) for row in range(-4, 4) for column in range(-4, 4)]
    distance = [
        (row + jitter[0, row % 32, column % 32] - u) ** 2 + (column + jitter[1, row % 32, column % 32] - v) ** 2
        for row, column in cells
    ]
    expected = np.array([tones[row % 32, column % 32] for row, column in cells])[np.argmin(distance, axis=0)]
    assert (field == expected).mean() > 0.999  # rounding where two are equally near
