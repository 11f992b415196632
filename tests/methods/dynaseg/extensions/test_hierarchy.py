"""The hierarchy's levels: nested, connected, complete, at the image's own size."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage.transform import resize
from torch import Tensor

from tests.reference.dynaseg_grouping import connected_parts, numbered_by_first_pixel
from upseg.hierarchy import Hierarchy, MergeTree
from upseg.methods.dynaseg.extensions.atoms import colour_gradient, enlarge, find_atoms
from upseg.methods.dynaseg.extensions.features import PhotoMaps
from upseg.methods.dynaseg.extensions.hierarchy import COARSEST_HEIGHT, DEFAULT_DETAIL, coarsest_height, group_hierarchy
from upseg.methods.dynaseg.extensions.merging import MergeWeights

DETAILS = st.floats(0, 1)


def blurred_noise(height: int, width: int, channels: int = 3, seed: int = 0, sigma: float = 3.0) -> np.ndarray:
    """(H, W, channels) float32 in [0, 1] with blobs of about `sigma` pixels."""
    noise = np.random.default_rng(seed).normal(size=(height, width, channels))
    smooth = ndimage.gaussian_filter(noise, (sigma, sigma, 0))
    low, high = smooth.min(), smooth.max()
    return ((smooth - low) / (high - low)).astype(np.float32)


def response_to(image: np.ndarray, clusters: int = 6) -> Tensor:
    """(1, q, H, W): what a linear classifier says about the colours."""
    weights = np.random.default_rng(9).normal(size=(clusters, 3))
    return torch.from_numpy(np.tensordot(weights, image - image.mean((0, 1)), (1, 2))).float()[None]


def hierarchy_of(image: np.ndarray, weights: MergeWeights | None = None) -> Hierarchy:
    return group_hierarchy(image, image, response_to(image), weights=weights)


@pytest.fixture(scope="module")
def hierarchy() -> Hierarchy:
    return hierarchy_of(blurred_noise(60, 80))


@pytest.fixture(scope="module")
def enlarged() -> Hierarchy:
    image = blurred_noise(90, 133, sigma=6.0)
    working_image = np.ascontiguousarray(image[1::3, 1::3][:, :40])
    return group_hierarchy(image, working_image, response_to(working_image))


def assert_refines(fine: np.ndarray, coarse: np.ndarray) -> None:
    pairs = np.unique(np.stack([fine.ravel(), coarse.ravel()]), axis=1)
    assert len(pairs[0]) == len(np.unique(fine))


class TestCutHeight:
    def test_detail_0_cuts_at_a_multiple_of_the_root_of_the_merge_that_leaves_5_segments(self) -> None:
        tree = MergeTree(10, np.array([[0, other] for other in range(1, 10)]), np.arange(1.0, 10.0))
        assert coarsest_height(tree) == COARSEST_HEIGHT * 4**0.5
        assert (
            coarsest_height(MergeTree(2, np.array([[0, 1]]), np.array([0.25]))) == COARSEST_HEIGHT * 0.5
        )  # fewer merges
        assert coarsest_height(MergeTree(1, np.zeros((0, 2), np.int64), np.zeros(0))) < 0

    @given(first=DETAILS, second=DETAILS)
    @settings(max_examples=50, deadline=None)
    def test_falls_with_detail(self, hierarchy: Hierarchy, first: float, second: float) -> None:
        low, high = sorted((first, second))
        assert hierarchy.cut_height(high) <= hierarchy.cut_height(low)

    def test_all_detail_is_below_every_merge(self, hierarchy: Hierarchy) -> None:
        assert hierarchy.cut_height(1.0) < 0

    @pytest.mark.parametrize("detail", [-0.01, 1.01, float("nan")])
    def test_what_is_no_detail_is_refused(self, hierarchy: Hierarchy, detail: float) -> None:
        with pytest.raises(ValueError, match=r"detail must be between 0 \(few, large\) and 1 \(all\), got"):
            hierarchy.at(detail)


class TestHierarchy:
    def test_there_is_something_to_choose_from(self, hierarchy: Hierarchy) -> None:
        counts = [int(hierarchy.at(detail).max()) for detail in (0.0, DEFAULT_DETAIL, 1.0)]
        assert counts[0] < counts[1] < counts[2]

    @settings(max_examples=50, deadline=None)
    @given(first=DETAILS, second=DETAILS)
    def test_more_detail_only_splits(self, hierarchy: Hierarchy, first: float, second: float) -> None:
        low, high = sorted((first, second))
        assert_refines(hierarchy.at(high), hierarchy.at(low))

    @settings(max_examples=30, deadline=None)
    @given(detail=DETAILS)
    def test_every_level_covers_the_image_with_connected_segments(self, hierarchy: Hierarchy, detail: float) -> None:
        labels = hierarchy.at(detail)
        assert labels.shape == hierarchy.shape == (60, 80)
        np.testing.assert_array_equal(connected_parts(labels), labels)  # 1..K by first pixel, nothing void

    def test_all_detail_is_all_atoms(self, hierarchy: Hierarchy) -> None:
        np.testing.assert_array_equal(hierarchy.at(1.0), hierarchy.atoms)
        np.testing.assert_array_equal(hierarchy.atoms, find_atoms(colour_gradient(blurred_noise(60, 80))))

    def test_a_level_does_not_change_the_others(self, hierarchy: Hierarchy) -> None:
        before = hierarchy.at(0.4)
        hierarchy.at(0.0)
        hierarchy.at(1.0)
        np.testing.assert_array_equal(hierarchy.at(0.4), before)

    def test_the_same_input_gives_the_same_levels_and_is_not_changed(self) -> None:
        image = blurred_noise(30, 40)
        response = response_to(image)
        copies = image.copy(), response.clone()
        first, second = (group_hierarchy(image, image, response) for _ in range(2))
        np.testing.assert_array_equal(second.atoms, first.atoms)
        np.testing.assert_array_equal(second.tree.merges, first.tree.merges)
        np.testing.assert_array_equal(second.tree.heights, first.tree.heights)
        np.testing.assert_array_equal(image, copies[0])
        assert torch.equal(response, copies[1])

    def test_the_network_has_a_say(self) -> None:
        image = blurred_noise(30, 40)
        other = group_hierarchy(image, image, response_to(image).flip(2))
        assert not np.array_equal(other.tree.heights, hierarchy_of(image).tree.heights)

    def test_features_have_a_say(self) -> None:
        image = blurred_noise(30, 40)
        alone = group_hierarchy(image, image)
        maps = torch.from_numpy(blurred_noise(8, 10)).permute(2, 0, 1)[None]
        nothing, something = (PhotoMaps((features,)) for features in (maps * 0, maps))
        np.testing.assert_array_equal(group_hierarchy(image, image, None, nothing).tree.heights, alone.tree.heights)
        assert not np.array_equal(group_hierarchy(image, image, None, something).tree.heights, alone.tree.heights)

    def test_weights_can_be_given(self) -> None:
        image = blurred_noise(30, 40)
        default = hierarchy_of(image, MergeWeights())
        np.testing.assert_array_equal(default.tree.heights, hierarchy_of(image).tree.heights)
        assert hierarchy_of(image, MergeWeights(colour=99.0)).tree.heights.max() > default.tree.heights.max()

    @pytest.mark.parametrize("size", [(1, 1), (1, 7), (5, 3)])
    @pytest.mark.parametrize("detail", [0.0, 0.5, 1.0])
    def test_small_images(self, size: tuple[int, int], detail: float) -> None:
        image = np.random.default_rng(0).random((*size, 3)).astype(np.float32)
        labels = hierarchy_of(image).at(detail)
        assert labels.shape == size
        np.testing.assert_array_equal(connected_parts(labels), labels)

    @pytest.mark.parametrize("detail", [0.0, 0.5, 1.0])
    def test_a_constant_image_is_one_segment(self, detail: float) -> None:
        assert (hierarchy_of(np.full((9, 12, 3), 0.4, np.float32)).at(detail) == 1).all()


class TestEnlarge:
    @pytest.mark.parametrize("size", [(30, 40), (31, 41), (45, 60), (90, 120), (100, 90), (30, 200)])
    def test_every_region_is_in_the_larger_map_about_where_it_was(self, size: tuple[int, int]) -> None:
        image = blurred_noise(30, 40)
        regions = find_atoms(colour_gradient(image))
        zoomed = resize(image, (*size, 3), order=1).astype(np.float32)
        large = enlarge(regions, colour_gradient(zoomed))
        assert large.shape == size
        assert large.dtype == np.int32
        assert np.unique(large).tolist() == np.unique(regions).tolist()
        rows, columns = (np.arange(length) * short // length for length, short in zip(size, (30, 40), strict=True))
        assert (large == regions[rows[:, None], columns]).mean() > 0.6

    def test_borders_are_the_image_s_own(self) -> None:
        rows, columns = np.mgrid[:121, :90]
        truth = (rows - 60.2) ** 2 + (columns - 44.7) ** 2 < 33**2
        image = np.where(truth[..., None], [0.8, 0.5, 0.2], [0.2, 0.3, 0.6]).astype(np.float32)
        reduced = truth[1::3, 1::3].astype(np.int32) + 1
        large = enlarge(reduced, colour_gradient(image)) == 2
        assert (large != truth).sum() < 0.02 * truth.sum()
        copied = reduced[np.arange(121)[:, None] * len(reduced) // 121, np.arange(90) * reduced.shape[1] // 90] == 2
        assert (large != truth).sum() < 0.3 * (copied != truth).sum()


class TestEnlargedLevels:
    @settings(max_examples=20, deadline=None)
    @given(detail=DETAILS)
    def test_have_the_size_of_the_image_and_no_holes(self, enlarged: Hierarchy, detail: float) -> None:
        labels = enlarged.at(detail)
        assert labels.shape == enlarged.shape == (90, 133)
        np.testing.assert_array_equal(numbered_by_first_pixel(labels), labels)

    @settings(max_examples=20, deadline=None)
    @given(first=DETAILS, second=DETAILS)
    def test_more_detail_only_splits_but_for_pixels_along_borders(
        self, enlarged: Hierarchy, first: float, second: float
    ) -> None:
        low, high = sorted((first, second))
        fine, coarse = enlarged.at(high), enlarged.at(low)
        assert int(fine.max()) >= int(coarse.max())
        shared = np.zeros((int(fine.max()) + 1, int(coarse.max()) + 1), np.int64)
        np.add.at(shared, (fine, coarse), 1)
        assert shared.max(1).sum() >= 0.95 * fine.size

    def test_no_segment_is_lost_on_the_way(self, enlarged: Hierarchy) -> None:
        assert int(enlarged.at(1.0).max()) == enlarged.tree.regions
        counts = [int(enlarged.at(detail).max()) for detail in np.linspace(0, 1, 9).tolist()]
        assert all(few <= many for few, many in pairwise(counts))
        assert counts[0] < counts[-1]
