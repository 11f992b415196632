"""The silhouette phase of DynaSeg: how many labels the fit must not fall below, read off the image's colours."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Float64

COLOUR_STEPS = 65_535
"""Colours are compared in steps of 1/65,535, so that rounding noise does not count as colour."""


def silhouette_floor(
    image: Float[np.ndarray, "h w c"],
    *,
    candidates: Sequence[int] = range(3, 27),
    samples: int = 1000,
    seed: int = 0,
) -> int:
    """q*, the number of K-means clusters with the best silhouette score; optimisation stops when q' <= q*.

    Paper: Sec. 3.3.2. The score is taken on a seeded sample of the pixels' colours, because it needs all pairs. In a
    tie the smallest number wins. An image with fewer distinct colours than the smallest candidate gets their number:
    1 where it is constant.

    Args:
        image: (H, W, C) in [0, 1].
        candidates: Numbers of clusters to try, each at least 2.
        samples: Number of pixels in the sample, at least 3; all of them where the image has no more.
        seed: Of the sample and of K-means.

    Returns:
        One of `candidates`, or the number of distinct colours in the sample if that is lower.

    Raises:
        ValueError: If the image is empty or not finite, or `candidates` or `samples` are out of range.
    """
    from sklearn.metrics import pairwise_distances  # takes seconds to import, and a fixed floor does without
    from threadpoolctl import threadpool_limits

    if len(candidates) == 0 or min(candidates) < 2:
        raise ValueError(f"candidates must be numbers of clusters of at least 2, got {list(candidates)}")
    if samples < 3:
        raise ValueError(f"samples must be at least 3, got {samples}")
    colours = _sample_colours(image, samples, np.random.default_rng(seed))
    distinct = len(np.unique(colours, axis=0))
    # a silhouette needs a cluster of more than one sample, K-means a colour for each cluster
    possible = [k for k in sorted(candidates) if k <= min(distinct, len(colours) - 1)]
    if not possible:
        return min(distinct, *candidates)
    with threadpool_limits(limits=1):  # the order of sums, and with it the last digit, must not depend on the threads
        distances = pairwise_distances(colours)
        scores = [_silhouette(colours, distances, k, seed) for k in possible]
    return possible[int(np.argmax(scores))]


def _sample_colours(
    image: Float[np.ndarray, "h w c"], samples: int, generator: np.random.Generator
) -> Float64[np.ndarray, "n c"]:
    pixels = image.reshape(-1, image.shape[-1])
    if pixels.size == 0:
        raise ValueError(f"the image has no pixels: its shape is {image.shape}")
    if len(pixels) > samples:
        pixels = pixels[generator.choice(len(pixels), samples, replace=False)]
    if not np.isfinite(pixels).all():
        raise ValueError("the image must be finite, but has NaN or infinite values")
    return np.rint(pixels.astype(np.float64) * COLOUR_STEPS)


def _silhouette(
    colours: Float64[np.ndarray, "n c"], distances: Float64[np.ndarray, "n n"], clusters: int, seed: int
) -> float:
    from sklearn.cluster import KMeans
    from sklearn.metrics import silhouette_score

    labels = KMeans(clusters, n_init=1, algorithm="lloyd", random_state=seed).fit_predict(colours)
    return float(silhouette_score(distances, labels, metric="precomputed"))
