"""Atoms: the smallest regions the hierarchy is built from, basins of the image's own colour gradient.

The network's label map has bands of mixed labels along every border, as wide as its receptive field. Merging atoms by
what the network says about them keeps its grouping and gives the borders to the image.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32, Int32
from scipy import ndimage, sparse
from skimage.color import rgb2lab
from skimage.segmentation import watershed

from upseg.functional.label_maps import border_pixels, canonical_order

LAB_UNIT = 20.0
"""CIELAB is divided by this, so that a clearly visible difference of colour is about 1."""
GRADIENT_SIGMA = 1.0
"""Smoothing in pixels before the gradient is taken."""
GRADIENT_REACH = int(4 * GRADIENT_SIGMA) + 2
"""Pixels that smoothing and differences reach."""
LEAST_DEPTH = 0.12
"""Basins shallower than this, in units of the gradient, belong to a neighbour."""
ROWS_AT_A_TIME = 256
"""Large images pass through the colour conversion in strips, which bounds its memory."""


def perceptual_colours(image: Float32[np.ndarray, "h w 3"]) -> Float32[np.ndarray, "h w 3"]:
    """CIELAB in units of 20 of RGB in [0, 1]: Euclidean distances are differences as people see them."""
    colours = np.empty(image.shape, np.float32)
    for top in range(0, image.shape[0], ROWS_AT_A_TIME):
        strip = slice(top, top + ROWS_AT_A_TIME)
        colours[strip] = rgb2lab(image[strip]) / LAB_UNIT
    return colours


def colour_gradient(image: Float32[np.ndarray, "h w 3"]) -> Float32[np.ndarray, "h w"]:
    """Magnitude of the smoothed colour gradient of RGB in [0, 1], in colour units for each pixel."""
    height, width, _ = image.shape
    gradient = np.empty((height, width), np.float32)
    for top in range(0, height, ROWS_AT_A_TIME):
        first, last = max(0, top - GRADIENT_REACH), min(height, top + ROWS_AT_A_TIME + GRADIENT_REACH)
        colours = perceptual_colours(image[first:last])
        squares = np.zeros(colours.shape[:2], np.float32)
        for channel in range(3):
            smooth = ndimage.gaussian_filter(colours[..., channel], GRADIENT_SIGMA)
            for axis in (0, 1):
                squares += (ndimage.sobel(smooth, axis) / 8) ** 2
        own = slice(top - first, top - first + ROWS_AT_A_TIME)
        gradient[top : top + ROWS_AT_A_TIME] = np.sqrt(squares[own])
    return gradient


def find_atoms(gradient: Float32[np.ndarray, "h w"]) -> Int32[np.ndarray, "h w"]:
    """Watershed basins of a gradient, which is at least 0, without the shallow ones.

    Returns:
        (H, W) ids 1..R by first pixel; every pixel belongs to an atom, every atom is 4-connected.
    """
    basins = watershed(gradient, connectivity=1).astype(np.int32)  # type: ignore[no-untyped-call]
    return canonical_order(_merge_shallow(basins, gradient))[0]


def refine_borders(
    regions: Int32[np.ndarray, "h w"],
    gradient: Float32[np.ndarray, "h w"],
    margin: int,
    depths: Int32[np.ndarray, " k1"] | None = None,
) -> Int32[np.ndarray, "h w"]:
    """Draw the borders of an enlarged region map anew where the full-size gradient is strongest.

    Pixels within `margin` of a border are taken from their regions and flooded again from what is left; a region that
    lies wholly within the margin keeps its most inner pixels. Costs a flood of the bands, not of the image.

    Args:
        regions: (H, W) ids from 1.
        gradient: (H, W) of the full-size image.
        margin: Half the width of the band around the borders, in pixels.
        depths: (K + 1,) of each id the greatest that `depth_inside` says, where the map is a part of a larger one.
    """
    if margin < 1:
        return regions
    depth = depth_inside(regions)
    if depths is None:
        depths = np.zeros(int(regions.max()) + 1, depth.dtype)
        np.maximum.at(depths, regions.ravel(), depth.ravel())
    kept = depth >= np.minimum(depths, margin + 1)[regions]
    band = depth <= margin + 2  # the pixels to flood, and a rim of kept ones to flood from: all others cost nothing
    flooded: Int32[np.ndarray, "h w"] = watershed(  # type: ignore[no-untyped-call]
        gradient, np.where(kept & band, regions, 0), connectivity=1, mask=band
    ).astype(np.int32)
    return np.where(band, flooded, regions)


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


def depth_inside(regions: Int32[np.ndarray, "h w"]) -> Int32[np.ndarray, "h w"]:
    """Chessboard distance to the nearest pixel of another region minus one: 0 for pixels that touch one."""
    border = border_pixels(regions)
    depth: Int32[np.ndarray, "h w"] = ndimage.distance_transform_cdt(~border, metric="chessboard").astype(np.int32)
    # without any border the transform has nothing to measure to
    return depth if border.any() else np.full(regions.shape, max(regions.shape), np.int32)


def _merge_shallow(basins: Int32[np.ndarray, "h w"], gradient: Float32[np.ndarray, "h w"]) -> Int32[np.ndarray, "h w"]:
    """Join each basin to the neighbour over its lowest pass if the pass is less than `LEAST_DEPTH` above its floor."""
    count = int(basins.max()) + 1
    floors = np.full(count, np.inf, np.float32)
    np.minimum.at(floors, basins.ravel(), gradient.ravel())
    sides: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for here, there in ((np.s_[:, :-1], np.s_[:, 1:]), (np.s_[:-1], np.s_[1:])):
        pairs = basins[here] != basins[there]
        height = np.maximum(gradient[here], gradient[there])[pairs]
        a, b = basins[here][pairs], basins[there][pairs]
        sides += [(a, b, height), (b, a, height)]
    source, target, height = (np.concatenate(parts) for parts in zip(*sides, strict=True))
    order = np.lexsort((target, height, source))  # each basin's lowest pass first
    source, target, height = source[order], target[order], height[order]
    _, first = np.unique(source, return_index=True)
    first = first[height[first] - floors[source[first]] < LEAST_DEPTH]
    links = sparse.coo_matrix((np.ones(len(first), bool), (source[first], target[first])), shape=(count, count))
    _, joined = sparse.csgraph.connected_components(links, directed=False)
    return np.asarray(joined[basins] + 1, np.int32)
