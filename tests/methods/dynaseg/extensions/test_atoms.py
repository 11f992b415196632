"""Atoms: a partition into connected basins that keeps to the image's edges, also when a map is enlarged."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage.color import rgb2lab
from skimage.segmentation import watershed

from tests.reference.dynaseg_grouping import connected_parts, merge_shallow, numbered_by_first_pixel
from upseg.functional.label_maps import canonical_order
from upseg.methods.dynaseg.extensions import atoms as module
from upseg.methods.dynaseg.extensions.atoms import (
    LAB_UNIT,
    colour_gradient,
    find_atoms,
    perceptual_colours,
    refine_borders,
)

SIZES = [(1, 1), (1, 9), (9, 1), (2, 2), (5, 3), (33, 47)]


def two_colours(truth: np.ndarray, noise: float = 0.0, seed: int = 0) -> np.ndarray:
    """(H, W, 3): an orange shape on blue ground."""
    image = np.where(truth[..., None], [0.8, 0.5, 0.2], [0.2, 0.3, 0.6])
    image = image + np.random.default_rng(seed).normal(0, noise, image.shape)
    return np.clip(image, 0, 1).astype(np.float32)


def disc(size: int, centre: tuple[float, float], radius: float) -> np.ndarray:
    rows, columns = np.mgrid[:size, :size]
    return (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 < radius**2


def borders(labels: np.ndarray) -> np.ndarray:
    """Pixels that have another label to their right or below, or to their left or above."""
    across, down = labels[:, 1:] != labels[:, :-1], labels[1:] != labels[:-1]
    found = np.zeros(labels.shape, bool)
    found[:, 1:] |= across
    found[:, :-1] |= across
    found[1:] |= down
    found[:-1] |= down
    return found


def mixed_pixels(regions: np.ndarray, truth: np.ndarray) -> int:
    """Pixels on the other side of a true border than most of their region."""
    inside = np.bincount(regions.ravel(), truth.ravel())
    return int(np.minimum(inside, np.bincount(regions.ravel()) - inside).sum())


def gradients(max_side: int = 7) -> st.SearchStrategy[np.ndarray]:
    """Small maps of a few heights, many of them equal."""
    return st.builds(
        lambda height, width, levels, seed: (
            np.random.default_rng(seed).integers(0, levels, (height, width)).astype(np.float32) * 0.11
        ),
        st.integers(1, max_side),
        st.integers(1, max_side),
        st.integers(1, 6),
        st.integers(0, 10_000),
    )


class TestColours:
    def test_are_lab_in_units_of_visible_difference(self) -> None:
        image = np.random.default_rng(0).random((9, 7, 3)).astype(np.float32)
        np.testing.assert_allclose(perceptual_colours(image), rgb2lab(image) / LAB_UNIT, rtol=1e-5)

    def test_hand_values(self) -> None:
        image = np.array([[[0, 0, 0], [1, 1, 1], [1, 0, 0]]], np.float32)
        expected = np.array([[[0, 0, 0], [100, 0, 0], [53.24, 80.09, 67.2]]]) / LAB_UNIT
        np.testing.assert_allclose(perceptual_colours(image), expected, atol=0.01)

    def test_strips_do_not_show(self, monkeypatch: pytest.MonkeyPatch) -> None:
        image = np.random.default_rng(0).random((50, 20, 3)).astype(np.float32)
        colours, gradient = perceptual_colours(image), colour_gradient(image)
        monkeypatch.setattr(module, "ROWS_AT_A_TIME", 7)
        np.testing.assert_allclose(perceptual_colours(image), colours, atol=1e-6)
        np.testing.assert_allclose(colour_gradient(image), gradient, atol=1e-6)


class TestGradient:
    @pytest.mark.parametrize("size", SIZES)
    @pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
    def test_none_in_a_constant_image(self, size: tuple[int, int], value: float) -> None:
        gradient = colour_gradient(np.full((*size, 3), value, np.float32))
        assert gradient.shape == size
        np.testing.assert_allclose(gradient, 0, atol=1e-5)

    def test_a_slope_has_its_steepness_in_every_direction(self) -> None:
        lightness = np.linspace(30, 70, 41)  # 1 unit of CIELAB for each pixel; grey: a = b = 0
        grey = ((lightness + 16) / 116) ** 3
        encoded = np.where(grey <= 0.0031308, 12.92 * grey, 1.055 * grey ** (1 / 2.4) - 0.055).astype(np.float32)
        image = np.repeat(np.repeat(encoded[None, :, None], 41, axis=0), 3, axis=2)
        for turned in (image, image.transpose(1, 0, 2), image[:, ::-1]):
            np.testing.assert_allclose(colour_gradient(np.ascontiguousarray(turned))[10:-10, 10:-10], 0.05, rtol=0.01)

    def test_is_strongest_on_the_edge(self) -> None:
        gradient = colour_gradient(two_colours(np.arange(20)[None] >= np.full((12, 1), 9)))
        assert set(np.argsort(gradient[6])[-2:]) == {8, 9}


class TestAtoms:
    @settings(max_examples=40, deadline=None)
    @given(gradient=gradients())
    def test_are_a_partition_into_connected_parts(self, gradient: np.ndarray) -> None:
        atoms = find_atoms(gradient)
        assert atoms.shape == gradient.shape
        assert atoms.min() == 1
        np.testing.assert_array_equal(connected_parts(atoms), atoms)  # connected, and numbered by first pixel

    @settings(max_examples=40, deadline=None)
    @given(gradient=gradients())
    def test_are_basins_joined_over_shallow_passes(self, gradient: np.ndarray) -> None:
        basins = watershed(gradient, connectivity=1)
        expected = merge_shallow(basins, gradient, module.LEAST_DEPTH)
        np.testing.assert_array_equal(find_atoms(gradient), expected)

    def test_hand_derived(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "LEAST_DEPTH", 0.5)
        # floors 0, .5, 0 and .1; passes .9 (deep for both), .7 (shallow for the second), 1 (deep for both)
        gradient = np.array([[0, 0.9, 0.5, 0.7, 0, 1.0, 0.1]], np.float32)
        atoms = find_atoms(gradient)[0]
        assert atoms[0] == 1
        assert atoms[2] == atoms[4] == 2
        assert atoms[6] == 3

    @pytest.mark.parametrize("size", SIZES)
    @pytest.mark.parametrize("colour", [(0, 0, 0), (1, 1, 1), (0.37, 0.61, 0.13)])
    def test_a_constant_image_is_one(self, size: tuple[int, int], colour: tuple[float, float, float]) -> None:
        image = np.broadcast_to(np.array(colour, np.float32), (*size, 3)).copy()
        assert find_atoms(colour_gradient(image)).tolist() == np.ones(size).tolist()

    @pytest.mark.parametrize(
        "truth",
        [
            np.arange(40)[None] >= np.full((30, 1), 17),
            np.add.outer(np.arange(40), np.arange(40)) > 39,
            disc(48, (22.3, 25.1), 14.5),
        ],
        ids=["upright", "slanted", "round"],
    )
    def test_borders_lie_on_the_colour_edge(self, truth: np.ndarray) -> None:
        atoms = find_atoms(colour_gradient(two_colours(truth)))
        assert atoms.max() == 2
        away = ndimage.distance_transform_edt(~borders(truth))
        assert away[borders(atoms)].max() <= 1.0
        assert mixed_pixels(atoms, truth) <= 0.1 * borders(truth).sum()

    def test_noise_makes_more_of_them_but_none_across_the_edge(self) -> None:
        truth = disc(48, (22.3, 25.1), 14.5)
        atoms = find_atoms(colour_gradient(two_colours(truth, noise=0.05)))
        assert mixed_pixels(atoms, truth) <= 0.1 * borders(truth).sum()


class TestRefineBorders:
    @pytest.mark.parametrize("factor", [2, 3, 5])
    @pytest.mark.parametrize("noise", [0.0, 0.03])
    def test_they_end_on_the_true_edge(self, factor: int, noise: float) -> None:
        truth = disc(120, (58.3, 61.7), 35.2)
        reduced = truth[factor // 2 :: factor, factor // 2 :: factor]
        rows = np.minimum(np.arange(120) // factor, len(reduced) - 1)
        enlarged = reduced[rows[:, None], rows].astype(np.int32) + 1
        away = ndimage.distance_transform_edt(~borders(truth))
        assert away[borders(enlarged)].max() > 1  # there is something to do
        refined = refine_borders(enlarged, colour_gradient(two_colours(truth, noise)), factor)
        assert set(np.unique(refined)) == {1, 2}
        assert away[borders(refined)].max() <= 1.0
        assert ndimage.distance_transform_edt(~borders(refined))[borders(truth)].max() <= 1.0

    @settings(max_examples=60, deadline=None)
    @given(
        gradient=gradients(9),
        regions=st.integers(1, 9),
        margin=st.integers(0, 4),
        block=st.integers(1, 3),
        seed=st.integers(0, 999),
    )
    def test_no_region_vanishes(self, gradient: np.ndarray, regions: int, margin: int, block: int, seed: int) -> None:
        height, width = gradient.shape
        coarse = np.random.default_rng(seed).integers(1, regions + 1, (height, width)).astype(np.int32)
        labels = coarse[np.arange(height)[:, None] // block, np.arange(width) // block]
        refined = refine_borders(labels, gradient, margin)
        assert refined.dtype == np.int32
        assert np.unique(refined).tolist() == np.unique(labels).tolist()

    def test_a_region_of_one_pixel_stays_where_it_is(self) -> None:
        regions = np.ones((9, 9), np.int32)
        regions[4, 5] = 2
        refined = refine_borders(regions, np.zeros((9, 9), np.float32), 3)
        assert refined[4, 5] == 2
        assert refined[0, 0] == 1

    def test_far_from_borders_nothing_changes(self) -> None:
        regions = numbered_by_first_pixel(np.add.outer(np.arange(30) // 15, 2 * (np.arange(40) // 20)))
        gradient = np.random.default_rng(0).random((30, 40)).astype(np.float32)
        refined = refine_borders(regions, gradient, 3)
        far = ndimage.distance_transform_cdt(~borders(regions), metric="chessboard") > 4
        assert far.sum() > 300
        np.testing.assert_array_equal(refined[far], regions[far])
        assert (refined != regions).any()

    def test_without_margin_or_borders_nothing_changes(self) -> None:
        gradient = np.random.default_rng(0).random((6, 8)).astype(np.float32)
        regions = canonical_order(np.random.default_rng(1).integers(1, 4, (6, 8)))[0]
        np.testing.assert_array_equal(refine_borders(regions, gradient, 0), regions)
        one = np.ones((6, 8), np.int32)
        np.testing.assert_array_equal(refine_borders(one, gradient, 3), one)
