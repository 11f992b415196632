"""From an image to a hierarchy of segments, any level of detail of which is a label map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Float32, Int32
from torch import Tensor

from upseg.functional.label_maps import canonical_order
from upseg.methods.dynaseg.extensions.atoms import colour_gradient, enlarge, find_atoms, perceptual_colours
from upseg.methods.dynaseg.extensions.merging import MergeTree, MergeWeights, build_merge_tree
from upseg.methods.dynaseg.extensions.region_graph import build_region_graph

DEFAULT_DETAIL = 0.5
COARSEST_HEIGHT = 4.0
"""The relative height at which detail 0 cuts: a handful of segments in a photo (3.6 on BSDS500's training images)."""
REFERENCE_SEGMENTS = 5
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


def group_hierarchy(
    image: Float32[np.ndarray, "h w 3"],
    working_image: Float32[np.ndarray, "h2 w2 3"],
    response: Float[Tensor, "1 q h2 w2"] | None = None,
    features: Sequence[Float[Tensor, "1 _ _ _"]] = (),
    weights: MergeWeights | None = None,
) -> RegionHierarchy:
    """Build the region hierarchy of an image.

    Args:
        image: (H, W, 3) RGB in [0, 1] at the size of the result.
        working_image: The same image at the size of the fit; `image` itself if it was not reduced.
        response: r' at the size of the fit, if a network was fitted.
        features: Maps that regions are compared by too, as `features.imagenet_features` gives them.
        weights: Of the merging; None for the tuned ones.
    """
    atoms = find_atoms(colour_gradient(working_image))
    graph = build_region_graph(atoms, perceptual_colours(working_image), response, features)
    tree = build_merge_tree(graph, weights or MergeWeights())
    return RegionHierarchy(atoms, tree, image)
