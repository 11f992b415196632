"""The merge tree as a result: levels, nodes, and the fewest of them that match a mask."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from upseg.hierarchy import Hierarchy, MergeTree, level_details
from upseg.segmentation import Segmentation

# atoms 1..5 in a row; 4 and 5 join first, then 1 and 2, then 3 with the latter two, then all
ATOMS = np.array([[1, 1, 2, 3, 4, 5], [1, 1, 2, 3, 4, 5]], np.int32)
TREE = MergeTree(5, np.array([[3, 4], [0, 1], [2, 3], [0, 2]]), np.array([0.1, 0.2, 0.5, 0.9]))


@pytest.fixture
def hierarchy() -> Hierarchy:
    return Hierarchy(ATOMS, TREE, scale=1.0)


def random_hierarchy(seed: int, regions: int = 7) -> Hierarchy:
    generator = np.random.default_rng(seed)
    alive, merges = list(range(regions)), []
    while len(alive) > 1:
        a, b = sorted(generator.choice(alive, 2, replace=False).tolist())
        merges.append((a, b))
        alive.remove(b)
    atoms = generator.permutation(np.repeat(np.arange(1, regions + 1), 4)).reshape(4, -1).astype(np.int32)
    return Hierarchy(atoms, MergeTree(regions, np.array(merges), np.sort(generator.random(regions - 1))), scale=1.0)


class TestTree:
    def test_children_and_parents_are_numbered_after_the_regions(self) -> None:
        assert TREE.children.tolist() == [[3, 4], [0, 1], [2, 5], [6, 7]]
        assert TREE.parents.tolist() == [6, 6, 7, 5, 5, 7, 8, 8, -1]

    @pytest.mark.parametrize(
        ("merges", "message"),
        [
            ([[0, 1]], "3 regions has 2 merges"),
            ([[0, 1], [0, 3]], r"regions 0\.\.2"),
            ([[0, 1], [0, 1]], "cannot be merged again"),
            ([[0, 1], [1, 2]], "cannot be merged again"),
            ([[0, 1], [2, 2]], "cannot be merged again"),
        ],
    )
    def test_what_is_no_tree_is_refused(self, merges, message) -> None:
        with pytest.raises(ValueError, match=message):
            MergeTree(3, np.array(merges), np.zeros(len(merges)))


class TestNodes:
    def test_a_pixel_is_picked_at_a_level(self, hierarchy) -> None:
        assert [hierarchy.pick(0, 4, detail) for detail in (1.0, 0.85, 0.4, 0.0)] == [3, 5, 7, 8]
        with pytest.raises(ValueError, match=r"within 2 rows and 6 columns, got \(0, 6\)"):
            hierarchy.pick(0, 6)

    def test_climbing_ends_at_the_whole_image(self, hierarchy) -> None:
        assert hierarchy.climb(3) == [3, 5, 7, 8]
        assert hierarchy.parent_of(8) is None
        with pytest.raises(KeyError, match=r"nodes are 0\.\.8, got 9"):
            hierarchy.parent_of(9)

    def test_masks_and_areas(self, hierarchy) -> None:
        assert hierarchy.mask(5).tolist() == [[False] * 4 + [True] * 2] * 2
        assert hierarchy.mask(0, 3)[0].tolist() == [True, True, False, False, True, False]
        assert hierarchy.areas.tolist() == [4, 2, 2, 2, 2, 4, 6, 6, 12]
        assert [int(hierarchy.mask(node).sum()) for node in range(9)] == hierarchy.areas.tolist()

    @pytest.mark.parametrize("seed", range(5))
    def test_levels_are_made_of_their_nodes(self, seed) -> None:
        hierarchy = random_hierarchy(seed)
        for detail in level_details(6):
            nodes, labels = hierarchy.level(detail), hierarchy.at(detail)
            masks = {node: hierarchy.mask(node) for node in set(nodes.tolist())}
            assert len(masks) == labels.max()
            assert all(len(np.unique(labels[mask])) == 1 for mask in masks.values())

    def test_the_node_of_a_segment_is_the_segment(self, hierarchy) -> None:
        for detail in (0.0, 0.4, 0.85, 1.0):
            labels = hierarchy.at(detail)
            for label in range(1, labels.max() + 1):
                np.testing.assert_array_equal(hierarchy.mask(hierarchy.node_of(labels == label)), labels == label)


class TestUnions:
    def test_the_fewest_nodes_are_found(self, hierarchy) -> None:
        mask = np.isin(ATOMS, [2, 4, 5])
        found = hierarchy.smallest_union(mask, overlap=1.0)
        assert (found.nodes, found.iou) == ((1, 5), 1.0)
        assert hierarchy.smallest_union(mask, overlap=0.6).nodes == (5,)
        assert hierarchy.best_union(mask, 1).iou == pytest.approx(4 / 6)

    @settings(max_examples=60, deadline=None)
    @given(seed=st.integers(0, 10_000), most=st.integers(1, 4))
    def test_no_other_choice_is_better(self, seed, most) -> None:
        hierarchy = random_hierarchy(seed, regions=5)
        mask = np.random.default_rng(seed + 1).random(hierarchy.shape) < 0.4
        mask[0, 0] = True
        masks = [hierarchy.mask(node) for node in range(9)]
        choices = [some for count in range(1, most + 1) for some in combinations(masks, count)]
        best = max((union & mask).sum() / (union | mask).sum() for union in (np.any(some, axis=0) for some in choices))
        found = hierarchy.best_union(mask, most)
        union = hierarchy.mask(*found.nodes)
        assert found.iou == pytest.approx(best)
        assert found.iou == pytest.approx((union & mask).sum() / (union | mask).sum())
        assert len(found.nodes) <= most
        assert hierarchy.areas[list(found.nodes)].sum() == union.sum()  # disjoint

    def test_bad_requests(self, hierarchy) -> None:
        with pytest.raises(ValueError, match=r"at least one of \(2, 6\) pixels"):
            hierarchy.smallest_union(np.zeros((2, 6), bool))
        with pytest.raises(ValueError, match="at least 1 node, got 0"):
            hierarchy.best_union(ATOMS == 1, 0)
        with pytest.raises(ValueError, match="at least 1 level, got 0"):
            level_details(0)


class TestSegmentation:
    def test_one_result_gives_every_level(self, hierarchy) -> None:
        result = Segmentation.from_hierarchy(hierarchy, 0.85, {"method": "x", "settings": {"detail": 0.85, "seed": 1}})
        coarse = result.at(0.0)
        assert (len(result), len(coarse), len(coarse.at(1.0))) == (4, 1, 5)
        assert coarse.provenance["settings"] == {"detail": 0.0, "seed": 1}
        assert result.climb(4) == [5, 7, 8]
        assert result.pick(1, 5, detail=0.85) == 5
        assert result.smallest_union(ATOMS == 3, overlap=1.0).nodes == (2,)

    def test_a_result_of_one_level_says_so(self) -> None:
        result = Segmentation.from_labels(ATOMS)
        for ask in (lambda: result.at(0.3), lambda: result.climb(1)):
            with pytest.raises(ValueError, match="one level only"):
                ask()

    def test_parts_are_picked_and_belong_to_their_wholes(self) -> None:
        labels = np.array([[1, 2, 3, 3], [0, 1, 4, 5]])  # 3 is a part of 2, and 2 of 1; 5 of 4
        result = Segmentation.from_labels(labels, parents={3: 2, 2: 1, 5: 4})
        assert [result.pick(0, 2, detail) for detail in (1.0, 0.5, 0.0)] == [3, 2, 1]
        assert [result.pick(0, 0, detail) for detail in (1.0, 0.0)] == [1, 1]
        assert [result.pick(1, 0), result.pick(1, 0, detail=0.0)] == [0, 0]
        assert [result.parts_of(k) for k in range(1, 6)] == [[2, 3], [3], [], [5], []]
        assert [result.wholes_of(k) for k in range(1, 6)] == [[], [1], [2, 1], [], [4]]
        assert result.mask(1, parts=True).tolist() == np.isin(labels, (1, 2, 3)).tolist()
        assert result.mask(1).tolist() == (labels == 1).tolist()
        for wrong in ((2, 0, 1.0), (0, -1, 1.0), (0, 0, 1.5)):
            with pytest.raises(ValueError, match="a pixel of the 2x4 image and detail from 0 to 1"):
                result.pick(*wrong)
        with pytest.raises(KeyError):
            result.mask(6, parts=True)
