"""From features to segments: many objects, void background, small, doubtful and hollow segments."""

import inspect
from typing import Any

import numpy as np
import pytest
import torch

from tests.methods.entity.feature_maps import features_of, lines_for, same_partition, tissue
from upseg.functional.label_maps import connected_components
from upseg.methods.entity.extensions.parts import adjacent_pairs
from upseg.methods.entity.grouping import Grouping, group_features


def recall(truth: np.ndarray, found: np.ndarray, least: float) -> float:
    """Share of the segments of `truth` that one of `found` meets with at least this IoU."""
    overlaps = []
    for number in range(1, int(truth.max()) + 1):
        mask = truth == number
        best = int(np.bincount(found[mask]).argmax())
        other = found == best
        overlaps.append((mask & other).sum() / (mask | other).sum() if best else 0.0)
    return float(np.mean(np.array(overlaps) >= least))


@pytest.mark.parametrize(("dimensions", "noise"), [(32, 0.0), (32, 0.6), (128, 0.6)])
def test_hundreds_of_objects_in_one_image_are_found_apart(dimensions: int, noise: float) -> None:
    """529 of them share 31 or 127 lines; those that touch never do, for no window sees two with one line."""
    window = 26
    truth, centres = tissue(276, 276, 23)
    lines = lines_for(centres, dimensions, reach=window + 16)
    assert len(set(lines.tolist())) <= dimensions < truth.max() == 529
    first, second = adjacent_pairs(truth)
    assert len(first) > 4000
    assert (lines[first] != lines[second]).all()
    features = features_of(lines[truth], dimensions, noise)
    for connected in (True, False):
        found = group_features(
            features, window=window, background="void", connected=connected, minimum_area=8, minimum_score=0.5
        )
        assert len(found.scores) == 529
        assert recall(truth, found.labels, 0.9) == 1.0
        assert np.mean((found.labels == 0) == (truth == 0)) > 0.999


def test_far_objects_with_one_line_are_told_apart_by_windows_or_by_connection() -> None:
    truth = np.zeros((40, 160), np.int64)
    truth[10:30, 10:30], truth[10:30, 130:150] = 1, 2
    features = features_of(np.minimum(truth, 1), 8, 0.2)
    together = group_features(features, background="void")
    assert same_partition(together.labels, np.minimum(truth, 1))
    for settings in ({"connected": True}, {"window": 40}, {"window": 40, "connected": True}):
        apart = group_features(features, background="void", **settings)  # type: ignore[arg-type]
        assert same_partition(apart.labels, truth)


def test_pixels_along_the_background_line_are_void_and_not_clustered() -> None:
    features = features_of(np.array([[0, 0, 1, 2, 2]]), 4)
    features[:, 0, 1] = torch.tensor([0.8, 0.6, 0.0, 0.0])  # 37 degrees from e_1, 53 from e_2
    found = group_features(features, background="void")
    assert same_partition(found.labels, [[0, 0, 1, 2, 2]])
    assert found.labels[0, 0] == 0
    assert same_partition(group_features(features).labels, [[1, 1, 2, 3, 3]])
    narrow = group_features(features, background="void", bandwidth=30.0).labels
    assert same_partition(narrow, [[0, 4, 1, 2, 2]])


def test_a_score_is_the_mean_similarity_with_the_mode() -> None:
    angles = np.radians([0.0, 20.0, -20.0, 90.0])
    features = torch.zeros(3, 1, 4)
    features[0, 0], features[1, 0] = torch.tensor(np.cos(angles)), torch.tensor(np.sin(angles))
    found = group_features(features)
    near, far = found.labels[0, 0], found.labels[0, 3]
    assert found.labels.tolist() == [[near, near, near, far]]
    assert found.scores == {near: pytest.approx((1 + 2 * np.cos(angles[1])) / 3, abs=1e-5), far: 1.0}


def scene() -> torch.Tensor:
    """Two halves; in the first a speck, in the second a blurred square."""
    lines = np.zeros((20, 30), np.int64)
    lines[:, 15:] = 1
    lines[4:6, 4:6] = 2
    features = features_of(lines, 8)
    random = torch.Generator().manual_seed(0)
    blurred = features_of(np.full((6, 6), 3), 8) + 0.5 * torch.randn(8, 6, 6, generator=random) / 8**0.5
    features[:, 8:14, 20:26] = torch.nn.functional.normalize(blurred, dim=0)
    return features


def test_small_parts_doubtful_segments_and_holes_in_that_order() -> None:
    whole = group_features(scene())
    speck, square = int(whole.labels[4, 4]), int(whole.labels[10, 22])
    left, right = int(whole.labels[0, 0]), int(whole.labels[0, 29])
    assert set(whole.scores) == {speck, square, left, right}
    assert 0.8 < whole.scores[square] < 0.95
    absorbed = group_features(scene(), minimum_area=5)
    assert np.array_equal(absorbed.labels, np.where(whole.labels == speck, left, whole.labels))
    assert absorbed.scores == {k: v for k, v in whole.scores.items() if k != speck}
    doubtful = group_features(scene(), minimum_score=0.96)
    assert np.array_equal(doubtful.labels, np.where(whole.labels == square, 0, whole.labels))
    assert set(doubtful.scores) == {speck, left, right}
    filled = group_features(scene(), minimum_score=0.96, fill_holes=True)
    assert np.array_equal(filled.labels, np.where(whole.labels == square, right, whole.labels))
    assert filled.scores == doubtful.scores


def test_an_isolated_speck_is_void_only_where_there_is_void() -> None:
    lines = np.zeros((8, 8), np.int64)
    lines[3, 3] = 1
    assert not group_features(features_of(lines, 4), background="void", minimum_area=2).labels.any()
    lone = group_features(features_of(np.array([[1]]), 4), minimum_area=9)
    assert lone.labels[0, 0] in lone.scores


@pytest.mark.parametrize("background", ["unlabelled", "void"])
@pytest.mark.parametrize("window", [None, 4])
@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (7, 5)])
def test_constant_maps_are_one_segment_or_void(shape: tuple[int, int], window: int | None, background: str) -> None:
    settings: dict[str, Any] = {"background": background, "window": window, "connected": True, "fill_holes": True}
    one = group_features(features_of(np.ones(shape, np.int64), 3), **settings)
    assert len(np.unique(one.labels)) == len(one.scores) == 1
    assert one.labels.min() > 0
    background_only = group_features(features_of(np.zeros(shape, np.int64), 3), **settings)
    assert background_only.labels.any() == (background == "unlabelled")
    nothing = group_features(torch.zeros(3, *shape), **settings)
    assert nothing == Grouping(nothing.labels, {})
    assert not nothing.labels.any()


def test_zero_features_are_void_among_others() -> None:
    lines = np.array([[0, 0, -1, 1], [0, -1, -1, 1]])
    found = group_features(features_of(lines, 4, 0.0))
    assert same_partition(found.labels, lines)
    assert (found.labels[lines == -1] == 0).all()
    assert all(np.isfinite(score) for score in found.scores.values())


def test_the_layout_of_the_map_changes_nothing_and_the_seed_little() -> None:
    features = features_of(tissue(100, 110, 5)[0], 32, 0.5)
    settings: dict[str, Any] = {"window": 64, "connected": True, "minimum_area": 4}
    plain = group_features(features, **settings)
    assert group_features(features.clone(), **settings).scores == plain.scores
    last = features[None].contiguous(memory_format=torch.channels_last)[0]
    assert np.array_equal(group_features(last, **settings).labels, plain.labels)
    cropped = torch.nn.functional.pad(features, (1, 2, 3, 4))[:, 3:-4, 1:-2]
    assert np.array_equal(group_features(cropped, **settings).labels, plain.labels)
    assert same_partition(group_features(features, seed=1, **settings).labels, plain.labels)


def test_connected_parts_are_segments_of_their_own() -> None:
    lines = np.array([[1, 2, 1], [1, 2, 1], [2, 2, 1]])
    found = group_features(features_of(lines, 4), connected=True)
    assert same_partition(found.labels, connected_components(lines))
    assert group_features(features_of(lines, 4)).labels.max() == 2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"bandwidth": 0.0}, "bandwidth must be above 0"),
        ({"background": "sky"}, "background must be one of unlabelled, void, got 'sky'"),
        ({"window": 1}, "window must be at least 2 pixels"),
    ],
)
def test_settings_that_make_no_sense_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        inspect.unwrap(group_features)(torch.zeros(3, 9, 9), **settings)  # past the type checks of the tests
