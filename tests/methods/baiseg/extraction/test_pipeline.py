"""The whole pipeline on drawn boundaries whose instances are known."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from scipy import ndimage

from upseg.functional.label_maps import border_pixels, connected_components
from upseg.methods.baiseg.extraction import pipeline
from upseg.methods.baiseg.extraction.markers import markers
from upseg.methods.baiseg.extraction.pipeline import ExtractedInstances, extract, region_distance
from upseg.methods.baiseg.settings import BaisegSettings

SETTINGS = BaisegSettings(boundary_threshold=0.3, dilations=2, marker_ratio=0.6)
"""For maps as they are drawn; those of networks that learned by Eq. 1 need a higher threshold."""
THINGS = np.array([False, True, True])
STAGES = ("thinned", "dilated", "distance", "markers", "watershed", "closed", "filtered")


def drawn(truth: np.ndarray, blur: float = 0.8) -> np.ndarray:
    """Boundaries as a network gives them: both sides of each border, blurred, the strongest near 1."""
    return np.minimum(1, 1.4 * ndimage.gaussian_filter(border_pixels(truth).astype(np.float32), blur))


def classes_of(truth: np.ndarray) -> np.ndarray:
    """All instances of one class, before a background."""
    return (truth > 0).astype(np.int64)


def found(boundary: np.ndarray, classes: np.ndarray | None, settings: BaisegSettings = SETTINGS) -> ExtractedInstances:
    return extract(boundary, classes, THINGS, settings)


def overlaps(truth: np.ndarray, result: ExtractedInstances) -> list[float]:
    """The intersection over union of each true instance with the best of the found ones."""
    best = []
    for number in range(1, truth.max() + 1):
        own = truth == number
        others = np.unique(result.labels[own])
        unions = [(own | (result.labels == other)).sum() for other in others if other]
        shared = [(own & (result.labels == other)).sum() for other in others if other]
        best.append(max((s / u for s, u in zip(shared, unions, strict=True)), default=0.0))
    return best


def discs(shape: tuple[int, int], *circles: tuple[float, float, float]) -> np.ndarray:
    """(row, column, radius) of discs, a later one before an earlier one."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    truth = np.zeros(shape, np.int32)
    for number, (row, column, radius) in enumerate(circles, start=1):
        truth[np.hypot(rows - row, columns - column) <= radius] = number
    return truth


def two_halves(height: int = 40, width: int = 60) -> np.ndarray:
    truth = np.zeros((height + 8, width + 8), np.int32)
    truth[4:-4, 4 : 4 + width // 2] = 1
    truth[4:-4, 4 + width // 2 : -4] = 2
    return truth


@pytest.mark.parametrize("gap", [0, 1, 2, 3])
@pytest.mark.parametrize("places", [1, 4])
def test_gaps_in_a_boundary_are_bridged(gap: int, places: int) -> None:
    truth = two_halves()
    boundary = drawn(truth)
    for place in range(places):
        row = 8 + place * 10
        boundary[row : row + gap, 30:38] = 0
    result = found(boundary, classes_of(truth))
    assert result.classes == {1: 1, 2: 1}
    assert min(overlaps(truth, result)) > 0.98


def test_a_wide_gap_in_the_middle_of_two_large_objects_is_bridged_by_its_neck() -> None:
    truth = two_halves()
    boundary = drawn(truth)
    boundary[18:30, 30:38] = 0  # 12 of 40 pixels
    assert min(overlaps(truth, found(boundary, classes_of(truth)))) > 0.95


def test_peaks_are_compared_as_they_were_before_the_dilation(monkeypatch: pytest.MonkeyPatch) -> None:
    truth, heights, stages = two_halves(), [], {}

    def recorded(distance: np.ndarray, *rest: Any) -> np.ndarray:
        heights.append(distance.copy())
        return markers(distance, *rest)

    monkeypatch.setattr(pipeline, "markers", recorded)
    extract(drawn(truth), classes_of(truth), THINGS, replace(SETTINGS, dilations=3), stages=stages)
    distance = stages["distance"]
    np.testing.assert_array_equal(heights[0], np.where(distance > 0, distance + 3, 0))


def test_one_threshold_for_the_image_loses_the_marker_of_a_small_object_beside_a_large_one() -> None:
    """What the paper's pipeline does: the small disc has no marker of its own, and falls to the large one."""
    truth = discs((60, 90), (30, 30, 24), (30, 58, 5))
    boundary, stages = drawn(truth), {}
    paper = replace(SETTINGS, distance_threshold=0.5, dilations=0)
    extract(boundary, classes_of(truth), THINGS, paper, stages=stages)
    assert stages["markers"].max() == 1
    assert stages["distance"][stages["markers"] > 0].min() > 0.5 * stages["distance"].max()
    assert len(found(boundary, classes_of(truth)).classes) == 2


@pytest.mark.parametrize("strength", [0.35, 0.5])
def test_a_weak_boundary_cuts_as_well_as_a_strong_one(strength: float) -> None:
    truth = two_halves()
    boundary = drawn(truth)
    boundary[7:-7, 30:38] *= strength / boundary[20, 30:38].max()
    assert min(overlaps(truth, found(boundary, classes_of(truth)))) > 0.98


@pytest.mark.parametrize("row", [12, 24, 36])
def test_one_stretch_with_no_boundary_at_all_is_one_instance(row: int) -> None:
    truth = two_halves()
    boundary = drawn((truth > 0).astype(np.int32))
    boundary[row, 10:13] = 1  # a speck is no boundary
    result = found(boundary, classes_of(truth))
    assert result.classes == {1: 1}
    assert np.array_equal(result.labels > 0, truth > 0)


def test_touching_circles_come_apart_at_their_neck_even_without_a_boundary() -> None:
    truth = discs((60, 90), (30, 25, 18), (30, 60, 18))
    nothing = np.zeros(truth.shape, np.float32)
    assert min(overlaps(truth, found(nothing, classes_of(truth)))) > 0.97
    assert min(overlaps(truth, found(drawn(truth), classes_of(truth)))) > 0.97


@pytest.mark.parametrize(
    "radius",
    [
        pytest.param(2.5, marks=pytest.mark.xfail(reason="so short a line of contact counts as a speck")),
        3.0,
        3.5,
        4.5,
        6.0,
    ],
)
def test_a_small_circle_beside_a_large_one_is_kept(radius: float) -> None:
    truth = discs((70, 80), (35, 30, 25), (35, 54 + radius, radius))
    assert min(overlaps(truth, found(drawn(truth), classes_of(truth)))) > 0.7


@pytest.mark.parametrize(("height", "width"), [(4, 5), (5, 4), (2, 10), (1, 20), (20, 1)])
def test_objects_of_20_pixels_are_kept(height: int, width: int) -> None:
    truth = np.zeros((50, 60), np.int32)
    truth[5:45, 2:20] = 1
    truth[10 : 10 + height, 30 : 30 + width] = 2
    result = found(drawn(truth), classes_of(truth))
    assert np.array_equal(result.labels, truth)


@pytest.mark.parametrize("blur", [0.5, 0.8])
def test_two_touching_objects_of_25_pixels_come_apart(blur: float) -> None:
    truth = np.zeros((20, 30), np.int32)
    truth[8:13, 10:15] = 1
    truth[8:13, 15:20] = 2
    assert min(overlaps(truth, found(drawn(truth, blur), classes_of(truth)))) >= 0.8  # the border is one column off


def test_an_object_closed_by_a_boundary_inside_another_one_is_an_instance() -> None:
    truth = discs((70, 70), (35, 35, 28), (35, 35, 9))
    assert min(overlaps(truth, found(drawn(truth), classes_of(truth)))) > 0.95


def test_a_tiny_loop_inside_of_an_object_is_no_hole_in_it() -> None:
    truth = discs((60, 60), (30, 30, 22))
    boundary = drawn(truth)
    boundary[29:32, 29:32] = 0.9
    boundary[30, 30] = 0
    result = found(boundary, classes_of(truth))
    assert np.array_equal(result.labels, truth)


@pytest.mark.parametrize("inside", [1, 2, 3])
def test_a_boundary_beside_the_contour_makes_no_sliver(inside: int) -> None:
    truth = discs((90, 150), (45, 45, 30), (45, 105, 30))
    boundary = drawn(ndimage.grey_erosion(truth, size=2 * inside + 1))  # of both objects so many pixels too small
    result = found(boundary, classes_of(truth))
    assert len(result.classes) == 2
    assert min(overlaps(truth, result)) > 0.97


def test_without_refinement_the_hole_stays() -> None:
    truth = np.ones((60, 60), np.int32)
    boundary = np.zeros((60, 60), np.float32)
    boundary[27:34, 27:34] = 0.9
    boundary[28:33, 28:33] = 0.1
    large = replace(SETTINGS, minimum_area=60)
    plain = found(boundary, classes_of(truth), replace(large, refine=False))
    assert 9 <= (plain.labels == 0).sum() < 60
    assert np.array_equal(found(boundary, classes_of(truth), large).labels, truth)


def test_boundaries_reach_the_image_s_edge_and_the_edge_is_none() -> None:
    truth = np.ones((40, 60), np.int32)
    truth[:, 30:] = 2
    result = found(drawn(truth), classes_of(truth))
    assert result.classes == {1: 1, 2: 1}
    assert min(overlaps(truth, result)) > 0.98
    whole = found(np.zeros((40, 60), np.float32), classes_of(truth))
    assert whole.classes == {1: 1}
    assert whole.labels.all()


def test_a_gap_at_the_image_s_edge_is_bridged() -> None:
    truth = np.ones((40, 60), np.int32)
    truth[:, 30:] = 2
    boundary = drawn(truth)
    boundary[:2] = 0
    assert min(overlaps(truth, found(boundary, classes_of(truth)))) > 0.97


def test_things_of_two_classes_that_touch_are_never_one_instance() -> None:
    truth = two_halves()
    result = found(np.zeros(truth.shape, np.float32), truth.astype(np.int64))
    assert np.array_equal(result.labels, truth)
    assert result.classes == {1: 1, 2: 2}


def test_renumbering_the_classes_changes_no_instance() -> None:
    truth = discs((60, 90), (30, 25, 18), (30, 60, 18), (12, 42, 9))
    boundary, classes = drawn(truth), np.where(truth == 3, 2, truth > 0).astype(np.int64)
    swapped = np.array([0, 2, 1])[classes]
    first, second = found(boundary, classes), found(boundary, swapped)
    assert np.array_equal(first.labels, second.labels)
    assert {k: 3 - v for k, v in first.classes.items()} == second.classes


def test_without_contours_the_class_is_that_of_the_majority() -> None:
    truth = two_halves()
    classes = truth.astype(np.int64)
    classes[10:14, 20:24] = 2  # sixteen wrong pixels
    boundary = drawn(truth)
    plain = replace(SETTINGS, semantic_contours=False, refine=False)
    result = found(boundary, classes, plain)
    assert result.classes == {1: 1, 2: 2}
    assert min(overlaps(truth, result)) > 0.95
    assert not result.labels[truth == 0].any()
    refined = found(boundary, classes, replace(plain, refine=True))
    assert refined.classes == result.classes
    assert (refined.labels[10:14, 20:24] == 0).all()


def test_without_classes_the_whole_image_is_cut() -> None:
    truth = two_halves()[4:-4, 4:-4]
    result = found(drawn(truth), None)
    assert result.classes == {1: 1, 2: 1}
    assert min(overlaps(truth, result)) > 0.98
    assert extract(drawn(truth), None, np.array([False]), SETTINGS).classes == {}


def test_a_map_without_things_has_no_instances() -> None:
    for classes in (np.zeros((20, 30), np.int64), np.full((20, 30), -1, np.int64)):
        result = found(np.ones((20, 30), np.float32), classes)
        assert result.classes == {}
        assert not result.labels.any()


def test_a_thing_that_is_all_boundary_is_one_instance() -> None:
    classes = np.zeros((30, 40), np.int64)
    classes[10:14, 5:35] = 1
    for boundary in (np.ones((30, 40), np.float32), drawn(classes.astype(np.int32))):
        result = found(boundary, classes)
        assert np.array_equal(result.labels, classes)


@pytest.mark.parametrize("shape", [(0, 0), (0, 5), (1, 1), (1, 30), (3, 2)])
@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_maps_of_any_size(shape: tuple[int, int], value: float) -> None:
    result = found(np.full(shape, value, np.float32), np.ones(shape, np.int64), replace(SETTINGS, minimum_area=1))
    assert np.array_equal(result.labels, np.ones(shape, np.int32))
    assert result.classes == ({1: 1} if 0 not in shape else {})


def test_the_watershed_in_the_image_puts_the_border_where_its_colours_change() -> None:
    truth = two_halves()
    shifted = np.roll(drawn(truth), 2, axis=1)  # the boundary lies two pixels off
    image = np.repeat((truth == 1).astype(np.float32)[..., None], 3, axis=2)
    in_image = extract(shifted, classes_of(truth), THINGS, replace(SETTINGS, flood="image"), image=image)
    assert min(overlaps(truth, in_image)) > min(overlaps(truth, found(shifted, classes_of(truth)))) > 0.9
    assert min(overlaps(truth, in_image)) > 0.98
    with pytest.raises(ValueError, match="an image of"):
        found(shifted, classes_of(truth), replace(SETTINGS, flood="image"))


@pytest.mark.parametrize(("depth", "count"), [(0.0, 1), (4.0, 2)])
def test_with_a_prominence_a_faint_boundary_with_gaps_deepens_a_neck(depth: float, count: int) -> None:
    truth = discs((30, 44), (15, 14, 10), (15, 30, 10))  # so far into one another that the neck parts nothing
    between = ndimage.binary_dilation(truth == 1, iterations=3) & (truth == 2)
    boundary = np.where(between, 0.5, 0).astype(np.float32)
    boundary[10:12] = 0
    result = found(boundary, classes_of(truth), replace(SETTINGS, prominence=5.0, boundary_depth=depth))
    assert len(result.classes) == count
    assert min(overlaps(truth, result)) > (0.9 if count == 2 else 0)


def test_with_a_prominence_things_of_two_classes_stay_apart() -> None:
    truth = two_halves()
    result = extract(
        np.zeros(truth.shape, np.float32), truth.astype(np.int64), np.array([False, True, True]),
        replace(SETTINGS, prominence=1.0),
    )  # fmt: skip
    assert overlaps(truth, result) == [1, 1]


def test_the_stages_are_all_there() -> None:
    truth = discs((60, 90), (30, 25, 18), (30, 60, 18))
    stages: dict[str, Any] = {}
    result = extract(drawn(truth), classes_of(truth), THINGS, SETTINGS, stages=stages)
    assert tuple(stages) == STAGES
    assert {stage.shape for stage in stages.values()} == {truth.shape}
    assert np.array_equal(stages["filtered"], result.labels)
    assert not stages["distance"][stages["dilated"]].any()
    assert not stages["markers"][stages["dilated"]].any()


def test_the_distance_to_a_region_is_that_to_its_last_pixel() -> None:
    regions = np.array([[1, 1, 1, 0, 2, 2, 3, 3]], np.int32)
    no_lines = np.zeros(regions.shape, bool)
    assert region_distance(no_lines, regions).tolist() == [[3, 2, 1, 0, 1, 0.5, 0.5, 1]]
    lines = regions == 2
    assert region_distance(lines, regions).tolist() == [[3, 2, 1, 0, 0, 0, 0.5, 1]]


@hypothesis_settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0, 1, 20]), st.sampled_from([0, 2]))
def test_every_pixel_of_a_thing_belongs_to_an_instance_of_its_class(seed: int, area: int, dilations: int) -> None:
    rng = np.random.default_rng(seed)
    classes = np.kron(rng.integers(-1, 3, (6, 7)), np.ones((5, 6))).astype(np.int64)
    boundary = ndimage.gaussian_filter(rng.random(classes.shape), rng.uniform(0, 2))
    boundary = ((boundary - boundary.min()) / np.ptp(boundary)).astype(np.float32)
    result = found(boundary, classes, replace(SETTINGS, minimum_area=area, dilations=dilations))
    parts = connected_components(np.maximum(classes, 0))
    large = (np.bincount(parts.ravel()) >= area)[parts] & (classes > 0)
    assert np.array_equal(result.labels > 0, large)
    assert sorted(result.classes) == list(range(1, int(result.labels.max()) + 1))
    for number, position in result.classes.items():
        assert set(classes[result.labels == number].tolist()) == {position}
        assert (result.labels == number).sum() >= area
