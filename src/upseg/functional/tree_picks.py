"""The nodes of a binary tree of regions whose union is nearest to a mask."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64, Int64


def sum_up_tree(values: Int64[np.ndarray, " r"], children: Int64[np.ndarray, "m 2"]) -> Int64[np.ndarray, " n"]:
    """Sums of all nodes of a binary tree.

    Args:
        values: (R,) of the leaves.
        children: (M, 2) the nodes that each further node, R + m, joins; both come before it.

    Returns:
        (R + M,), the leaves first.
    """
    sums = [*values.tolist()]
    for a, b in children.tolist():
        sums.append(sums[a] + sums[b])
    return np.array(sums, np.int64)


def best_picks(
    inside: Int64[np.ndarray, " n"],
    areas: Int64[np.ndarray, " n"],
    children: Int64[np.ndarray, "m 2"],
    mask_size: int,
    most: int,
) -> tuple[list[int], float]:
    """At most so many disjoint nodes whose union has the highest IoU with a mask.

    For a given ratio t, IoU >= t means that the sum over the nodes of inside - t outside is at least t times the mask's
    size; the highest such sum comes from a table over the tree, and t from Dinkelbach's iteration, which is exact.

    Args:
        inside: (N,) pixels of each node in the mask.
        areas: (N,) pixels of each node.
        children: (M, 2) as for `sum_up_tree`.
        mask_size: Pixels of the mask.
        most: Nodes that there may be, at least 1.

    Returns:
        The nodes, and the IoU of their union.
    """
    relevant = _Relevant(inside, areas, children)
    overlaps = inside / (areas + mask_size - inside)
    nodes = [int(np.argmax(overlaps))]
    iou = float(overlaps[nodes[0]])
    while most > 1:
        better = relevant.choose(iou, most)
        shared, covered = int(inside[better].sum()), int(areas[better].sum())
        found = shared / (mask_size + covered - shared)
        if found <= iou:
            break
        nodes, iou = better, found
    return nodes, iou


class _Relevant:
    """The nodes that can gain anything: they touch the mask, and lie in none that is wholly inside of it."""

    def __init__(
        self, inside: Int64[np.ndarray, " n"], areas: Int64[np.ndarray, " n"], children: Int64[np.ndarray, "m 2"]
    ) -> None:
        self.inside, self.areas = inside, areas
        leaves = len(inside) - len(children)
        whole = (inside == areas) | (np.arange(len(inside)) < leaves)
        split = np.flatnonzero((inside > 0) & ~whole)
        self.joined = [(node, *children[node - leaves].tolist()) for node in split.tolist()]
        ends = children[split - leaves].ravel() if len(split) else np.array([len(inside) - 1])
        self.ends = [node for node in ends.tolist() if whole[node] and inside[node] > 0]

    def choose(self, ratio: float, most: int) -> list[int]:
        """The nodes with the highest sum of inside - ratio outside."""
        gains = (self.inside - ratio * (self.areas - self.inside)).tolist()
        tables: dict[int, Float64[np.ndarray, " k"]] = {}
        for end in self.ends:
            tables[end] = np.array([0.0, max(gains[end], 0.0)])
        for node, a, b in self.joined:
            table = _combine(tables.get(a), tables.get(b), most)
            table[1:] = np.maximum(table[1:], gains[node])
            tables[node] = table
        return sorted(self._trace(len(gains) - 1, most, tables, gains))

    def _trace(
        self, root: int, most: int, tables: dict[int, Float64[np.ndarray, " k"]], gains: list[float]
    ) -> list[int]:
        """Which nodes make the value at the top."""
        joined = {node: (a, b) for node, a, b in self.joined}
        picked, waiting = [], [(root, most)]
        while waiting:
            node, count = waiting.pop()
            value = _at(tables.get(node), count)
            if value <= 0:
                continue
            if gains[node] >= value:
                picked.append(node)
                continue
            a, b = joined[node]
            share = max(range(count + 1), key=lambda n: _at(tables.get(a), n) + _at(tables.get(b), count - n))
            waiting += [(a, share), (b, count - share)]
        return picked


def _at(table: Float64[np.ndarray, " k"] | None, count: int) -> float:
    """The best sum with at most so many nodes."""
    return 0.0 if table is None else float(table[min(count, len(table) - 1)])


def _combine(
    a: Float64[np.ndarray, " k"] | None, b: Float64[np.ndarray, " j"] | None, most: int
) -> Float64[np.ndarray, " l"]:
    """The best sums with 0, 1, ... nodes of two trees together; one without a table gains nothing."""
    if a is None or b is None:
        only = a if b is None else b
        return np.zeros(2) if only is None else only.copy()
    table = np.zeros(min(len(a) + len(b) - 1, most + 1))
    for count, value in enumerate(a[: len(table)].tolist()):
        stop = min(len(b), len(table) - count)
        table[count : count + stop] = np.maximum(table[count : count + stop], value + b[:stop])
    return table
