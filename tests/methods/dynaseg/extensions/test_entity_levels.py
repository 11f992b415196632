"""The learned level: the best cut is the best of all, heights change and merges do not, facts are the pixels'."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from tests.methods.dynaseg.extensions.region_maps import graph_of, random_regions, random_scene
from upseg.hierarchy import MergeTree
from upseg.methods.dynaseg.extensions.embedding import DIMENSIONS
from upseg.methods.dynaseg.extensions.entity_levels import (
    FACTS,
    SEGMENT_COST,
    EntityScorer,
    align,
    best_cut,
    entity_tree,
    node_facts,
)
from upseg.methods.dynaseg.extensions.merging import MergeWeights, build_merge_tree
from upseg.methods.dynaseg.segmenter import DynaSegSegmenter
from upseg.methods.dynaseg.settings import DynaSegSettings


def random_tree(regions: int, seed: int) -> MergeTree:
    """Any two of the regions left merge, at growing heights."""
    rng = np.random.default_rng(seed)
    left, merges = list(range(regions)), []
    while len(left) > 1:
        a, b = sorted(rng.choice(left, 2, replace=False).tolist())
        merges.append((a, b))
        left.remove(b)
    return MergeTree(regions, np.array(merges, np.int64).reshape(-1, 2), np.sort(rng.random(regions - 1)))


def cuts_below(tree: MergeTree, node: int) -> Iterator[frozenset[int]]:
    yield frozenset({node})
    if node >= tree.regions:
        a, b = tree.children[node - tree.regions].tolist()
        for one in cuts_below(tree, a):
            for other in cuts_below(tree, b):
                yield one | other


def tops(tree: MergeTree, below: np.ndarray) -> set[int]:
    above = np.where(tree.parents >= 0, below[tree.parents], False)
    return set(np.flatnonzero(below & ~above).tolist())


class TestBestCut:
    @pytest.mark.parametrize("regions", [1, 2, 5, 8])
    @pytest.mark.parametrize("seed", [0, 1, 2])
    def test_it_is_the_best_of_all(self, regions: int, seed: int) -> None:
        tree = random_tree(regions, seed)
        scores = np.random.default_rng(seed).random(2 * regions - 1) ** 3
        found = tops(tree, best_cut(tree, scores))
        value = {cut: sum(scores[n] - SEGMENT_COST for n in cut) for cut in cuts_below(tree, 2 * regions - 2)}
        assert value[frozenset(found)] == pytest.approx(max(value.values()))

    def test_nodes_that_are_nothing_are_merged(self) -> None:
        tree = random_tree(6, 0)
        assert tops(tree, best_cut(tree, np.zeros(11))) == {10}


class TestAlign:
    @pytest.mark.parametrize("seed", range(5))
    def test_the_cut_is_the_level_at_that_height(self, seed: int) -> None:
        tree = random_tree(9, seed)
        below = best_cut(tree, np.random.default_rng(seed).random(17) ** 2)
        other = align(tree, below, 0.4)
        np.testing.assert_array_equal(other.merges, tree.merges)
        chosen = {n for n in range(9) if below[n]} | {9 + i for i in range(8) if other.heights[i] <= 0.4}
        assert chosen == set(np.flatnonzero(below).tolist())
        # no merge is below those that it builds on
        own = np.concatenate([np.zeros(9), other.heights])
        assert all(own[9 + i] >= own[parts].max() for i, parts in enumerate(other.children))

    def test_within_a_segment_heights_keep_their_proportions(self) -> None:
        tree = MergeTree(3, np.array([[0, 1], [0, 2]]), np.array([0.3, 0.6]))
        assert align(tree, np.ones(5, bool), 0.2).heights == pytest.approx([0.1, 0.2])
        assert align(tree, np.ones(5, bool), 0.9).heights == pytest.approx([0.3, 0.6])
        below = np.array([True, True, True, True, False])
        assert align(tree, below, 0.2).heights == pytest.approx([0.2, 0.6])
        assert align(tree, below, 0.7).heights[1] > 0.7


class TestFacts:
    def facts(self, seed: int = 3) -> tuple[np.ndarray, MergeTree, np.ndarray, np.ndarray, np.ndarray]:
        regions = random_regions(11, 13, 9, seed)
        scene = random_scene(regions, seed)
        graph = graph_of(regions, scene)
        tree = build_merge_tree(graph, MergeWeights())
        size = torch.rand(1, 1, 11, 13, generator=torch.Generator().manual_seed(1))
        return node_facts(tree, graph, regions, size), tree, regions, scene.boundary, size[0, 0].numpy()

    def test_they_are_those_of_the_pixels(self) -> None:
        facts, tree, regions, boundary, size = self.facts()
        members = [{region} for region in range(tree.regions)]
        for a, b in tree.children.tolist():
            members.append(members[a] | members[b])
        # the embedding here has 5 dimensions in place of 24
        assert facts.shape == (len(members), FACTS - DIMENSIONS + 5)
        for node, own in enumerate(members):
            mask = np.isin(regions - 1, list(own))
            area, (rows, columns) = mask.sum(), np.nonzero(mask)
            along = []
            for here, there in ((np.s_[:, :-1], np.s_[:, 1:]), (np.s_[:-1], np.s_[1:])):
                differs = mask[here] != mask[there]
                along += ((boundary[here] + boundary[there]) / 2)[differs].tolist()
            rim = mask[0].sum() + mask[-1].sum() + mask[:, 0].sum() + mask[:, -1].sum()
            assert facts[node, 0] == pytest.approx(0.5 * np.log2(area), abs=1e-5)
            assert facts[node, 2] == pytest.approx(size[mask].mean() - 0.5 * np.log2(area), abs=1e-4)
            assert facts[node, 12] == pytest.approx(np.mean(along) if along else 0, abs=1e-4)
            assert facts[node, 15] == pytest.approx(rim / (rim + len(along)), abs=1e-5)
            box = (np.ptp(rows) + 1) * (np.ptp(columns) + 1)
            assert facts[node, 16] == pytest.approx(area / box, abs=1e-5)

    def test_they_are_finite_for_one_region(self) -> None:
        regions = np.ones((3, 4), np.int32)
        graph = graph_of(regions, random_scene(regions, 0))
        tree = build_merge_tree(graph, MergeWeights())
        size = torch.zeros(1, 1, 1, 1)
        assert entity_tree(tree, graph, regions, size, 1.0) is tree


class TestScorer:
    def test_one_logit_for_each_node(self) -> None:
        network = EntityScorer()
        network.deviation.fill_(2)
        facts = torch.rand(5, FACTS)
        assert network(facts).shape == (5,)
        torch.testing.assert_close(network(facts), network.layers(facts / 2)[:, 0])


class TestInUse:
    def test_only_the_level_changes(self) -> None:
        image = np.random.default_rng(0).integers(0, 255, (40, 56, 3), np.uint8)
        image[8:30, 10:40] //= 4
        plain, learned = (
            DynaSegSegmenter(DynaSegSettings(compare_by="photos", learned_level=on)).hierarchy(image)
            for on in (False, True)
        )
        np.testing.assert_array_equal(plain.tree.merges, learned.tree.merges)
        np.testing.assert_array_equal(plain.atoms, learned.atoms)
        assert plain.scale == learned.scale

    @pytest.mark.parametrize("wrong", [{"compare_by": "imagenet"}, {"grouping": "labels", "steps": 5}])
    def test_it_needs_the_hierarchy_and_what_photos_taught(self, wrong: dict[str, object]) -> None:
        with pytest.raises(ValueError, match="it needs compare_by=photos and grouping=hierarchy"):
            DynaSegSettings(**{"compare_by": "photos", "learned_level": True, **wrong})
