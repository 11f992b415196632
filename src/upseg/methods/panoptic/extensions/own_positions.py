"""Codes of centres relative to each pixel: a convolutional network cannot know where in the image a pixel is."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from upseg.functional.precision import wide
from upseg.methods.panoptic.encodings import normalise
from upseg.methods.panoptic.equations import positional_embedding


def at_own_positions(
    relative: Float[Tensor, "b c h w"], extent: tuple[float, float], grid: tuple[int, int]
) -> Float[Tensor, "b c h w"]:
    """The codes of centres (Eq. 2 and 3) from the codes of the ways that lead there.

    Each pair (sin, cos) of Eq. 3 is turned by the angle of the pixel's own coordinate: with p = q + d,
    sin p = sin q cos d + cos q sin d and cos p = cos q cos d - sin q sin d. Lengths stay, and so does the zero of void.

    Args:
        relative: (B, 4L, H, W) codes of the difference d of the coordinates of centre and pixel, those of rows first.
        extent: Rows and columns of the map that the image covers; the last ones of the map may be covered in part.
        grid: Rows and columns of the grid of centres, which the coordinates depend on.

    Returns:
        (B, 4L, H, W) codes as Eq. 2 has them, in the type of the input.
    """
    frequencies = relative.shape[1] // 4
    parts = []
    for axis, part in enumerate(wide(relative).chunk(2, dim=1)):
        places = torch.arange(part.shape[2 + axis], dtype=part.dtype, device=part.device)
        # positions count from the centre of the first pixel, `extent` from its edge
        own = positional_embedding(normalise(places, extent[axis], grid[axis]), frequencies, dim=0)
        own = own[:, :, None] if axis == 0 else own[:, None, :]
        sine, cosine = own[0::2], own[1::2]
        ahead, beside = part[:, 0::2], part[:, 1::2]
        turned = torch.stack((sine * beside + cosine * ahead, cosine * beside - sine * ahead), dim=2)
        parts.append(turned.flatten(1, 2))
    return torch.cat(parts, dim=1).to(relative.dtype)
