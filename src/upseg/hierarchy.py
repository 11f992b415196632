"""All levels of one image's segmentation as one result: which regions merge, in what order, at which detail."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float64, Int32, Int64

from upseg.functional.label_maps import canonical_order, segment_areas
from upseg.functional.tree_picks import best_picks, sum_up_tree


@dataclass(frozen=True)
class MergeTree:
    """A binary tree over R regions, lowest merges first in each branch.

    Attributes:
        regions: R.
        merges: (M, 2): region (its survivor's index) and the one that joins it, in the order of merging.
        heights: (M,) the cost of each merge, never below that of the merges it builds on.
    """

    regions: int
    merges: Int64[np.ndarray, "m 2"]
    heights: Float64[np.ndarray, " m"]

    def __post_init__(self) -> None:
        if len(self.merges) != self.regions - 1 or self.merges.shape != (len(self.heights), 2):
            raise ValueError(
                f"a tree over {self.regions} regions has {self.regions - 1} merges of two and as many heights, "
                f"got {self.merges.shape} and {self.heights.shape}"
            )
        survivors, joining = self.merges.T
        steps = np.arange(len(joining))
        last = np.full(self.regions, len(joining))  # the step in which each region joins another
        if self.merges.size and (self.merges.min() < 0 or self.merges.max() >= self.regions):
            raise ValueError(f"merges must be of the regions 0..{self.regions - 1}")
        last[joining] = steps
        if np.any(last[joining] != steps) or np.any(last[survivors] <= steps):
            raise ValueError("a region that has joined another cannot be merged again")

    def cut(self, height: float) -> Int32[np.ndarray, " r"]:
        """The survivor that each region belongs to when all merges up to a height are done: (R,)."""
        parents = np.arange(self.regions, dtype=np.int32)
        done = self.merges[self.heights <= height]
        parents[done[:, 1]] = done[:, 0]
        while True:  # each pass halves the longest way to a survivor
            above = parents[parents]
            if np.array_equal(above, parents):
                return parents
            parents = above

    @cached_property
    def children(self) -> Int64[np.ndarray, "m 2"]:
        """The two nodes that each merge joins: regions are the nodes 0..R-1, the m-th merge is the node R + m."""
        current = np.arange(self.regions)
        joined = np.empty_like(self.merges)
        for number, (survivor, other) in enumerate(self.merges):
            joined[number] = current[survivor], current[other]
            current[survivor] = self.regions + number
        return joined

    @cached_property
    def parents(self) -> Int64[np.ndarray, " n"]:
        """For each of the R + M nodes the node that it merges into; -1 at the top."""
        parents = np.full(self.regions + len(self.merges), -1)
        parents[self.children] = np.arange(self.regions, len(parents))[:, None]
        return parents


@dataclass(frozen=True)
class Union:
    """Nodes of a hierarchy that together are nearest to a mask.

    Attributes:
        nodes: Disjoint, by the first of their atoms.
        iou: Intersection over union of all of them with the mask, in [0, 1].
    """

    nodes: tuple[int, ...]
    iou: float


@dataclass(frozen=True, eq=False)
class Hierarchy:
    """Every level of detail of one image, and every segment of any level as a numbered node.

    Nodes 0..R-1 are the atoms, each later one is the union of two. A level is what the tree gives when all merges up to
    a height are done, and a level of more detail splits segments and joins none.

    Attributes:
        regions: (H2, W2) the atoms, 1..R, at the size at which they were found.
        tree: Which of them merge at what height.
        scale: The height up to which merges are done at detail 0; it falls in proportion to 1 - detail.
        enlarge: Draws a map of regions at the size of the image; None where that is their size.

    Example:
        >>> tree = MergeTree(3, np.array([[0, 1], [0, 2]]), np.array([0.2, 0.7]))
        >>> hierarchy = Hierarchy(np.array([[1, 2, 3]], np.int32), tree, scale=1.0)
        >>> [hierarchy.at(detail).tolist() for detail in (0.0, 0.5, 1.0)]
        [[[1, 1, 1]], [[1, 1, 2]], [[1, 2, 3]]]
        >>> hierarchy.climb(hierarchy.pick(0, 1, detail=1.0))
        [1, 3, 4]
    """

    regions: Int32[np.ndarray, "h2 w2"]
    tree: MergeTree
    scale: float
    enlarge: Callable[[Int32[np.ndarray, "h2 w2"]], Int32[np.ndarray, "h w"]] | None = None

    def __repr__(self) -> str:
        height, width = self.regions.shape
        return f"Hierarchy({self.tree.regions} atoms of {height}x{width}, {len(self.tree.merges)} merges)"

    @cached_property
    def atoms(self) -> Int32[np.ndarray, "h w"]:
        """(H, W) the atoms at the size of the image, 1..R."""
        return self.regions if self.enlarge is None else self.enlarge(self.regions)

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W) in pixels."""
        return self.atoms.shape[0], self.atoms.shape[1]

    def at(self, detail: float) -> Int32[np.ndarray, "h w"]:
        """The label map of one level.

        Args:
            detail: 0 (few, large) to 1 (all atoms). A level with more detail splits segments and joins none; where the
                image was reduced for the fit, but for pixels along borders, which each level draws for itself.

        Returns:
            (H, W) canonical ids from 1.

        Raises:
            ValueError: If `detail` is not in [0, 1].
        """
        survivors = self.tree.cut(self.cut_height(detail))
        labels = canonical_order(survivors[self.regions - 1] + 1)[0]
        return labels if self.enlarge is None else canonical_order(self.enlarge(labels))[0]

    def cut_height(self, detail: float) -> float:
        """The height at which a level of detail cuts the tree; below every merge for detail 1.

        Raises:
            ValueError: If `detail` is not in [0, 1].
        """
        if not 0 <= detail <= 1:
            raise ValueError(f"detail must be between 0 (few, large) and 1 (all), got {detail}")
        return -1.0 if detail == 1 else self.scale * (1 - detail)

    def level(self, detail: float) -> Int64[np.ndarray, " r"]:
        """The node that each atom belongs to at a level of detail: (R,)."""
        done = np.flatnonzero(self.tree.heights <= self.cut_height(detail))
        nodes = np.arange(len(self.tree.parents))
        # downwards, so that the node above is already the one that stands at this level
        for number in done[::-1]:
            nodes[self.tree.children[number]] = nodes[self.tree.regions + number]
        return nodes[: self.tree.regions]

    def pick(self, row: int, column: int, detail: float = 1.0) -> int:
        """The node at a pixel at a level of detail.

        Raises:
            ValueError: If the pixel is outside the image, or `detail` is not in [0, 1].
        """
        height, width = self.shape
        if not (0 <= row < height and 0 <= column < width):
            raise ValueError(f"the pixel must be within {height} rows and {width} columns, got ({row}, {column})")
        return int(self.level(detail)[self.atoms[row, column] - 1])

    def parent_of(self, node: int) -> int | None:
        """The node that one merges into; None at the top.

        Raises:
            KeyError: If there is no such node.
        """
        if not 0 <= node < len(self.tree.parents):
            raise KeyError(f"nodes are 0..{len(self.tree.parents) - 1}, got {node}")
        above = int(self.tree.parents[node])
        return None if above < 0 else above

    def climb(self, node: int) -> list[int]:
        """A node and all that contain it, the smallest first; errors as for `parent_of`."""
        found = [node]
        while (above := self.parent_of(found[-1])) is not None:
            found.append(above)
        return found

    def mask(self, *nodes: int) -> Bool[np.ndarray, "h w"]:
        """The (H, W) mask of a node, or of several together."""
        chosen = np.zeros(len(self.tree.parents), bool)
        chosen[list(nodes)] = True
        for number in range(len(self.tree.merges) - 1, -1, -1):
            chosen[self.tree.children[number]] |= chosen[self.tree.regions + number]
        return np.asarray(chosen[self.atoms - 1])

    @cached_property
    def areas(self) -> Int64[np.ndarray, " n"]:
        """Pixels of each node: (R + M,)."""
        return sum_up_tree(segment_areas(self.atoms)[1:], self.tree.children)

    def node_of(self, mask: Bool[np.ndarray, "h w"]) -> int:
        """The one node nearest to a mask, by IoU; errors as for `smallest_union`."""
        inside = self._inside(mask)
        return int(np.argmax(inside / (self.areas + np.count_nonzero(mask) - inside)))

    def smallest_union(self, mask: Bool[np.ndarray, "h w"], overlap: float = 0.75, most: int = 8) -> Union:
        """The fewest nodes whose union has an IoU with a mask of at least `overlap`; exact.

        Args:
            mask: (H, W), with at least one pixel.
            overlap: In [0, 1].
            most: The nodes there may be, at least 1.

        Returns:
            The nodes, and the IoU that they reach; where `most` are not enough, the best that they can do.

        Raises:
            ValueError: If the mask has another shape or is empty, or `most` is below 1.
        """
        for count in range(1, most):
            found = self.best_union(mask, count)
            if found.iou >= overlap:
                return found
        return self.best_union(mask, most)

    def best_union(self, mask: Bool[np.ndarray, "h w"], most: int) -> Union:
        """The at most so many nodes whose union has the highest IoU with a mask; as `smallest_union`."""
        if most < 1:
            raise ValueError(f"there must be at least 1 node, got {most}")
        nodes, iou = best_picks(self._inside(mask), self.areas, self.tree.children, int(np.count_nonzero(mask)), most)
        return Union(tuple(nodes), iou)

    def _inside(self, mask: Bool[np.ndarray, "h w"]) -> Int64[np.ndarray, " n"]:
        """The pixels of each node that are in a mask."""
        if mask.shape != self.shape or not mask.any():
            raise ValueError(f"the mask must have at least one of {self.shape} pixels, got {mask.shape}")
        counts = np.bincount(self.atoms[mask] - 1, minlength=self.tree.regions)
        return sum_up_tree(counts, self.tree.children)


def level_details(count: int) -> list[float]:
    """The details of so many levels, evenly from 0 (few, large segments) towards 1.

    Raises:
        ValueError: If there is not at least one.

    Example:
        >>> level_details(4)
        [0.0, 0.25, 0.5, 0.75]
    """
    if count < 1:
        raise ValueError(f"there must be at least 1 level, got {count}")
    return [number / count for number in range(count)]
