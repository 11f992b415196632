"""The level that shows entities: each region of the hierarchy is scored, and the best of all its cuts becomes a level.

One height for the whole image cuts a sky into pieces where it keeps people apart. A small network, trained on COCO by
`tools/train_entity_levels.py`, says of every node how likely it is one whole entity; since no entity can have an IoU
above a half with two segments of one map, the sum of these over a cut is the number of entities that it is expected to
find, and the cut with the highest sum is found in one pass over the tree.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Float64, Int32, Int64
from safetensors.torch import load_file
from torch import Tensor, nn

from upseg.hierarchy import MergeTree
from upseg.layers.pretrained_weights import shipped_weights
from upseg.methods.dynaseg.extensions.region_graph import RegionGraph, feature_sums

FACTS = 47
"""Numbers that a node is scored by."""
HIDDEN = 48
SEGMENT_COST = 0.01
"""What a further segment must add to the number of entities found; without it a cut has hundreds of crumbs."""
LEAST_AREA = 80
"""Smaller nodes, in pixels, are never entities."""
WEIGHTS = "entity_levels"
_STRENGTHS = (1, 3, 5, 6)
"""Of `RegionGraph.contrasts`: colour further out, the finest and the coarsest features, the boundary."""
_SMALL = 1e-2


class EntityScorer(nn.Module):
    """The facts about a node to the logit of its being one whole entity (IoU at least a half)."""

    mean: Tensor
    deviation: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(FACTS))
        self.register_buffer("deviation", torch.ones(FACTS))
        self.layers = nn.Sequential(
            nn.Linear(FACTS, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 1)
        )

    def forward(self, facts: Float[Tensor, "n f"]) -> Float[Tensor, " n"]:
        """Logits (N,) of facts (N, F) as `node_facts` gives them."""
        logits: Tensor = self.layers((facts - self.mean) / self.deviation)
        return logits[:, 0]


def entity_tree(
    tree: MergeTree, graph: RegionGraph, regions: Int32[np.ndarray, "h w"], size: Float[Tensor, "1 1 h2 w2"], at: float
) -> MergeTree:
    """The same merges at other heights: those up to `at` give the best cut.

    Args:
        tree: Of the regions.
        graph: As it was before merging, with the maps of `photos`.
        regions: (H, W) ids 1..R.
        size: Of `features.PhotoMaps`.
        at: A height.
    """
    if len(tree.merges) == 0:
        return tree
    facts = node_facts(tree, graph, regions, size)
    with torch.no_grad():
        scores = _shipped()(torch.from_numpy(facts)).sigmoid().numpy().astype(np.float64)
    areas = sum_up(graph.areas[:, None], tree.children)[:, 0]
    return align(tree, best_cut(tree, np.where(areas < LEAST_AREA, 0, scores)), at)


def best_cut(tree: MergeTree, scores: Float64[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
    """Whether each node is at or below the best cut: the highest sum of scores, less `SEGMENT_COST` for each."""
    scores = scores - SEGMENT_COST
    best, whole = scores.tolist(), [True] * len(scores)
    for node, (a, b) in enumerate(tree.children.tolist(), tree.regions):
        parts = best[a] + best[b]
        if parts > best[node]:
            best[node], whole[node] = parts, False
    for node, (a, b) in zip(range(len(whole) - 1, tree.regions - 1, -1), tree.children[::-1].tolist(), strict=True):
        whole[a], whole[b] = whole[a] or whole[node], whole[b] or whole[node]
    return np.array(whole)


def align(tree: MergeTree, below: Bool[np.ndarray, " n"], at: float) -> MergeTree:
    """Change heights so that the merges up to `at` are just those of the nodes at or below a cut.

    Within each segment of the cut the heights keep their proportions, above the cut they keep their order.

    Args:
        tree: The tree.
        below: (N,) whether each node is at or below the cut; of a node so are its parts.
        at: Above 0.
    """
    own = np.concatenate([np.zeros(tree.regions), tree.heights])
    top = own.copy()  # downwards, the height of the segment of the cut that a node is in
    for node, parts in zip(range(len(own) - 1, tree.regions - 1, -1), tree.children[::-1], strict=True):
        if below[node]:
            top[parts] = top[node]
    merged = below[tree.regions :]
    shrunk = tree.heights * np.minimum(1, at / np.maximum(top[tree.regions :], 1e-12))
    raised = np.maximum(tree.heights, np.nextafter(at, np.inf))
    return MergeTree(tree.regions, tree.merges, np.where(merged, np.minimum(shrunk, at), raised))


def node_facts(
    tree: MergeTree, graph: RegionGraph, regions: Int32[np.ndarray, "h w"], size: Float[Tensor, "1 1 h2 w2"]
) -> Float32[np.ndarray, "n f"]:
    """What a node is scored by: how large, how even, how apart from its surroundings, and of what form it is."""
    height, width = regions.shape
    flat = regions.ravel().astype(np.int64) - 1
    sizes = feature_sums(flat, size, regions.shape, tree.regions)
    areas, spread, means = _evenness(tree, graph, sizes)
    length, strengths, inside = _surroundings(tree, graph)
    box = _boxes(tree, regions)
    tall, wide = (box[:, 2:] - box[:, :2] + 1).T
    rim = sum_up(np.bincount(flat, _rim(height, width), tree.regions)[:, None], tree.children)[:, 0]
    own = np.concatenate([np.zeros(tree.regions), tree.heights])
    above = np.where(tree.parents >= 0, own[tree.parents], 2 * own[-1])
    other = np.full(len(own), -1)
    other[tree.children] = tree.children[:, ::-1]
    embedding = means[:, 4:]
    log_side = 0.5 * np.log2(areas)
    columns = [
        log_side,
        log_side - 0.5 * np.log2(height * width),
        means[:, 0] - log_side,
        *spread.T,
        *np.log([own + _SMALL, above + _SMALL]),
        np.log((above + _SMALL) / (own + _SMALL)),
        *strengths.T,
        inside,
        np.log(length + rim) - 0.5 * np.log(areas),
        rim / (length + rim),
        areas / (tall * wide),
        np.log(wide / tall),
        wide / width,
        tall / height,
        np.where(other >= 0, np.linalg.norm(embedding - embedding[other], axis=1), 0),
        np.where(other >= 0, log_side[other] - log_side, 0),
        (box[:, 0] + box[:, 2]) / (2 * height),
        *embedding.T,
    ]
    return np.stack(columns, axis=1).astype(np.float32)


def sum_up(leaves: Float64[np.ndarray, "r k"], children: Int64[np.ndarray, "m 2"]) -> Float64[np.ndarray, "n k"]:
    """Sums of all nodes of a tree, of several tables at once: (R + M, K), the leaves first."""
    table = np.concatenate([leaves, np.zeros((len(children), leaves.shape[1]))])
    for node, (a, b) in enumerate(children.tolist(), len(leaves)):
        table[node] = table[a] + table[b]
    return table


def _evenness(
    tree: MergeTree, graph: RegionGraph, sizes: Float32[np.ndarray, "r 1"]
) -> tuple[Float64[np.ndarray, " n"], Float64[np.ndarray, "n 3"], Float64[np.ndarray, "n k"]]:
    """Of each node the area; how much size, colour and embedding vary between its atoms; the means of them."""
    kinds = (sizes, graph.colours, graph.features[-1])
    squares = [(sums**2).sum(1) / graph.areas for sums in kinds]
    table = sum_up(np.column_stack([graph.areas, *squares, *kinds]).astype(np.float64), tree.children)
    areas, means = table[:, 0], table[:, 4:] / table[:, :1]
    parts = np.split(means, np.cumsum([sums.shape[1] for sums in kinds])[:-1], axis=1)
    variances = [table[:, 1 + i] / areas - (part**2).sum(1) for i, part in enumerate(parts)]
    return areas, np.sqrt(np.maximum(np.stack(variances, axis=1), 0)), means


def _surroundings(
    tree: MergeTree, graph: RegionGraph
) -> tuple[Float64[np.ndarray, " n"], Float64[np.ndarray, "n 4"], Float64[np.ndarray, " n"]]:
    """Of each node the length of its outline within the image, the contrasts along it, and the boundary inside."""
    kinds = np.column_stack([graph.lengths, graph.contrasts[:, _STRENGTHS]])
    count = len(tree.parents)
    touching = np.zeros((tree.regions, kinds.shape[1]))
    for end in graph.edges.T:
        np.add.at(touching, end, kinds)
    a, b = graph.edges.T.copy()
    while np.any(a != b):  # climb from both ends to the node in which the border vanishes
        lower = np.minimum(a, b)
        moved = np.where(a == b, a, tree.parents[lower])
        a, b = np.where(a < b, moved, a), np.where(b < a, moved, b)
    within = np.zeros((count, kinds.shape[1]))
    np.add.at(within, a, kinds)
    for node, (one, other) in enumerate(tree.children.tolist(), tree.regions):
        within[node] += within[one] + within[other]
    outline = sum_up(touching, tree.children) - 2 * within
    length = np.maximum(outline[:, 0], 0)
    inside = within[:, -1] / np.maximum(within[:, 0], 1)
    return length, outline[:, 1:] / np.maximum(length, 1)[:, None], inside


def _boxes(tree: MergeTree, regions: Int32[np.ndarray, "h w"]) -> Int64[np.ndarray, "n 4"]:
    """First and last row and column: (N, 4) top, left, bottom, right."""
    height, width = regions.shape
    ends = np.tile(np.array([height, width, 0, 0]), (len(tree.parents), 1))
    flat = regions.ravel() - 1
    places = np.divmod(np.arange(flat.size), width)
    for axis, place in enumerate(places):
        np.minimum.at(ends[:, axis], flat, place)
        np.maximum.at(ends[:, axis + 2], flat, place)
    for node, (a, b) in enumerate(tree.children.tolist(), tree.regions):
        ends[node, :2] = np.minimum(ends[a, :2], ends[b, :2])
        ends[node, 2:] = np.maximum(ends[a, 2:], ends[b, 2:])
    return ends


def _rim(height: int, width: int) -> Float64[np.ndarray, " n"]:
    """How many sides of each pixel are sides of the image."""
    sides = np.zeros((height, width))
    for edge in (np.s_[0], np.s_[-1], np.s_[:, 0], np.s_[:, -1]):
        sides[edge] += 1
    return sides.ravel()


@cache
def _shipped() -> EntityScorer:
    network = EntityScorer()
    network.load_state_dict({name: tensor.float() for name, tensor in load_file(shipped_weights(WEIGHTS)).items()})
    return network.requires_grad_(False).eval()
