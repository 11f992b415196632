"""Feature maps as rows of pixels, and the pixels of each entity one after the other.

In all of the losses `labels` (B, H, W) hold k >= 1 for the pixels of entity k, 0 for background and anything below 0
for pixels to ignore. Row 0 of every table is the background, rows 1..K the entities, K the same for all images of a
batch; images with fewer entities have rows without pixels.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from upseg.functional.precision import wide


class PixelGroups(NamedTuple):
    """The pixels of a batch, those of one row of one image one after the other, in row-major order.

    Attributes:
        order: (B N,) indices into the B N pixels of the batch.
        starts: (B, K + 1) where the pixels of a row begin in `order`.
        counts: (B, K + 1) how many there are.
    """

    order: Int64[Tensor, " n"]
    starts: Int64[Tensor, "b rows"]
    counts: Int64[Tensor, "b rows"]


def pixel_rows(features: Float[Tensor, "b d h w"]) -> Float[Tensor, "b n d"]:
    """A feature map as a table of its N = H W pixels: a view of a channels_last map, a copy of others."""
    return wide(features).permute(0, 2, 3, 1).flatten(1, 2)


def row_of_pixels(labels: Int64[Tensor, "b h w"], count: int) -> Int64[Tensor, "b n"]:
    """The row of each pixel: its label, or `count` + 1 where it belongs to none of the rows 0..`count`."""
    flat = labels.flatten(1)
    return torch.where((flat >= 0) & (flat <= count), flat, count + 1)


def group_pixels(labels: Int64[Tensor, "b h w"], count: int) -> PixelGroups:
    """Sort the pixels of each image by the row that they belong to.

    Args:
        labels: (B, H, W) entity of each pixel.
        count: K, the largest id.
    """
    rows = row_of_pixels(labels, count)
    ordered, order = rows.sort(dim=1, stable=True)
    wanted = torch.arange(count + 2, device=labels.device).expand(len(labels), -1).contiguous()
    starts = torch.searchsorted(ordered, wanted)
    images = torch.arange(len(labels), device=labels.device)[:, None] * rows.shape[1]
    return PixelGroups((order + images).flatten(), (starts + images)[:, :-1], starts.diff(dim=1))
