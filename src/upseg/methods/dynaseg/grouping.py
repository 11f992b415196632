"""From the fitted network's response to segments: the paper's label map, or a hierarchy with a level of detail."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Float32, Int32, Integer
from torch import Tensor

from upseg.functional.label_maps import canonical_order, connected_components
from upseg.methods.dynaseg.atoms import colour_gradient, find_atoms, perceptual_colours, refine_borders
from upseg.methods.dynaseg.equations import cluster_labels
from upseg.methods.dynaseg.hierarchy import MergeTree, MergeWeights, build_merge_tree
from upseg.methods.dynaseg.region_graph import build_region_graph

DEFAULT_DETAIL = 0.5
COARSEST_HEIGHT = 4.0
"""The relative height at which detail 0 cuts: a handful of segments in a photo (3.6 on BSDS500's training images)."""
REFERENCE_SEGMENTS = 8
"""Heights are taken relative to that of the merge which leaves this many segments."""


@dataclass(frozen=True)
class RegionHierarchy:
    """All levels of one image's segmentation: one fit, any level of detail.

    Attributes:
        atoms: (H2, W2) the smallest regions, 1..R, at the size of the fit.
        tree: Which of them merge at what cost.
        image: (H, W, 3) RGB in [0, 1] at the size of the result.
    """

    atoms: Int32[np.ndarray, "h2 w2"]
    tree: MergeTree
    image: Float32[np.ndarray, "h w 3"]

    def at(self, detail: float) -> Int32[np.ndarray, "h w"]:
        """The label map of one level.

        Args:
            detail: 0 (few, large) to 1 (all atoms). A level with more detail only ever splits segments; where the image
                was reduced for the fit, but for pixels along borders, which each level draws for itself.

        Returns:
            (H, W) canonical ids from 1.

        Raises:
            ValueError: If `detail` is not in [0, 1].
        """
        survivors = self.tree.cut(cut_height(self.tree, detail))
        regions = canonical_order(survivors[self.atoms - 1] + 1)[0]
        if regions.shape == self.shape:
            return regions
        return canonical_order(enlarge(regions, self._gradient))[0]

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W) in pixels."""
        return self.image.shape[0], self.image.shape[1]

    @cached_property
    def _gradient(self) -> Float32[np.ndarray, "h w"]:
        return colour_gradient(self.image)


def cut_height(tree: MergeTree, detail: float) -> float:
    """The height at which a tree is cut for a level of detail.

    It falls in proportion to 1 - detail. Half of it (geometrically) is the same for every image, so that a plain image
    has fewer segments than a busy one, and half is the image's own, so that a dull one still has some.

    Args:
        tree: Of the image.
        detail: 0 (few, large) to 1 (all).

    Raises:
        ValueError: If `detail` is not in [0, 1].
    """
    if not 0 <= detail <= 1:
        raise ValueError(f"detail must be between 0 (few, large) and 1 (all), got {detail}")
    if detail == 1 or len(tree.heights) == 0:
        return -1.0  # below every merge
    own = np.sort(tree.heights)[::-1][min(REFERENCE_SEGMENTS, len(tree.heights) - 1)]
    return COARSEST_HEIGHT * (1 - detail) * float(np.sqrt(own))


def group_labels(response: Float[Tensor, "1 q h w"], *, connected: bool) -> Int32[np.ndarray, "h w"]:
    """The label of each pixel as the paper takes it (Sec. 3.4), or its 4-connected parts.

    Args:
        response: (1, q, H, W) r'.
        connected: Whether parts of a label that do not touch are different segments.

    Returns:
        (H, W) canonical ids from 1.
    """
    labels: Integer[np.ndarray, "h w"] = cluster_labels(response)[0].cpu().numpy().astype(np.int32) + 1
    return connected_components(labels) if connected else canonical_order(labels)[0]


def group_hierarchy(
    image: Float32[np.ndarray, "h w 3"],
    working_image: Float32[np.ndarray, "h2 w2 3"],
    response: Float[Tensor, "1 q h2 w2"],
    weights: MergeWeights | None = None,
) -> RegionHierarchy:
    """Build the region hierarchy of an image.

    Args:
        image: (H, W, 3) RGB in [0, 1] at the size of the result.
        working_image: The same image at the size of the fit; `image` itself if it was not reduced.
        response: r' at the size of the fit.
        weights: Of the merging; None for the tuned ones.
    """
    atoms = find_atoms(colour_gradient(working_image))
    graph = build_region_graph(atoms, perceptual_colours(working_image), response)
    tree = build_merge_tree(graph, weights or MergeWeights())
    return RegionHierarchy(atoms, tree, image)


def enlarge(regions: Int32[np.ndarray, "h2 w2"], gradient: Float32[np.ndarray, "h w"]) -> Int32[np.ndarray, "h w"]:
    """Bring a region map to full size, its borders drawn anew where the image's are.

    Args:
        regions: Ids from 1 on a reduced version of the image.
        gradient: (H, W) of the full-size image.
    """
    height, width = gradient.shape
    rows = np.arange(height) * regions.shape[0] // height
    columns = np.arange(width) * regions.shape[1] // width
    factor = max(height / regions.shape[0], width / regions.shape[1])
    return refine_borders(regions[rows[:, None], columns], gradient, int(np.ceil(factor)))
