"""The hierarchy: costs by hand and by loops, the order of one-by-one merging, and what every tree must keep."""

from dataclasses import fields, replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.methods.dynaseg.extensions.region_maps import graph_of, random_regions, random_scene
from tests.reference import dynaseg_grouping as slow
from upseg.functional.label_maps import canonical_order
from upseg.hierarchy import MergeTree
from upseg.methods.dynaseg.extensions import merging as module
from upseg.methods.dynaseg.extensions import region_graph
from upseg.methods.dynaseg.extensions.merging import MergeWeights, build_merge_tree, merge_costs
from upseg.methods.dynaseg.extensions.region_graph import RegionGraph, build_region_graph

ONE_BY_ONE = 1e-9
"""As `SHARE_OF_PAIRS`: so small a share that one pair merges at a time."""


def random_graph(regions: np.ndarray, seed: int = 0) -> RegionGraph:
    return graph_of(regions, random_scene(regions, seed))


def all_costs(graph: RegionGraph, weights: MergeWeights) -> np.ndarray:
    perimeters = np.array([graph.lengths[(graph.edges == region).any(1)].sum() for region in range(len(graph.areas))])
    return merge_costs(graph, np.arange(len(graph.edges)), weights, perimeters)


def levels(tree: MergeTree) -> list[float]:
    """A height below every merge, between each two, and above them all."""
    heights = np.unique(tree.heights)
    return [-1.0, *((heights[1:] + heights[:-1]) / 2), *(heights[-1:] + 1)]


def assert_refines(fine: np.ndarray, coarse: np.ndarray) -> None:
    """Each segment of the fine map lies within one of the coarse map."""
    pairs = np.unique(np.stack([fine.ravel(), coarse.ravel()]), axis=1)
    assert len(pairs[0]) == len(np.unique(fine))


class TestCostsByHand:
    """Three regions, 6, 4 and 2 of 12 pixels: see `test_region_graph.py`, where their facts are derived."""

    NOTHING = MergeWeights(*[0.0] * 3, contrasts=(0.0, 0.0), size=0.0, least_area=0.0, shape=0.0)

    @pytest.fixture
    def graph(self, monkeypatch: pytest.MonkeyPatch) -> RegionGraph:
        monkeypatch.setattr(region_graph, "REACHES", (0,))
        regions = np.array([[1, 1, 2, 2], [1, 1, 2, 2], [1, 1, 3, 3]], np.int32)
        colours = np.array([[1, 0, 0], [2, 0, 0], [1, 0, 2]], np.float32)[regions - 1]
        label = np.array([[0, 0, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1]])
        response = torch.from_numpy(np.stack([label == 0, label == 1])).float()
        return build_region_graph(regions, colours, response[None])

    @pytest.mark.parametrize(
        ("changes", "expected"),
        [
            ({}, (0, 0, 0)),
            ({"colour": 1.0}, (1, 2, 5**0.5)),
            ({"colour": 3.0}, (3, 6, 3 * 5**0.5)),
            # one or two of the three channels are wholly in other bins
            ({"histogram": 1.0}, ((1 / 3) ** 0.5, (1 / 3) ** 0.5, (2 / 3) ** 0.5)),
            # labels (6, 0), (2, 2), (0, 2)
            ({"texture": 1.0}, ((1 - 0.5**0.5) ** 0.5, 1, (1 - 0.5**0.5) ** 0.5)),
            # means along borders of 2, 1 and 2 pairs
            ({"contrasts": (1.0, 0.0)}, (1, 2, 5**0.5)),
            ({"contrasts": (0.0, 1.0)}, (2**0.5 * 1.5 / 2, 2**0.5 * 1.5, 0)),
            ({"contrasts": (1.0, 4.0), "colour": 1.0}, (2 + 2**0.5 * 3, 4 + 2**0.5 * 6, 2 * 5**0.5)),
            # the smaller ones have 1/3, 1/6 and 1/6 of the pixels
            ({"colour": 1.0, "size": 1.0}, (1 / 3, 2 / 6, 5**0.5 / 6)),
            ({"colour": 1.0, "size": 0.5}, ((1 / 3) ** 0.5, 2 * (1 / 6) ** 0.5, (5 / 6) ** 0.5)),
            ({"colour": 1.0, "least_area": 1 / 6}, (2 / 3, 2 / 2, 5**0.5 / 2)),
            # perimeters 3, 4 and 3, so 2/3, 1/3 and 2/3 are common
            ({"colour": 1.0, "shape": 1.0}, (3 / 2, 2 * 3, 5**0.5 * 3 / 2)),
            ({"colour": 1.0, "shape": 2.0, "size": 1.0}, (9 / 4 / 3, 2 * 9 / 6, 5**0.5 * 9 / 4 / 6)),
        ],
    )
    def test_each_part(
        self, graph: RegionGraph, changes: dict[str, float], expected: tuple[float, float, float]
    ) -> None:
        costs = all_costs(graph, replace(self.NOTHING, **changes))
        np.testing.assert_allclose(costs, expected, rtol=1e-5, atol=1e-6)

    def test_only_the_edges_asked_for(self, graph: RegionGraph) -> None:
        weights = replace(self.NOTHING, colour=1.0)
        assert merge_costs(graph, np.array([2, 0]), weights, np.array([3.0, 4, 3])) == pytest.approx([5**0.5, 1])
        assert merge_costs(graph, np.zeros(0, np.int64), weights, np.array([3.0, 4, 3])).shape == (0,)

    def test_the_tree(self, graph: RegionGraph) -> None:
        tree = build_merge_tree(graph, replace(self.NOTHING, colour=1.0))
        # regions 0 and 1 first; their mean colour is then (1.4, 0, 0), that of region 2 (1, 0, 2)
        assert tree.regions == 3
        assert tree.merges.tolist() == [[0, 1], [0, 2]]
        assert tree.heights == pytest.approx([1, (0.4**2 + 4) ** 0.5])
        assert tree.heights.max() == tree.heights[1]
        assert [tree.cut(height).tolist() for height in (0.9, 1.1, 3.0)] == [[0, 1, 2], [0, 0, 2], [0, 0, 0]]


def without(name: str, place: int | None) -> MergeWeights:
    """The default weights, one of them 0."""
    value = getattr(MergeWeights(), name)
    none = 0.0 if place is None else tuple(0.0 if k == place else weight for k, weight in enumerate(value))
    return replace(MergeWeights(), **{name: none})


@pytest.mark.parametrize(
    ("name", "place"),
    [
        *((name, None) for name in ("colour", "histogram", "texture", "size", "least_area", "shape")),
        *(("features", place) for place in range(4)),
        *(("contrasts", place) for place in (0, 1, 2, 4, 5, 6)),  # the finest feature map's has the weight 0
    ],
)
def test_every_default_weight_counts(name: str, place: int | None) -> None:
    graph = random_graph(random_regions(14, 9, 12, 0))
    assert not np.allclose(all_costs(graph, MergeWeights()), all_costs(graph, without(name, place)), rtol=1e-6, atol=0)


class TestAgainstLoops:
    def test_there_is_a_weight_for_each_contrast(self) -> None:
        assert len(MergeWeights().contrasts) == random_graph(random_regions(4, 4, 3, 0)).contrasts.shape[1]

    @pytest.mark.parametrize(("height", "width", "count"), [(1, 9, 3), (2, 2, 4), (11, 13, 7), (14, 9, 25)])
    @pytest.mark.parametrize("seed", [0, 1])
    def test_costs(self, height: int, width: int, count: int, seed: int) -> None:
        regions = random_regions(height, width, count, seed)
        scene = random_scene(regions, seed + 1)
        graph = graph_of(regions, scene)
        expected = slow.merge_costs(regions, scene, MergeWeights(), slow.pair_contrasts(scene))
        assert [(a + 1, b + 1) for a, b in graph.edges.tolist()] == list(expected)
        np.testing.assert_allclose(all_costs(graph, MergeWeights()), list(expected.values()), rtol=1e-4)

    @pytest.mark.parametrize(("height", "width", "count"), [(1, 12, 5), (3, 3, 9), (11, 13, 9), (12, 10, 16)])
    @pytest.mark.parametrize("seed", [0, 1, 2])
    def test_one_by_one(self, monkeypatch: pytest.MonkeyPatch, height: int, width: int, count: int, seed: int) -> None:
        monkeypatch.setattr(module, "SHARE_OF_PAIRS", ONE_BY_ONE)
        regions = random_regions(height, width, count, seed)
        scene = random_scene(regions, seed + 1)
        tree = build_merge_tree(graph_of(regions, scene), MergeWeights())
        expected = slow.greedy_merges(regions, scene, MergeWeights())
        assert (tree.merges + 1).tolist() == [[a, b] for a, b, _ in expected]
        np.testing.assert_allclose(tree.heights, [height for *_, height in expected], rtol=1e-4)

    def test_many_at_a_time_gives_the_same_levels_where_the_order_is_clear(self) -> None:
        # four quarters of four regions each: alike within (in any order), far apart from each other
        regions = np.kron(np.arange(1, 17).reshape(4, 4), np.ones((4, 4), np.int64)).astype(np.int32)
        generator = np.random.default_rng(0)
        quarters = np.kron([[0, 1], [2, 3]], np.ones((8, 8), np.int64))
        colours = np.array([[1, 1, 0], [4, -2, 2], [2, 2, -2], [3, 0, 1]])[quarters]
        colours = (colours + generator.normal(0, 0.05, colours.shape)).astype(np.float32)
        response = torch.from_numpy(np.stack([quarters == label for label in range(4)])).float()
        tree = build_merge_tree(build_region_graph(regions, colours, response[None]), MergeWeights())
        assert (tree.heights[:12] < tree.heights[12:].min()).all()
        between = (tree.heights[11] + tree.heights[12]) / 2
        found = tree.cut(float(between))[regions - 1]
        np.testing.assert_array_equal(canonical_order(found + 1)[0], canonical_order(quarters + 1)[0])


class TestEveryTree:
    @settings(max_examples=25, deadline=None)
    @given(height=st.integers(1, 14), width=st.integers(1, 14), count=st.integers(1, 40), seed=st.integers(0, 999))
    def test_is_a_tree_with_rising_heights(self, height: int, width: int, count: int, seed: int) -> None:
        regions = random_regions(height, width, count, seed)
        tree = build_merge_tree(random_graph(regions, seed), MergeWeights())
        assert tree.regions == int(regions.max())
        assert tree.merges.shape == (tree.regions - 1, 2)  # an image is connected: in the end all is one
        assert len(set(tree.merges[:, 1].tolist())) == tree.regions - 1
        reached, gone = np.zeros(tree.regions), set()
        for (survivor, joined), merged_at in zip(tree.merges.tolist(), tree.heights, strict=True):
            assert not gone & {survivor, joined}
            gone.add(joined)
            assert merged_at >= max(reached[survivor], reached[joined])
            reached[survivor] = merged_at

    @settings(max_examples=25, deadline=None)
    @given(height=st.integers(1, 14), width=st.integers(1, 14), count=st.integers(1, 40), seed=st.integers(0, 999))
    def test_cuts_are_nested_and_connected_and_complete(self, height: int, width: int, count: int, seed: int) -> None:
        regions = random_regions(height, width, count, seed)
        tree = build_merge_tree(random_graph(regions, seed), MergeWeights())
        maps = [tree.cut(level)[regions - 1] + 1 for level in levels(tree)]
        np.testing.assert_array_equal(maps[0], regions)
        assert (maps[-1] == 1).all()
        for fine, coarse in pairwise(maps):
            assert_refines(fine, coarse)
            assert len(np.unique(coarse)) < len(np.unique(fine))
        for labels in maps:
            np.testing.assert_array_equal(slow.connected_parts(labels), canonical_order(labels)[0])

    @settings(max_examples=25, deadline=None)
    @given(count=st.integers(2, 30), seed=st.integers(0, 999), share=st.sampled_from([ONE_BY_ONE, 0.5, 1.0]))
    def test_the_names_of_the_regions_do_not_matter(self, count: int, seed: int, share: float) -> None:
        regions = random_regions(12, 11, count, seed)
        scene = random_scene(regions, seed)
        names = np.random.default_rng(seed).permutation(int(regions.max())).astype(np.int32) + 1
        renamed = names[regions - 1]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "SHARE_OF_PAIRS", share)
            tree, other = (build_merge_tree(graph_of(ids, scene), MergeWeights()) for ids in (regions, renamed))
        np.testing.assert_allclose(np.sort(other.heights), np.sort(tree.heights), rtol=1e-6)
        for level in levels(tree):
            expected, found = tree.cut(level)[regions - 1], other.cut(level)[renamed - 1]
            np.testing.assert_array_equal(canonical_order(found + 1)[0], canonical_order(expected + 1)[0])

    def test_regions_that_are_all_the_same_merge_at_once(self) -> None:
        regions = random_regions(12, 11, 20, 0)
        flat = np.zeros((12, 11, 3), np.float32)
        tree = build_merge_tree(build_region_graph(regions, flat, torch.zeros(1, 3, 12, 11)), MergeWeights())
        assert tree.heights.max() < 1e-3
        assert (tree.cut(tree.heights.max(initial=0.0)) == 0).all()

    @pytest.mark.parametrize("share", [ONE_BY_ONE, 0.5, 1.0])
    def test_building_it_leaves_the_graph_as_it_was(self, monkeypatch: pytest.MonkeyPatch, share: float) -> None:
        monkeypatch.setattr(module, "SHARE_OF_PAIRS", share)
        graph, copy = (random_graph(random_regions(12, 11, 20, 0)) for _ in range(2))
        first = build_merge_tree(graph, MergeWeights())
        for field in fields(RegionGraph):
            kept, expected = getattr(graph, field.name), getattr(copy, field.name)
            for one, other in zip(kept, expected, strict=True) if isinstance(kept, tuple) else [(kept, expected)]:
                np.testing.assert_array_equal(one, other)
        again = build_merge_tree(graph, MergeWeights())
        np.testing.assert_array_equal(again.merges, first.merges)
        np.testing.assert_array_equal(again.heights, first.heights)

    def test_one_region(self) -> None:
        tree = build_merge_tree(random_graph(np.ones((3, 4), np.int32)), MergeWeights())
        assert (tree.regions, tree.merges.shape, tree.heights.shape) == (1, (0, 2), (0,))
        assert tree.cut(9.0).tolist() == [0]


class TestCut:
    def test_merges_up_to_the_height_count_the_same_height_included(self) -> None:
        tree = MergeTree(5, np.array([[3, 4], [0, 1], [2, 3], [0, 2]]), np.array([0.1, 0.2, 0.3, 0.4]))
        expected = {
            0.05: [0, 1, 2, 3, 4],
            0.1: [0, 1, 2, 3, 3],
            0.25: [0, 0, 2, 3, 3],
            0.3: [0, 0, 2, 2, 2],
            1.0: [0] * 5,
        }
        assert {height: tree.cut(height).tolist() for height in expected} == expected

    def test_long_chains_end_at_their_survivor(self) -> None:
        count = 1000
        merges = np.stack([np.arange(count - 1), np.arange(1, count)], axis=1)[
            ::-1
        ]  # 998 takes 999, 997 takes 998, ...
        tree = MergeTree(count, merges, np.arange(count - 1) / count)
        assert (tree.cut(1.0) == 0).all()
        assert tree.cut(0.5).max() == tree.cut(0.5)[-1] == 1000 - 502
