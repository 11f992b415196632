"""Feature maps as rows of pixels, and the pixels of each entity one after the other.

In all of the losses `labels` (B, H, W) hold k >= 1 for the pixels of entity k, 0 for background and anything below 0
for pixels to ignore. Row 0 of every table is the background, rows 1..K the entities, K the same for all images of a
batch; images with fewer entities have rows without pixels.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple, ParamSpec, TypeVar

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.utils.checkpoint import checkpoint

P = ParamSpec("P")
R = TypeVar("R")

BLOCK_ELEMENTS = 2**23
"""Elements of the largest temporary tensors: 32 MiB in float32. What does not fit is done in blocks."""


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


def full_precision(function: Callable[P, R]) -> Callable[P, R]:
    """Make a function compute as written also under autocast: eigenvectors and inverses need all of float32."""

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        tensors = (value for value in (*args, *kwargs.values()) if isinstance(value, Tensor))
        with torch.autocast(next(tensors).device.type, enabled=False):
            return function(*args, **kwargs)

    return wrapped


def wide(values: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """The values in float32, or in float64 where they are."""
    return values if values.dtype == torch.float64 else values.float()


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


def recomputed(function: Callable[..., R], blocks: int, *args: object) -> R:
    """Call a function; of several blocks, only the inputs are kept, and backward computes the rest anew."""
    if blocks == 1 or not torch.is_grad_enabled():
        return function(*args)
    result: R = checkpoint(function, *args, use_reentrant=False, preserve_rng_state=False)
    return result
