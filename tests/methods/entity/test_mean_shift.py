"""Mean shift: the same partition as the slow one from every pixel, whatever the layout, size and signs."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.methods.entity.feature_maps import features_of, same_partition, tissue
from tests.reference.entity_mean_shift import dominant_line, mean_shift
from upseg.methods.entity.mean_shift import (
    FEW,
    MAXIMUM_MODES,
    SAMPLE,
    cluster_lines,
    nearest_modes,
)


def noisy_lines(count: int, clusters: int, dimensions: int, noise: float, seed: int) -> torch.Tensor:
    """(N, d) features around axes, some axes with many, some with few."""
    random = np.random.default_rng(seed)
    shares = random.random(clusters) ** 2 + 0.02
    numbers = random.choice(clusters, count, p=shares / shares.sum())
    return features_of(numbers[None], dimensions, noise, seed).flatten(1).T


@settings(max_examples=12, deadline=None)
@given(st.integers(1, 80), st.integers(1, 8), st.sampled_from([3, 8, 16]), st.floats(0, 0.9), st.integers(0, 1000))
def test_few_features_are_partitioned_as_by_the_reference(
    count: int, clusters: int, dimensions: int, noise: float, seed: int
) -> None:
    features = noisy_lines(count, min(clusters, dimensions), dimensions, noise, seed)
    exact, fast = mean_shift(features.numpy()), cluster_lines(features)
    certain = exact.margins > 1e-4  # the others are about as far from two modes
    assert len(fast.modes) == len(exact.modes)
    assert same_partition(fast.nearest.numpy()[certain], exact.labels[certain])


@pytest.mark.parametrize("noise", [0.0, 0.3, 0.5])
@pytest.mark.parametrize(("clusters", "dimensions"), [(4, 8), (12, 32)])
def test_a_small_map_is_partitioned_as_by_the_reference(noise: float, clusters: int, dimensions: int) -> None:
    features = noisy_lines(FEW + 44, clusters, dimensions, noise, seed=3)
    exact, fast = mean_shift(features.numpy(), tolerance=1e-7), cluster_lines(features)
    assert same_partition(fast.nearest.numpy(), exact.labels)
    closeness = np.abs(exact.modes @ fast.modes.numpy().T).max(1)
    assert (closeness > 0.999).all()


def test_a_mode_is_the_dominant_line_of_what_lies_within_its_bandwidth() -> None:
    features = noisy_lines(200, 3, 8, 0.5, seed=1)
    for mode in cluster_lines(features).modes.numpy():
        inside = [f for f in features.numpy() if abs(f @ mode) >= np.sqrt(0.5)]
        assert abs(dominant_line(inside) @ mode) > 1 - 1e-5


@pytest.mark.parametrize(("bandwidth", "clusters"), [(20.0, 3), (45.0, 2), (80.0, 1)])
def test_the_bandwidth_is_an_angle(bandwidth: float, clusters: int) -> None:
    """Three lines in a plane at 0, 30 and 90 degrees, the first with most features."""
    angles = np.radians(np.repeat([0.0, 30.0, 90.0], [60, 20, 20]))
    features = torch.from_numpy(np.stack((np.cos(angles), np.sin(angles)), 1)).float()
    found = cluster_lines(features, bandwidth)
    assert len(found.modes) == clusters
    assert len(mean_shift(features.numpy(), bandwidth).modes) == clusters


def test_modes_are_farther_apart_than_the_bandwidth() -> None:
    modes = cluster_lines(noisy_lines(3 * SAMPLE, 10, 16, 1.0, seed=1)).modes
    close = (modes @ modes.T).abs().fill_diagonal_(0)
    assert len(modes) > 10
    assert float(close.max()) <= np.sqrt(0.5) + 1e-6


@pytest.mark.parametrize("noise", [0.0, 0.4, 0.8])
def test_a_map_that_is_sampled_comes_apart_into_its_regions(noise: float) -> None:
    labels, _ = tissue(160, 160, 5)
    found = cluster_lines(features_of(labels, 64, noise).flatten(1).T)
    assert found.nearest.shape[0] > 4 * SAMPLE
    numbers = found.nearest.numpy()
    for region in range(26):
        mine = numbers[labels.ravel() == region]
        most = np.bincount(mine).argmax()
        assert np.mean(mine == most) > 0.95
        assert np.sum(numbers == most) < 1.05 * len(mine)


def test_an_object_that_no_sample_met_is_found() -> None:
    labels = np.repeat(np.repeat(np.arange(9).reshape(3, 3), 80, 0), 80, 1)
    labels[5:8, 7:9] = 20  # six pixels of 57,600
    alone = labels.copy()
    alone[200, 3] = 21  # a single pixel is none
    found = cluster_lines(features_of(alone, 32, 0.2).flatten(1).T)
    assert len(found.modes) == 10
    assert same_partition(np.delete(found.nearest.numpy(), 200 * 240 + 3), np.delete(labels, 200 * 240 + 3))


def test_noise_has_no_more_modes_than_are_allowed() -> None:
    features = torch.nn.functional.normalize(torch.randn(20_000, 64, generator=torch.Generator().manual_seed(0)), dim=1)
    found = cluster_lines(features)
    assert len(found.modes) == MAXIMUM_MODES
    assert int(found.nearest.min()) >= 0


def test_modes_with_too_few_features_are_left_out_unless_there_are_no_others() -> None:
    features = features_of(np.array([[0] * 5 + [1] * 3 + [2] * 2]), 8).flatten(1).T
    assert len(cluster_lines(features).modes) == 3
    assert len(cluster_lines(features, least_support=3).modes) == 2
    assert len(cluster_lines(features, least_support=6).modes) == 3


def test_signs_seeds_and_layouts_change_nothing() -> None:
    features = features_of(tissue(90, 100, 4)[0], 32, 0.4)
    plain = cluster_lines(features.flatten(1).T).nearest.numpy()
    flipped = features * torch.where(torch.rand(features.shape[1:]) < 0.5, -1.0, 1.0)
    last = features[None].contiguous(memory_format=torch.channels_last)[0]
    others = [flipped, last, features.half(), features.bfloat16(), features.double()]
    for other in others[:2]:
        assert np.array_equal(cluster_lines(other.flatten(1).T).nearest.numpy(), plain)
    for other in others[2:]:
        assert same_partition(cluster_lines(other.flatten(1).T).nearest.numpy(), plain)
    assert same_partition(cluster_lines(features.flatten(1).T, seed=5).nearest.numpy(), plain)


def test_the_same_call_gives_the_same_bits() -> None:
    features = noisy_lines(2 * SAMPLE, 10, 32, 0.9, seed=0)
    first, second = cluster_lines(features, seed=3), cluster_lines(features, seed=3)
    assert torch.equal(first.modes, second.modes)
    assert torch.equal(first.nearest, second.nearest)
    assert torch.equal(first.similarity, second.similarity)


def test_the_number_of_threads_moves_no_pixel_of_clear_features() -> None:
    features = features_of(tissue(120, 120, 5)[0], 32, 0.5).flatten(1).T
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = cluster_lines(features).nearest
        torch.set_num_threads(2)
        two = cluster_lines(features).nearest
    finally:
        torch.set_num_threads(threads)
    assert same_partition(one.numpy(), two.numpy())


@settings(max_examples=12, deadline=None)
@given(st.integers(1, 40), st.integers(1, 70), st.integers(1, 20), st.integers(0, 1000))
def test_nearest_modes_are_those_of_the_whole_product(count: int, modes: int, dimensions: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    features = torch.nn.functional.normalize(torch.randn(count, dimensions, generator=generator), dim=1)
    lines = torch.nn.functional.normalize(torch.randn(modes, dimensions, generator=generator), dim=1)
    nearest, similarity = nearest_modes(features, lines)
    products = (features @ lines.T).abs()
    best = products.max(1).values
    torch.testing.assert_close(similarity, best, rtol=2e-5, atol=1e-6)
    torch.testing.assert_close(products.gather(1, nearest.long()[:, None])[:, 0], best, rtol=2e-5, atol=1e-6)


def test_of_equally_near_modes_the_first_is_taken() -> None:
    diagonal = torch.full((1, 2), 0.5**0.5)
    assert nearest_modes(diagonal, torch.eye(2))[0].tolist() == [0]
    assert nearest_modes(torch.eye(3)[:1], torch.eye(3)[[1, 0, 0, 2]])[0].tolist() == [1]


def test_zero_vectors_have_no_cluster() -> None:
    features = torch.zeros(300, 4)
    assert cluster_lines(features).nearest.unique().tolist() == [-1]
    assert cluster_lines(features).modes.shape == (0, 4)
    features[::2, 1] = 1
    found = cluster_lines(features)
    assert found.nearest.tolist() == [0, -1] * 150
    assert found.similarity.tolist() == [1.0, 0.0] * 150


@pytest.mark.parametrize("bandwidth", [0.0, -1.0, 90.5, float("nan")])
def test_a_bandwidth_out_of_range_is_named(bandwidth: float) -> None:
    with pytest.raises(ValueError, match="bandwidth must be above 0 and at most 90 degrees, got"):
        cluster_lines(torch.eye(3), bandwidth)


def test_features_that_are_no_unit_vectors_are_refused() -> None:
    with pytest.raises(ValueError, match=r"unit length, got one of length 2\.000"):
        cluster_lines(2 * torch.eye(3))
    broken = noisy_lines(2 * SAMPLE, 3, 8, 0.1, seed=0).clone()
    broken[77, 2] = float("nan")
    with pytest.raises(ValueError, match="must be finite"):
        cluster_lines(broken)
    with pytest.raises(ValueError, match="must be finite"):
        cluster_lines(broken[70:80])


PEAK = """
import pathlib, torch
from upseg.methods.entity.grouping import group_features
torch.set_num_threads(1)
def peak():  # of this process alone; what getrusage says includes its parent's
    status = pathlib.Path("/proc/self/status").read_text()
    return 1024 * int(status.split("VmHWM:")[1].split()[0])
def features(side):
    found = torch.zeros(64, side, side)
    found[0] = 1
    for row in range(0, side, 64):  # in place: what is made here must not count
        found[0, row : row + 60] = 0
        found[1 + row // 64, row : row + 60] = 1
    return found
def group(map):
    rest = dict(connected=True, minimum_area=30, fill_holes=True)
    ways = dict(background="void", window=192), dict(background="void"), dict()
    return [len(group_features(map, **way, **rest).scores) for way in ways]
group(features(128))
map = features(640)
before = peak()
counts = group(map)
print((peak() - before) / (map.numel() * 4), *counts)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
def test_memory_stays_below_one_and_a_half_times_the_map() -> None:
    printed = subprocess.run([sys.executable, "-c", PEAK], check=True, capture_output=True, text=True).stdout
    ratio, *counts = map(float, printed.split())
    assert counts == [10, 10, 20]
    assert 0.5 < ratio < 1.5  # with void background nearly all of the map is copied
