"""Windows: where they lie, what matches over a seam, and that no chain joins what a window sees apart."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.methods.entity.feature_maps import features_of, same_partition
from upseg.functional.label_maps import connected_components
from upseg.methods.entity.extensions.windows import AGREEMENT, Link, WindowClusters, _agreement, _spans, cluster_windows


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 300), st.integers(2, 80), st.data())
def test_windows_cover_an_axis_and_overlap_enough(length: int, window: int, data: st.DataObject) -> None:
    overlap = data.draw(st.integers(1, window // 2))
    spans = list(_spans(length, window, overlap))
    assert [k for span in spans for k in range(span.core_start, span.core_stop)] == list(range(length))
    for span in spans:
        assert 0 <= span.start <= span.core_start < span.core_stop <= span.stop <= length
        assert span.stop - span.start == min(window, length)
    for first, second in pairwise(spans):
        assert first.stop - second.start >= overlap


def test_clusters_match_that_agree_on_what_both_windows_see() -> None:
    earlier = np.array([[1, 1, 1, 2, 2, 0]], np.int32)
    later = np.array([[7, 7, 8, 8, 9, 9], [0, 0, 0, 0, 0, 0]], np.int32)
    # 1 and 7 share 2 of 3 pixels; 2 shares 1 of 3 with 8, and 1 of 2 with 9, of which the last pixel does not count
    assert _agreement(earlier, later, axis=0) == [Link(1, 7, 2)]
    assert AGREEMENT == 0.5
    assert _agreement(np.array([[1, 1]], np.int32), np.array([[3, 4]], np.int32), axis=0) == []


def window_clusters(codes: list[list[int]], window_of: list[int], matches: list[Link]) -> WindowClusters:
    similarity = np.ones(np.shape(codes), np.float32)
    return WindowClusters(np.array(codes, np.int32), similarity, np.array(window_of), tuple(matches))


@pytest.mark.parametrize("connected", [False, True])
def test_a_chain_never_joins_two_clusters_of_one_window(connected: bool) -> None:
    """1 and 2 are window 1's; 3 of window 2 claims both, with fewer shared pixels with 2."""
    codes = [[1, 1, 3, 3, 2, 2]]
    found = window_clusters(codes, [0, 1, 1, 2], [Link(2, 3, 5), Link(1, 3, 9)]).segments(connected=connected)
    assert same_partition(found, [[1, 1, 1, 1, 2, 2]])
    other = window_clusters(codes, [0, 1, 1, 2], [Link(2, 3, 9), Link(1, 3, 5)]).segments(connected=connected)
    assert same_partition(other, [[1, 1, 2, 2, 2, 2]])


def test_matching_clusters_are_joined_over_several_windows() -> None:
    clusters = window_clusters([[1, 2, 3, 0, 4]], [0, 1, 2, 3, 4], [Link(1, 2, 3), Link(2, 3, 1), Link(3, 4, 2)])
    assert same_partition(clusters.segments(connected=False), [[1, 1, 1, 0, 1]])
    assert same_partition(clusters.segments(connected=True), [[1, 1, 1, 0, 4]])
    assert clusters.segments(connected=False)[0, 3] == 0


def test_parts_of_a_cluster_that_touch_in_another_window_are_one_segment() -> None:
    clusters = window_clusters([[1, 0, 1], [2, 2, 2]], [0, 1, 2], [Link(1, 2, 4)])
    assert same_partition(clusters.segments(connected=True), [[1, 0, 1], [1, 1, 1]])


@pytest.mark.parametrize("connected", [False, True])
@pytest.mark.parametrize("size", [(50, 50), (61, 97), (20, 130), (24, 25)])
def test_objects_larger_than_a_window_stay_whole(size: tuple[int, int], connected: bool) -> None:
    rows, columns = np.mgrid[: size[0], : size[1]]
    labels = 1 + (rows > columns * size[0] / size[1]).astype(np.int64)  # two triangles
    labels[np.hypot(rows - size[0] / 2, columns - size[1] / 2) < 9] = 3
    everywhere = np.ones(size, bool)
    found = cluster_windows(features_of(labels, 16, 0.2), everywhere, bandwidth=45.0, window=24, seed=0).segments(
        connected=connected
    )
    expected = connected_components(labels) if connected else labels
    assert same_partition(found, expected)


def test_what_is_not_foreground_takes_no_part() -> None:
    features = features_of(np.arange(36).reshape(6, 6) // 9, 8)
    foreground = np.zeros((6, 6), bool)
    nothing = cluster_windows(features, foreground, bandwidth=45.0, window=4, seed=0)
    assert not nothing.codes.any()
    foreground[:2] = True
    some = cluster_windows(features, foreground, bandwidth=45.0, window=None, seed=0)
    assert np.array_equal(some.codes > 0, foreground)
    assert len(some.window_of) == 1 + 2
    assert torch.is_tensor(features)
