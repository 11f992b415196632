"""Images at other sizes."""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def resize_image(image: Float[Tensor, "b c h w"], size: tuple[int, int]) -> Float[Tensor, "b c h2 w2"]:
    """Bilinear, and smoothed first where it is reduced; the image itself where it has the size (H2, W2) already."""
    if image.shape[-2:] == size:
        return image
    return F.interpolate(image, size=size, mode="bilinear", align_corners=False, antialias=True)


def scaled_size(height: int, width: int, factor: float) -> tuple[int, int]:
    """The size (H, W) of an image whose sides are scaled, with its aspect as near as whole pixels can be."""
    return max(1, round(height * factor)), max(1, round(width * factor))


def scaled_area(area: int, pixels: int, image_pixels: int) -> int:
    """An area given in pixels of an image with so many of them, in those of the image at another size."""
    return round(area * pixels / image_pixels)
