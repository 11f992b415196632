"""DynaSeg's fit with its history, which `DynaSegSegmenter` does not hand out."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from upseg.methods.dynaseg import DynaSegSettings
from upseg.methods.dynaseg.fit import Fit, fit_network, whole_response
from upseg.methods.dynaseg.floor import silhouette_floor


class ImageFit(NamedTuple):
    """A fit, q* that it stops at, and the (1, q, H, W) response r' of the whole image."""

    fit: Fit
    floor: int
    response: torch.Tensor


def fit_image(image: np.ndarray, settings: DynaSegSettings) -> ImageFit:
    """Fit a network to an (H, W, 3) image at its own size.

    Raises:
        ValueError: If the settings would have the image reduced first.
    """
    pixels = image.shape[0] * image.shape[1]
    if settings.working_pixels is not None and pixels > settings.working_pixels:
        raise ValueError(f"expected an image of at most {settings.working_pixels} pixels, got {pixels}")
    batch = torch.from_numpy(image).permute(2, 0, 1)[None]  # (1, 3, H, W), channels last in memory
    floor = silhouette_floor(image, seed=settings.seed) if settings.floor == "silhouette" else settings.floor
    fit = fit_network(batch, settings, floor)
    return ImageFit(fit, floor, whole_response(fit.network, batch, settings))
