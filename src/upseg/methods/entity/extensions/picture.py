"""Features of `entity` as colours, to look at."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

SAMPLES = 65_536
"""The lines are found from about so many pixels, evenly spread: of a photo all would take a tenth of a second."""


def colour_features(features: Float[Tensor, "d h w"]) -> UInt8[np.ndarray, "h w 3"]:
    """Colour each pixel by the cosines of its features, of unit length, with the three lines that fit all of them best.

    Paper: Fig. 2a. A principal component analysis of lines: red, green and blue are |f·v| for the eigenvectors v of the
    three largest eigenvalues of Σ f fᵀ. The sign of a feature changes nothing; pixels of one colour may still be of
    different lines.

    Returns:
        (H, W, 3) RGB; each channel is stretched to its whole range.
    """
    flat = features.flatten(1).float()
    some = flat[:, :: max(1, flat.shape[1] // SAMPLES)]
    axes = torch.linalg.eigh(some @ some.T).eigenvectors[:, -3:].flip(1)
    cosines = (axes.T @ flat).abs()
    stretched = cosines / cosines.amax(dim=1, keepdim=True).clamp(min=1e-3)
    channels = torch.zeros(3, flat.shape[1])
    channels[: len(stretched)] = stretched  # fewer than three where d is less
    return (channels.T.reshape(*features.shape[1:], 3) * 255).round().byte().numpy()
