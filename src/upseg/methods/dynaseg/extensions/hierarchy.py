"""From an image to a hierarchy of segments, any level of detail of which is a label map."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float32
from torch import Tensor

from upseg.hierarchy import Hierarchy, MergeTree
from upseg.methods.dynaseg.extensions.atoms import colour_gradient, enlarge, find_atoms, perceptual_colours
from upseg.methods.dynaseg.extensions.entity_levels import entity_tree
from upseg.methods.dynaseg.extensions.features import PhotoMaps
from upseg.methods.dynaseg.extensions.merging import MergeWeights, build_merge_tree
from upseg.methods.dynaseg.extensions.region_graph import build_region_graph

DEFAULT_DETAIL = 0.5
COARSEST_HEIGHT = 4.4
"""The relative height at which detail 0 cuts: a handful of segments in a photo."""
REFERENCE_SEGMENTS = 5
"""Heights are taken relative to that of the merge which leaves this many segments."""


def coarsest_height(tree: MergeTree) -> float:
    """The height at which detail 0 cuts a tree; that of other levels falls in proportion to 1 - detail.

    Half of it (geometrically) is the same for every image, so that a plain image has fewer segments than a busy one,
    and half is the image's own, so that a dull one still has some. A tree without merges has no height to cut at: -1.
    """
    if len(tree.heights) == 0:
        return -1.0
    own = np.sort(tree.heights)[::-1][min(REFERENCE_SEGMENTS, len(tree.heights) - 1)]
    return COARSEST_HEIGHT * float(np.sqrt(own))


def group_hierarchy(
    image: Float32[np.ndarray, "h w 3"],
    working_image: Float32[np.ndarray, "h2 w2 3"],
    response: Float[Tensor, "1 q h2 w2"] | None = None,
    maps: PhotoMaps | None = None,
    weights: MergeWeights | None = None,
    *,
    learned_level: bool = False,
) -> Hierarchy:
    """Build the region hierarchy of an image.

    Args:
        image: (H, W, 3) RGB in [0, 1] at the size of the result.
        working_image: The same image at the size of the fit; `image` itself if it was not reduced.
        response: r' at the size of the fit, if a network was fitted.
        maps: What regions are compared by too, as `features.photo_maps` gives it; None for nothing.
        weights: Of the merging; None for the tuned ones.
        learned_level: Whether the default level shows what looks like whole entities; with the maps of `photos`.
    """
    atoms = find_atoms(colour_gradient(working_image))
    graph = build_region_graph(atoms, perceptual_colours(working_image), response, maps)
    tree = build_merge_tree(graph, weights or MergeWeights())
    scale = coarsest_height(tree)
    if learned_level:
        if maps is None or maps.size is None:
            raise ValueError("a learned level needs the maps of photos")
        tree = entity_tree(tree, graph, atoms, maps.size, scale * (1 - DEFAULT_DETAIL))
    if image.shape == working_image.shape:
        return Hierarchy(atoms, tree, scale)
    gradient = colour_gradient(image)  # all that is kept of the image
    return Hierarchy(atoms, tree, scale, lambda regions: enlarge(regions, gradient))
