"""What the image, pretrained features and the fitted network say about regions and the borders between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32, Float64, Int32, Int64, Shaped
from scipy import ndimage
from torch import Tensor

from upseg.methods.dynaseg.equations import cluster_labels
from upseg.methods.dynaseg.extensions.features import PhotoMaps, sample_features

COLOUR_BINS = 20
"""Bins of each colour channel's histogram."""
COLOUR_RANGE = ((0.0, 5.0), (-3.0, 3.0), (-3.0, 3.0))
"""What the bins cover in each channel, in colour units (CIELAB / 20); values outside fall into the end bins."""
PAIRS_AT_A_TIME = 100_000
"""Pairs of pixels whose responses are compared at a time, which bounds the memory."""
REACHES = (0, 2)
"""Colour contrast across a border is taken between boxes of side 2 x reach + 1 that touch at it."""
FEATURE_REACHES = (2, 4, 8)
"""Features are compared this many pixels away from the border, half of their level's stride."""


@dataclass(frozen=True)
class RegionGraph:
    """Regions, and the pairs of them that share a border. Sums, so that merging regions is adding rows.

    Attributes:
        pixels: Of the whole image.
        areas: (R,) pixels.
        colours: (R, 3) sums of the colours.
        histograms: (R, 3 x bins) pixel counts of the colour bins.
        textures: (R, labels in use) pixel counts of the network's labels; one column where no network was fitted.
        features: (R, F) sums of the feature maps, one table for each.
        edges: (E, 2) pairs of regions, the smaller first, in ascending order.
        lengths: (E,) pairs of neighbouring pixels along the shared border.
        contrasts: (E, C) sums along the border of the differences across it: colour for each reach, then the response
            (0 where no network was fitted), then each of the feature maps of ImageNet, then the boundary.
    """

    pixels: int
    areas: Float64[np.ndarray, " r"]
    colours: Float64[np.ndarray, "r 3"]
    histograms: Float32[np.ndarray, "r bins"]
    textures: Float32[np.ndarray, "r labels"]
    features: tuple[Float32[np.ndarray, "r _"], ...]
    edges: Int64[np.ndarray, "e 2"]
    lengths: Float64[np.ndarray, " e"]
    contrasts: Float64[np.ndarray, "e c"]


class _Pairs(NamedTuple):
    """Neighbouring pixels of different regions: their flat indices, and those `reach` further out on both sides."""

    here: Int64[np.ndarray, " n"]
    there: Int64[np.ndarray, " n"]


def build_region_graph(
    regions: Int32[np.ndarray, "h w"],
    colours: Float32[np.ndarray, "h w 3"],
    response: Float[Tensor, "1 q h w"] | None = None,
    maps: PhotoMaps | None = None,
) -> RegionGraph:
    """Collect the facts about every region and border in one pass over the image each.

    Args:
        regions: (H, W) ids 1..R.
        colours: (H, W, 3) as `atoms.perceptual_colours` gives them.
        response: (1, q, H, W) the fitted network's response r', if there is one.
        maps: What pretrained networks say about the image; None for nothing.
    """
    maps = maps or PhotoMaps()
    if response is None:
        response = torch.zeros(1, 1, *regions.shape)
    flat = regions.ravel().astype(np.int64) - 1
    count = int(flat.max()) + 1
    _, labels = np.unique(cluster_labels(response).cpu().numpy(), return_inverse=True)
    colour_sums = [np.bincount(flat, colours[..., channel].ravel(), count) for channel in range(3)]
    edges, border_of, pairs = _borders(regions)
    contrasts = [_colour_contrast(colours, pairs, reach) for reach in REACHES]
    contrasts.append(_response_contrast(response, pairs[0]))
    for level, reach in zip(maps.features, FEATURE_REACHES, strict=False):  # the embedding is not compared like that
        contrasts.append(_feature_contrast(level, pairs[reach], regions.shape))
    if maps.boundary is not None:
        contrasts.append(_boundary_strength(maps.boundary, pairs[0], regions.shape))
    return RegionGraph(
        pixels=flat.size,
        areas=np.bincount(flat, minlength=count).astype(np.float64),
        colours=np.stack(colour_sums, axis=1),
        histograms=np.concatenate([_colour_counts(flat, colours, channel, count) for channel in range(3)], axis=1),
        textures=_counts(flat, labels.ravel(), count, int(labels.max()) + 1),
        features=tuple(feature_sums(flat, level, regions.shape, count) for level in maps.features),
        edges=edges,
        lengths=np.bincount(border_of, minlength=len(edges)).astype(np.float64),
        contrasts=np.stack([border_sums(border_of, contrast, len(edges)) for contrast in contrasts], axis=1),
    )


def border_sums(
    border_of: Int64[np.ndarray, " n"], values: Float64[np.ndarray, " n"], count: int
) -> Float64[np.ndarray, " e"]:
    """The sum of some values on each border: (E,).

    Args:
        border_of: (N,) the border each value belongs to, 0..E-1.
        values: (N,).
        count: E.
    """
    return np.bincount(border_of, values, count).astype(np.float64)  # bincount of nothing gives integers


def _counts(
    regions: Int64[np.ndarray, " n"], values: Shaped[np.ndarray, " n"], count: int, bins: int
) -> Float32[np.ndarray, "r b"]:
    table = np.bincount(regions * bins + values, minlength=count * bins)
    return table.reshape(count, bins).astype(np.float32)


def _colour_counts(
    regions: Int64[np.ndarray, " n"], colours: Float32[np.ndarray, "h w 3"], channel: int, count: int
) -> Float32[np.ndarray, "r b"]:
    low, high = COLOUR_RANGE[channel]
    scaled = (colours[..., channel].ravel() - low) * (COLOUR_BINS / (high - low))
    return _counts(regions, np.clip(scaled, 0, COLOUR_BINS - 1).astype(np.int64), count, COLOUR_BINS)


def _borders(
    regions: Int32[np.ndarray, "h w"],
) -> tuple[Int64[np.ndarray, "e 2"], Int64[np.ndarray, " n"], dict[int, _Pairs]]:
    """The edges, the edge of each pair of pixels that lies on one, and the pixels to compare for each reach."""
    height, width = regions.shape
    row, column = np.nonzero(regions[:, :-1] != regions[:, 1:])
    row_down, column_down = np.nonzero(regions[:-1] != regions[1:])
    pairs = {}
    for reach in {0, *REACHES, *FEATURE_REACHES}:
        left, right = np.maximum(column - reach, 0), np.minimum(column + 1 + reach, width - 1)
        above, below = np.maximum(row_down - reach, 0), np.minimum(row_down + 1 + reach, height - 1)
        pairs[reach] = _Pairs(
            np.concatenate([row * width + left, above * width + column_down]),
            np.concatenate([row * width + right, below * width + column_down]),
        )
    ids = regions.ravel().astype(np.int64) - 1
    a, b = ids[pairs[0].here], ids[pairs[0].there]
    count = int(ids.max()) + 1
    keys, border_of = np.unique(np.minimum(a, b) * count + np.maximum(a, b), return_inverse=True)
    return np.stack(np.divmod(keys, count), axis=1), border_of, pairs


def _colour_contrast(
    colours: Float32[np.ndarray, "h w 3"], pairs: dict[int, _Pairs], reach: int
) -> Float64[np.ndarray, " n"]:
    squares = np.zeros(len(pairs[reach].here))
    for channel in range(3):
        smooth = colours[..., channel]
        if reach:
            smooth = ndimage.uniform_filter(smooth, 2 * reach + 1)
        flat = smooth.ravel()
        squares += (flat[pairs[reach].here] - flat[pairs[reach].there]) ** 2
    return np.sqrt(squares)


def _response_contrast(response: Float[Tensor, "1 q h w"], pairs: _Pairs) -> Float64[np.ndarray, " n"]:
    """Distance between the responses of two pixels, in units of the response's spread over the image."""
    by_pixel = response[0].flatten(1).T  # (H W, q), one row of memory for each pixel where channels come last
    spread = float(by_pixel.float().var(dim=0, correction=0).sum().sqrt()) or 1.0
    distances = np.empty(len(pairs.here))
    for start in range(0, len(distances), PAIRS_AT_A_TIME):
        some = slice(start, start + PAIRS_AT_A_TIME)
        here, there = (by_pixel[torch.from_numpy(side[some]).to(by_pixel.device)].float() for side in pairs)
        distances[some] = (here - there).norm(dim=1).cpu().numpy()
    return distances / spread


def feature_sums(
    regions: Int64[np.ndarray, " n"], features: Float[Tensor, "1 f h2 w2"], size: tuple[int, ...], count: int
) -> Float32[np.ndarray, "r f"]:
    """Sums of a map over regions: (R, F).

    Args:
        regions: (N,) the region of each pixel of the image, 0..R-1.
        features: (1, F, H2, W2), enlarged to the image.
        size: (H, W) of the image.
        count: R.
    """
    enlarged = F.interpolate(features, size=size, mode="bilinear", align_corners=False)[0].flatten(1).numpy()
    return np.stack([np.bincount(regions, channel, count) for channel in enlarged], axis=1).astype(np.float32)


def _feature_contrast(
    features: Float[Tensor, "1 f h2 w2"], pairs: _Pairs, size: tuple[int, ...]
) -> Float64[np.ndarray, " n"]:
    distances = np.empty(len(pairs.here))
    height, width = size
    for start in range(0, len(distances), PAIRS_AT_A_TIME):
        some = slice(start, start + PAIRS_AT_A_TIME)
        places = (torch.from_numpy(np.stack(np.divmod(side[some], width))) for side in pairs)
        here, there = (sample_features(features, rows, columns, (height, width)) for rows, columns in places)
        distances[some] = (here - there).norm(dim=0).numpy()
    return distances


def _boundary_strength(
    boundary: Float[Tensor, "1 1 h2 w2"], pairs: _Pairs, size: tuple[int, ...]
) -> Float64[np.ndarray, " n"]:
    enlarged = F.interpolate(boundary, size=size, mode="bilinear", align_corners=False)[0].flatten().numpy()
    return np.asarray((enlarged[pairs.here] + enlarged[pairs.there]) / 2, np.float64)
