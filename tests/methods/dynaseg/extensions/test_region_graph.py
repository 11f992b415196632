"""The region graph: every fact about regions and borders counted by hand, and by loops over pixels."""

from dataclasses import fields

import numpy as np
import pytest
import torch

from tests.methods.dynaseg.extensions.region_maps import graph_of, maps_of, random_regions, random_scene
from tests.reference.dynaseg_grouping import Scene, borders, describe_region, pair_contrasts
from upseg.methods.dynaseg.extensions import region_graph as module
from upseg.methods.dynaseg.extensions.region_graph import RegionGraph, border_sums, build_region_graph

HAND_DRAWN = np.array([[1, 1, 2, 2], [1, 1, 2, 2], [1, 1, 3, 3]], np.int32)


class TestByHand:
    @pytest.fixture
    def graph(self, monkeypatch: pytest.MonkeyPatch) -> RegionGraph:
        monkeypatch.setattr(module, "REACHES", (0,))
        colours = np.array([[1, 0, 0], [2, 0, 0], [1, 0, 2]], np.float32)[HAND_DRAWN - 1]
        label = np.array([[0, 0, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1]])
        response = torch.from_numpy(np.stack([label == 0, label == 1])).float()
        return build_region_graph(HAND_DRAWN, colours, response[None])

    def test_regions(self, graph: RegionGraph) -> None:
        assert graph.pixels == 12
        assert graph.areas.tolist() == [6, 4, 2]
        assert graph.colours.tolist() == [[6, 0, 0], [8, 0, 0], [2, 0, 4]]
        assert graph.textures.tolist() == [[6, 0], [2, 2], [0, 2]]

    def test_histograms(self, graph: RegionGraph) -> None:
        assert graph.histograms.sum(1).tolist() == [18, 12, 6]
        light, red, blue = np.split(graph.histograms, 3, axis=1)
        assert (light > 0).sum(1).tolist() == (red > 0).sum(1).tolist() == (blue > 0).sum(1).tolist() == [1, 1, 1]
        assert light[0].argmax() == light[2].argmax() < light[1].argmax()
        assert len(set(red.argmax(1))) == 1
        assert blue[0].argmax() == blue[1].argmax() < blue[2].argmax()

    def test_borders(self, graph: RegionGraph) -> None:
        assert graph.edges.tolist() == [[0, 1], [0, 2], [1, 2]]
        assert graph.lengths.tolist() == [2, 1, 2]

    def test_contrasts(self, graph: RegionGraph) -> None:
        np.testing.assert_allclose(graph.contrasts[:, 0], [2 * 1, 1 * 2, 2 * 5**0.5], rtol=1e-6)
        # a third of the pixels has the second label: each channel's variance is 2/9, the spread 2/3;
        # one of two, one of one and none of two pairs of pixels have different labels, sqrt(2) apart
        np.testing.assert_allclose(graph.contrasts[:, -1], [2**0.5 * 1.5, 2**0.5 * 1.5, 0], rtol=1e-6, atol=1e-6)


class TestAgainstLoops:
    @pytest.mark.parametrize(
        ("height", "width", "count"), [(1, 9, 3), (9, 1, 3), (2, 2, 4), (11, 13, 7), (14, 9, 30), (12, 12, 1)]
    )
    def test_every_fact(self, height: int, width: int, count: int) -> None:
        regions = random_regions(height, width, count, seed=3)
        scene = random_scene(regions, seed=4)
        graph = graph_of(regions, scene)
        facts = [describe_region(regions, i, scene) for i in range(1, int(regions.max()) + 1)]
        assert graph.pixels == regions.size
        assert graph.areas.tolist() == [region.area for region in facts]
        np.testing.assert_allclose(graph.colours, [region.colour for region in facts], rtol=1e-6)
        assert graph.histograms.tolist() == [region.histogram for region in facts]
        used = np.flatnonzero(np.sum([region.textures for region in facts], axis=0))
        assert graph.textures.tolist() == [[region.textures[label] for label in used] for region in facts]
        for kind, sums in enumerate(graph.features):
            np.testing.assert_allclose(sums, [region.features[kind] for region in facts], rtol=1e-4, atol=1e-4)
        contrasts, pairs = pair_contrasts(scene), borders(regions)
        assert [(a + 1, b + 1) for a, b in graph.edges.tolist()] == list(pairs)
        assert graph.lengths.tolist() == [len(along) for along in pairs.values()]
        for sums, along in zip(graph.contrasts, pairs.values(), strict=True):
            expected = np.sum([contrasts[pair] for pair in along], axis=0)
            np.testing.assert_allclose(sums, expected, rtol=1e-4, atol=1e-5)

    def test_colours_beyond_the_range_fall_into_the_end_bins(self) -> None:
        regions = np.ones((1, 2), np.int32)
        colours = np.array([[[-9, -9, -9], [9, 9, 9]]], np.float32)
        graph = build_region_graph(regions, colours, torch.zeros(1, 1, 1, 2))
        ends = np.zeros(module.COLOUR_BINS)
        ends[[0, -1]] = 1
        assert graph.histograms.tolist() == [[*ends, *ends, *ends]]

    def test_memory_layout_precision_and_portions_do_not_matter(self, monkeypatch: pytest.MonkeyPatch) -> None:
        regions = random_regions(11, 13, 7, seed=3)
        scene = random_scene(regions, seed=4)
        graph = graph_of(regions, scene)
        monkeypatch.setattr(module, "PAIRS_AT_A_TIME", 5)
        rounded = torch.from_numpy(scene.response)[None].bfloat16().contiguous(memory_format=torch.channels_last)
        for response, tolerance in (
            (rounded, 0.02),
            (rounded.float(), 0.02),
            (torch.from_numpy(scene.response)[None], 1e-6),
        ):
            other = build_region_graph(regions, scene.colours, response, maps_of(scene))
            np.testing.assert_allclose(other.contrasts, graph.contrasts, rtol=tolerance, atol=1e-6)


class TestInvariances:
    def test_merging_regions_is_adding_rows(self) -> None:
        regions = random_regions(11, 13, 7, seed=3)
        coarse = np.where(regions == regions.max(), 1, regions).astype(np.int32)
        scene = random_scene(regions, 0)
        fine = graph_of(regions, scene)
        merged = graph_of(coarse, scene)
        for name in ("areas", "colours", "histograms", "textures"):
            expected = getattr(fine, name)[:-1].copy()
            expected[0] += getattr(fine, name)[-1]
            np.testing.assert_allclose(getattr(merged, name), expected, rtol=1e-6)
        for sums, whole in zip(fine.features, merged.features, strict=True):
            np.testing.assert_allclose(whole[0], sums[0] + sums[-1], rtol=1e-4, atol=1e-4)
        assert merged.lengths.sum() <= fine.lengths.sum()

    def test_mirroring_the_image_changes_nothing(self) -> None:
        regions = random_regions(11, 13, 7, seed=3)
        scene = random_scene(regions, 0)
        graph = graph_of(regions, scene)
        mirrored = [np.ascontiguousarray(array) for array in (scene.colours[:, ::-1], scene.response[:, :, ::-1])]
        features = [np.ascontiguousarray(maps[:, :, ::-1]) for maps in scene.features]
        boundary = np.ascontiguousarray(scene.boundary[:, ::-1])
        turned = Scene(*mirrored, *scene[2:])._replace(features=features, boundary=boundary)
        flipped = graph_of(np.ascontiguousarray(regions[:, ::-1]), turned)
        for field in fields(RegionGraph):
            found, expected = getattr(flipped, field.name), getattr(graph, field.name)
            for one, other in zip(found, expected, strict=True) if isinstance(found, tuple) else [(found, expected)]:
                np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)

    def test_the_scale_of_the_response_does_not_matter(self) -> None:
        regions = random_regions(11, 13, 7, seed=3)
        scene = random_scene(regions, 0)
        graph = graph_of(regions, scene)
        scaled = graph_of(regions, scene._replace(response=7 * scene.response))
        np.testing.assert_allclose(scaled.contrasts, graph.contrasts, rtol=1e-5)
        np.testing.assert_array_equal(scaled.textures, graph.textures)

    def test_nothing_given_is_changed(self) -> None:
        regions = random_regions(11, 13, 7, seed=3)
        scene = random_scene(regions, 0)
        given = (regions, scene.colours, scene.response)
        copies = [array.copy() for array in given]
        graph_of(regions, scene)
        for array, copy in zip(given, copies, strict=True):
            np.testing.assert_array_equal(array, copy)


class TestDegenerate:
    @pytest.mark.parametrize("size", [(1, 1), (1, 5), (4, 3)])
    def test_one_region_has_no_borders(self, size: tuple[int, int]) -> None:
        regions = np.ones(size, np.int32)
        graph = graph_of(regions, random_scene(regions, 0))
        assert graph.areas.tolist() == [size[0] * size[1]]
        assert graph.edges.shape == (0, 2)
        assert graph.lengths.shape == (0,)
        assert graph.contrasts.shape == (0, len(module.REACHES) + 1 + len(module.FEATURE_REACHES) + 1)

    def test_a_flat_response_has_no_contrast(self) -> None:
        regions = random_regions(6, 7, 4, seed=0)
        colours = random_scene(regions, 0).colours
        graph = build_region_graph(regions, colours, torch.full((1, 3, 6, 7), 0.7))
        assert graph.contrasts[:, -1].tolist() == [0] * len(graph.edges)
        assert graph.textures.shape == (int(regions.max()), 1)

    def test_sums_over_no_borders_are_real_numbers(self) -> None:
        nothing = border_sums(np.zeros(0, np.int64), np.zeros(0), 0)
        assert (nothing.shape, nothing.dtype) == ((0,), np.float64)
        assert border_sums(np.array([0, 2, 0]), np.array([1.5, 2.0, 3.0]), 3).tolist() == [4.5, 0, 2]
