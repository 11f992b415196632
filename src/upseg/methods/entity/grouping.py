"""From features to segments: clusters of lines, and what is done about small, doubtful and hollow ones (Sec. 4)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int32
from torch import Tensor

from upseg.functional.label_maps import fill_enclosed_holes
from upseg.methods.entity.extensions.parts import absorb_small_parts, trim_rims
from upseg.methods.entity.extensions.windows import cluster_windows
from upseg.methods.entity.mean_shift import bandwidth_cosine

Background = Literal["unlabelled", "void"]


@dataclass(frozen=True)
class Grouping:
    """The segments of one map of features.

    Attributes:
        labels: (H, W) ids, 0 void; not every number up to the largest need occur.
        scores: For each id in the map: the mean |f . mode| over the pixels that its clusters had, in [0, 1].
    """

    labels: Int32[np.ndarray, "h w"]
    scores: Mapping[int, float]


@torch.inference_mode()
def group_features(
    features: Float[Tensor, "d h w"],
    *,
    bandwidth: float = 45.0,
    window: int | None = None,
    background: Background = "unlabelled",
    connected: bool = False,
    minimum_area: int = 0,
    minimum_thickness: int = 0,
    minimum_score: float = 0.0,
    fill_holes: bool = False,
    trim: int = 0,
    seed: int = 0,
) -> Grouping:
    """Cluster the features of one image by mean shift on the projective sphere.

    Paper: Sec. 4. What is more than a mean shift are choices: void background, windows, small parts, scores, holes,
    rims.

    They are done in this order: pixels of the background become void; the others are clustered, in windows if so
    wanted; clusters of neighbouring windows that agree on what both see become one, and 4-connected parts segments of
    their own, if so wanted; small parts are absorbed; segments with low scores become void; holes are filled; rims are
    trimmed.

    Args:
        features: (d, H, W) unit vectors of any floating type, signs without meaning; zero vectors become void.
        bandwidth: Of the mean shift, in degrees, in (0, 90].
        window: Side in pixels of the windows that are clustered one by one; None clusters the map at once. With more
            than d objects some share a line: windows should be so small that those in one do not. One or two pixels
            alone are no cluster of a window.
        background: `void` if the network gives the background the line e_1: pixels within the bandwidth of it are void
            and are not clustered. `unlabelled` if it has none.
        connected: Whether the 4-connected parts of a cluster are segments of their own.
        minimum_area: In pixels. 4-connected parts with fewer join the neighbouring segment with which they share the
            longest border; those without a neighbour stay, or become void if the background is.
        minimum_thickness: In pixels. 4-connected parts nowhere as thick join a neighbouring segment likewise; those
            without a neighbour stay.
        minimum_score: Segments with a lower score become void.
        fill_holes: Whether stretches of void that one segment encloses become part of it.
        trim: Pixels of segments at most so many pixels from void become void; see `trim_rims`.
        seed: Of the samples on which modes are found.

    Raises:
        ValueError: If a setting is out of range, or features are not finite unit vectors.
    """
    if background not in ("unlabelled", "void"):
        raise ValueError(f"background must be one of unlabelled, void, got {background!r}")
    foreground = _foreground(features, background, bandwidth)
    clusters = cluster_windows(features, foreground, bandwidth=bandwidth, window=window, seed=seed)
    labels = clusters.segments(connected=connected)
    scores = np.bincount(labels.ravel(), clusters.similarity.ravel()) / np.maximum(np.bincount(labels.ravel()), 1)
    labels = absorb_small_parts(
        labels, minimum_area, minimum_thickness=minimum_thickness, drop_isolated=background == "void"
    )
    labels = np.where(scores[labels] < minimum_score, np.int32(0), labels)
    if fill_holes:
        labels = fill_enclosed_holes(labels)
    labels = trim_rims(labels, trim)
    present = np.flatnonzero(np.bincount(labels.ravel(), minlength=1))
    # sums of many numbers just below 1 may end just above it
    return Grouping(labels, {int(k): min(1.0, float(scores[k])) for k in present if k > 0})


def _foreground(features: Float[Tensor, "d h w"], background: Background, bandwidth: float) -> Bool[np.ndarray, "h w"]:
    """Which pixels are clustered: those not within the bandwidth of the background's line e_1."""
    cosine = bandwidth_cosine(bandwidth)
    if background == "unlabelled":
        return np.ones((features.shape[1], features.shape[2]), bool)
    return np.asarray((~(features[0].float().abs() >= cosine)).cpu().numpy())
