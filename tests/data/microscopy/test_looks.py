"""Stains, false colours and noise: what changes and what must not."""

import numpy as np
import pytest

from upseg.data.microscopy.looks import photograph, recolour
from upseg.data.microscopy.stains import EOSIN, HEMATOXYLIN, optical_density, restain, stain_virtually, texture


def disk() -> np.ndarray:
    rows, columns = np.mgrid[:48, :48] - 23.5
    return rows**2 + columns**2 < 144


def test_optical_densities_of_stains_add_up() -> None:
    first = np.exp(-np.array(HEMATOXYLIN, np.float32))[None, None]
    second = np.exp(-np.array(EOSIN, np.float32))[None, None]
    total = np.add(HEMATOXYLIN, EOSIN)
    np.testing.assert_allclose(optical_density(first * second)[0, 0], total, rtol=1e-5)
    assert optical_density(np.zeros((1, 1, 3), np.float32)).max() == pytest.approx(np.log(255))


@pytest.mark.parametrize("seed", range(6))
def test_other_stains_change_colours_and_keep_nuclei_apart_from_the_rest(seed: int) -> None:
    inside = disk()
    amounts = np.where(inside[..., None], [1.5, 0.2], [0.05, 0.6])
    image = np.exp(-(amounts @ np.array([HEMATOXYLIN, EOSIN]))).astype(np.float32)
    found = restain(image, np.random.default_rng(seed))
    assert (found.dtype, found.shape) == (np.float32, image.shape)
    assert 0 <= found.min() <= found.max() <= 1
    assert np.abs(found - image).max() > 0.02
    assert np.abs(found[inside].mean(0) - found[~inside].mean(0)).max() > 0.1


@pytest.mark.parametrize("seed", range(6))
def test_virtual_nuclei_are_darker_than_white_and_differ_from_what_is_around(seed: int) -> None:
    inside = disk()
    found = stain_virtually(inside.astype(np.float32), np.random.default_rng(seed))
    assert 0 <= found.min() <= found.max() <= 1
    assert np.abs(found[inside].mean(0) - found[~inside].mean(0)).max() > 0.05


@pytest.mark.parametrize("grain", [1.0, 3.0, 20.0])
def test_textures_have_the_shape_and_are_smoother_the_coarser(grain: float) -> None:
    found = texture((40, 57), np.random.default_rng(0), grain)
    assert found.shape == (40, 57)
    assert np.abs(np.diff(found, axis=0)).mean() < 1.2 / grain


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("colours", ["grey", "colour"])
def test_every_look_is_an_image_that_depends_on_the_seed_alone(seed: int, colours: str) -> None:
    inside = disk()
    image = np.where(inside[..., None], [0.8, 0.8, 0.8], [0.1, 0.1, 0.1]).astype(np.float32)
    if colours == "colour":
        image = image * np.array([1.0, 0.4, 0.7], np.float32)
    before = image.copy()

    def look() -> np.ndarray:
        rng = np.random.default_rng(seed)
        return photograph(recolour(image, inside, rng), rng)

    found = look()
    assert (found.dtype, found.shape) == (np.float32, image.shape)
    assert 0 <= found.min() <= found.max() <= 1
    assert np.isfinite(found).all()
    np.testing.assert_array_equal(found, look())
    np.testing.assert_array_equal(image, before)


def test_grey_images_become_colours_negatives_and_tissue() -> None:
    inside = disk()
    image = np.where(inside[..., None], np.float32(0.8), np.float32(0.1)).repeat(3, 2)
    looks = [recolour(image, inside, np.random.default_rng(seed)) for seed in range(40)]
    coloured = [float(np.ptp(found, axis=2).mean()) > 0.02 for found in looks]
    darker = [found[inside].mean() < found[~inside].mean() for found in looks]
    assert 8 < sum(coloured) < 32
    assert 8 < sum(darker) < 32
