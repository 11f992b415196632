"""The region hierarchy: which regions merge, and in what order."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float64, Int64

from upseg.hierarchy import MergeTree
from upseg.methods.dynaseg.extensions.region_graph import RegionGraph, border_sums

SHARE_OF_PAIRS = 0.5
"""Of the pairs that would both rather merge with each other, the share (the cheapest) that merges before all costs
are looked at again."""
_SUMS = ("areas", "colours", "histograms", "textures")


@dataclass(frozen=True)
class MergeWeights:
    """How much each difference between two neighbouring regions counts; tuned on the training images of BSDS500.

    The cost of merging regions a and b is

        (sum of weight x difference) x m^size x m / (m + least_area) x (length / perimeter)^-shape

    with m the smaller one's share of the image's pixels and perimeter the smaller of the two perimeters.

    Attributes:
        colour: Of the distance between mean colours.
        histogram: Of the Hellinger distance between colour histograms.
        texture: Of the Hellinger distance between histograms of the network's labels.
        features: Of the distance between mean values, for each feature map.
        contrasts: Of the mean differences across the shared border, as in `RegionGraph.contrasts`; those of feature
            maps that the graph does not have are not used.
        size: Exponent of the smaller region's share of the image.
        least_area: Share of the image below which a region is cheap to merge whatever it looks like.
        shape: Exponent of the share of the perimeter that is common.
    """

    colour: float = 2.8
    histogram: float = 1.7
    texture: float = 2.2
    features: tuple[float, ...] = (0.8, 1.0, 1.5, 0.8)
    contrasts: tuple[float, ...] = (0.7, 3.4, 3.4, 0.0, 1.5, 0.5, 3.0)
    size: float = 0.06
    least_area: float = 3e-5
    shape: float = 0.11


def merge_costs(
    graph: RegionGraph, which: Int64[np.ndarray, " s"], weights: MergeWeights, perimeters: Float64[np.ndarray, " r"]
) -> Float64[np.ndarray, " s"]:
    """The cost of merging the two regions of some edges.

    Args:
        graph: The regions.
        which: (S,) indices of edges.
        weights: Of the differences.
        perimeters: (R,) lengths of the regions' borders to other regions.
    """
    a, b = graph.edges[which].T
    area_a, area_b = graph.areas[a], graph.areas[b]
    colour = graph.colours[a] / area_a[:, None] - graph.colours[b] / area_b[:, None]
    cost = weights.colour * np.sqrt((colour**2).sum(1))
    cost += weights.histogram * _hellinger(graph.histograms[a], graph.histograms[b], 3 * area_a, 3 * area_b)
    cost += weights.texture * _hellinger(graph.textures[a], graph.textures[b], area_a, area_b)
    for weight, sums in zip(weights.features, graph.features, strict=False):
        cost += weight * np.linalg.norm(sums[a] / area_a[:, None] - sums[b] / area_b[:, None], axis=1)
    kinds = graph.contrasts.shape[1]
    cost += graph.contrasts[which] @ np.array(weights.contrasts[:kinds]) / graph.lengths[which]
    share = np.minimum(area_a, area_b) / graph.pixels
    common = graph.lengths[which] / np.minimum(perimeters[a], perimeters[b])
    size_factor: Float64[np.ndarray, " s"] = share**weights.size * share / (share + weights.least_area)
    return np.asarray(cost * size_factor * common**-weights.shape)


def build_merge_tree(graph: RegionGraph, weights: MergeWeights) -> MergeTree:
    """Merge neighbours until no borders are left.

    In each round every region looks at its cheapest border; where two regions choose each other they merge, the
    cheapest `SHARE_OF_PAIRS` of such pairs at a time. That is the order of one-by-one merging wherever a merge does
    not make another one cheaper, with tens of rounds over arrays in place of one step for each merge.
    """
    count = len(graph.areas)
    tables = {name: getattr(graph, name).copy() for name in _SUMS}  # merging adds to them in place
    graph = replace(graph, **tables, features=tuple(table.copy() for table in graph.features))
    survivors: list[Int64[np.ndarray, "n 2"]] = []
    levels: list[Float64[np.ndarray, " n"]] = []
    reached = np.zeros(count)  # height of the last merge in each region
    changed = np.ones(count, bool)
    costs = np.zeros(len(graph.edges))
    while len(graph.edges):
        perimeters = np.asarray(sum(np.bincount(ends, graph.lengths, count) for ends in graph.edges.T))
        stale = np.flatnonzero(changed[graph.edges].any(1))
        costs[stale] = merge_costs(graph, stale, weights, perimeters)
        chosen = _mutual_choices(graph.edges, costs, count)
        a, b = graph.edges[chosen].T
        reached[a] = np.maximum(costs[chosen], np.maximum(reached[a], reached[b]))
        survivors.append(graph.edges[chosen])
        levels.append(reached[a])
        changed = np.zeros(count, bool)
        changed[a] = True
        graph, costs = _merge(graph, costs, a, b)
    if not survivors:
        return MergeTree(count, np.zeros((0, 2), np.int64), np.zeros(0))
    return MergeTree(count, np.concatenate(survivors), np.concatenate(levels))


def _hellinger(
    a: np.ndarray, b: np.ndarray, total_a: Float64[np.ndarray, " s"], total_b: Float64[np.ndarray, " s"]
) -> Float64[np.ndarray, " s"]:
    overlap = np.sqrt(a * b).sum(1) / np.sqrt(total_a * total_b)
    return np.asarray(np.sqrt(np.maximum(1 - overlap, 0)))


def _mutual_choices(
    edges: Int64[np.ndarray, "e 2"], costs: Float64[np.ndarray, " e"], count: int
) -> Int64[np.ndarray, " n"]:
    """Edges that are the cheapest of both their regions (the lower index in a tie), the cheapest share of them."""
    order = np.argsort(costs, kind="stable")
    ranks = np.empty(len(edges), np.int64)
    ranks[order] = np.arange(len(edges))
    best = np.full(count, len(edges))
    np.minimum.at(best, edges[:, 0], ranks)
    np.minimum.at(best, edges[:, 1], ranks)
    mutual: Bool[np.ndarray, " e"] = (best[edges] == ranks[:, None]).all(1)
    ranked = order[mutual[order]]
    return np.asarray(ranked[: max(1, int(np.ceil(len(ranked) * SHARE_OF_PAIRS)))])


def _merge(
    graph: RegionGraph, costs: Float64[np.ndarray, " e"], a: Int64[np.ndarray, " n"], b: Int64[np.ndarray, " n"]
) -> tuple[RegionGraph, Float64[np.ndarray, " joined"]]:
    """Add the rows of regions `b` to those of `a` in place, and join the borders that have become one."""
    for table in (*(getattr(graph, name) for name in _SUMS), *graph.features):
        table[a] += table[b]
    renamed = np.arange(len(graph.areas))
    renamed[b] = a
    edges = renamed[graph.edges]
    kept = np.flatnonzero(edges[:, 0] != edges[:, 1])
    edges = np.sort(edges[kept], axis=1)
    keys, first, inverse = np.unique(
        edges[:, 0] * len(graph.areas) + edges[:, 1], return_index=True, return_inverse=True
    )
    joined = replace(
        graph,
        edges=np.stack(np.divmod(keys, len(graph.areas)), axis=1),
        lengths=border_sums(inverse, graph.lengths[kept], len(keys)),
        contrasts=np.stack([border_sums(inverse, column[kept], len(keys)) for column in graph.contrasts.T], axis=1),
    )
    return joined, costs[kept][first]
