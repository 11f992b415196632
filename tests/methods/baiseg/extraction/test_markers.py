"""Markers: height profiles whose objects can be counted by hand, and the slow reference."""

import numpy as np
import pytest
from scipy import ndimage

from tests.reference import baiseg_extraction as slow
from upseg.methods.baiseg.extraction import markers as module
from upseg.methods.baiseg.extraction.markers import distance_transform, markers


def profile(*heights: float) -> np.ndarray:
    return np.array([heights], np.float32)


def sets_of(labels: np.ndarray) -> set[frozenset[tuple[int, ...]]]:
    found = set(labels.ravel().tolist()) - {0}
    assert found == set(range(1, len(found) + 1))
    return {frozenset(map(tuple, np.argwhere(labels == number).tolist())) for number in found}


def test_distance_by_hand() -> None:
    boundary = np.zeros((3, 5), bool)
    boundary[0, 0] = True
    expected = np.hypot(np.arange(3)[:, None], np.arange(5)).astype(np.float32)
    assert np.array_equal(distance_transform(boundary), expected)


def test_distance_agrees_with_the_nearest_of_all_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    boundary = np.random.default_rng(0).random((17, 23)) < 0.03
    monkeypatch.setattr(module, "BLOCK_PIXELS", 5 * 23)
    np.testing.assert_allclose(distance_transform(boundary), slow.boundary_distance(boundary), rtol=1e-6)


def test_without_a_boundary_the_distance_is_the_diagonal() -> None:
    assert np.array_equal(distance_transform(np.zeros((3, 4), bool)), np.full((3, 4), 5, np.float32))
    assert distance_transform(np.zeros((0, 4), bool)).shape == (0, 4)


def test_two_peaks_are_one_object_if_the_way_does_not_dip_below_the_share_of_the_lower_one() -> None:
    heights = profile(1, 5, 3, 4, 1)
    assert markers(heights, 0.75).tolist() == [[1, 1, 1, 1, 1]]
    assert markers(heights, 0.76).tolist() == [[0, 1, 0, 2, 0]]  # what lies above the pass


def test_a_marker_is_as_large_as_it_can_be_without_a_contact() -> None:
    heights = profile(0.5, 2, 9, 8, 2.5, 2, 2.1, 7, 3, 0.5)
    assert markers(heights, 0.6).tolist() == [[0, 0, 1, 1, 1, 0, 2, 2, 2, 0]]


def test_merged_objects_are_judged_by_their_highest_peak() -> None:
    # the small peaks 6 and 6.1 belong to the large ones beside them; 5.8 would do for them, not for the large ones
    heights = profile(20, 5.9, 6, 5.8, 6.1, 5.9, 20)
    assert markers(heights, 0.6).tolist() == [[1, 1, 1, 0, 2, 2, 2]]


def test_a_small_object_beside_a_large_one_has_a_marker() -> None:
    heights = profile(30, 20, 10, 1, 2, 1.5, 0)
    assert markers(heights, 0.6).tolist() == [[1, 1, 1, 0, 2, 2, 0]]


def test_what_boundaries_separate_is_never_one_object() -> None:
    assert markers(profile(3, 0, 3), 0.01).tolist() == [[1, 0, 2]]
    assert not markers(np.zeros((4, 5), np.float32), 0.6).any()
    assert markers(np.zeros((0, 5), np.float32), 0.6).shape == (0, 5)


def test_no_way_leads_from_one_region_to_another() -> None:
    heights = np.full((2, 4), 3, np.float32)
    regions = np.array([[1, 1, 2, 2], [2, 2, 1, 1]], np.int32)  # at the corner only diagonal steps would join
    assert markers(heights, 0.6, regions).tolist() == [[1, 1, 2, 2], [3, 3, 4, 4]]
    assert markers(heights, 0.6).max() == 1


def test_a_diagonal_boundary_has_no_leaks() -> None:
    heights = np.where(np.eye(6, dtype=bool), 0, 1).astype(np.float32)
    assert markers(heights, 0.6).max() == 2
    assert markers(heights[::-1].copy(), 0.6).max() == 2


@pytest.mark.parametrize("width", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("slope", [0.3, 0.5, 1.0, 2.7])
def test_a_corridor_is_one_object_in_any_direction(width: int, slope: float) -> None:
    rows, columns = np.mgrid[:60, :60]
    away = np.abs(rows - 30 - slope * (columns - 30)) / np.hypot(1, slope)
    labels = markers(distance_transform(away > width), 0.7)
    assert labels.max() == 1


def test_a_plateau_is_one_object_whatever_the_ratio() -> None:
    assert np.array_equal(markers(np.full((7, 5), 2, np.float32), 1.0), np.ones((7, 5), np.int32))
    assert markers(profile(1, 2, 2, 1, 2, 2, 1), 1.0).tolist() == [[0, 1, 1, 0, 2, 2, 0]]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("ratio", [0.3, 0.6, 0.9, 1.0])
def test_they_agree_with_the_slow_reference(seed: int, ratio: float) -> None:
    rng = np.random.default_rng(seed)
    noise = ndimage.gaussian_filter(rng.standard_normal((14, 19)), 0.8)
    heights = np.maximum(noise, 0).astype(np.float32)  # no two alike, half of them 0
    regions = np.repeat([[1] * 9 + [2] * 10], 14, axis=0).astype(np.int32)
    for given in (None, regions):
        expected = slow.markers(heights, ratio, np.ones_like(regions) if given is None else given)
        assert sets_of(markers(heights, ratio, given)) == {frozenset(pixels) for pixels in expected}


@pytest.mark.parametrize("seed", range(4))
def test_on_distances_with_many_equal_ones_there_are_as_many_objects(seed: int) -> None:
    boundary = np.random.default_rng(seed).random((20, 24)) < 0.1
    distance = distance_transform(boundary)
    for ratio in (0.5, 0.6, 0.8):
        expected = len(slow.markers(distance, ratio, np.ones(distance.shape, int)))
        assert markers(distance, ratio).max() == expected > 1


def test_blocks_and_the_unit_of_length_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    heights = ndimage.gaussian_filter(np.random.default_rng(1).random((40, 30)), 2).astype(np.float32)
    heights = np.maximum(heights - 0.47, 0)
    at_once = markers(heights, 0.6)
    assert at_once.max() > 5
    assert np.array_equal(markers(heights * 4, 0.6), at_once)
    monkeypatch.setattr(module, "BLOCK_PIXELS", 3 * 30)
    assert np.array_equal(markers(heights, 0.6), at_once)


def test_a_higher_ratio_never_joins_more() -> None:
    distance = distance_transform(np.random.default_rng(2).random((60, 60)) < 0.02)
    counts = [int(markers(distance, ratio).max()) for ratio in (0.1, 0.3, 0.5, 0.7, 0.9, 1.0)]
    assert counts == sorted(counts)
    assert counts[0] < counts[-1]
