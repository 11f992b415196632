"""The pixels of a batch as rows, and what Eq. 4 to 6 need of them in one pass: moments and mean similarities.

In all of the losses `labels` (B, H, W) hold k >= 1 for the pixels of entity k, 0 for background and anything below 0
for pixels to ignore. Row 0 of every table is the background, rows 1..K the entities, K the same for all images of a
batch; images with fewer entities have rows without pixels.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from upseg.functional.precision import BLOCK_ELEMENTS, full_precision, recomputed, wide

CHUNK = 512
"""The most pixels that are multiplied at once; entities are padded to a multiple of it."""


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


@full_precision
def entity_moments(
    features: Float[Tensor, "b d h w"], labels: Int64[Tensor, "b h w"], count: int
) -> Float[Tensor, "b rows d d"]:
    """M_k: the second moments of the features of each entity and of the background.

    Paper: Eq. 4, Sec. 3.2. M_k = Σ_{i in E_k} f_i f_iᵀ.

    The pixels are sorted by entity and multiplied in chunks, so the work is that of one product of the features with
    themselves, whatever the number of entities; temporary memory is bounded by `BLOCK_ELEMENTS`, beside the (B, N)
    order of the pixels and, for maps that are not channels_last, a copy of the map.

    Args:
        features: (B, d, H, W) f.
        labels: (B, H, W) k >= 1 entity, 0 background, below 0 ignored.
        count: K, the largest id.

    Returns:
        (B, K + 1, d, d), symmetric; zero where there is no pixel.
    """
    pixels = pixel_rows(features)
    groups = group_pixels(labels, count)
    images, rows, dimensions = len(pixels), count + 1, pixels.shape[-1]
    size = max(dimensions, min(CHUNK, pixels.shape[1] // rows))
    flat = pixels.flatten(0, 1)
    moments = flat.new_zeros(images * rows, dimensions, dimensions)
    # at most so many, for one more than all full chunks may be needed in each group; nothing waits for the device
    chunks = len(flat) // size + images * rows
    numbers_of_blocks = torch.split(
        torch.arange(chunks, device=flat.device), max(1, BLOCK_ELEMENTS // (dimensions * size))
    )
    for numbers in numbers_of_blocks:
        group, index, valid = _pixels_of_chunks(groups, numbers, size)
        members = flat[index] * valid[..., None]
        moments = moments.index_add(0, group, members.mT @ members)  # M_k of Eq. 4
    return moments.view(images, rows, dimensions, dimensions)


@full_precision
def similarity_table(
    features: Float[Tensor, "b d h w"], labels: Int64[Tensor, "b h w"], lines: Float[Tensor, "b rows d"]
) -> Float[Tensor, "b rows rows"]:
    """The mean similarity of the pixels of each entity to each line: 1/|E_k| Σ_{i in E_k} |f_i . μ_l|.

    One product of pixels and lines and one mean per entity; maps with more than `BLOCK_ELEMENTS` similarities are done
    in blocks of pixels, of which backward keeps nothing but the features.

    Args:
        features: (B, d, H, W) f.
        labels: (B, H, W) k >= 1 entity, 0 background, below 0 ignored.
        lines: (B, K + 1, d) μ, the background's first, zero for rows without pixels.

    Returns:
        (B, K + 1, K + 1) in [0, 1]: row k for the pixels of k, column l for the line of l; zero without pixels.
    """
    pixels, lines = pixel_rows(features), wide(lines)
    rows = row_of_pixels(labels, lines.shape[1] - 1)
    size = max(1, BLOCK_ELEMENTS // (lines.shape[0] * lines.shape[1]))
    blocks = list(zip(torch.split(pixels, size, dim=1), torch.split(rows, size, dim=1), strict=True))
    parts = [recomputed(_sums_and_counts, len(blocks), block, members, lines) for block, members in blocks]
    sums, counts = (torch.stack(values).sum(0) for values in zip(*parts, strict=True))
    return sums / counts.clamp_min(1)[..., None]


def _sums_and_counts(
    pixels: Float[Tensor, "b n d"], rows: Int64[Tensor, "b n"], lines: Float[Tensor, "b rows d"]
) -> tuple[Float[Tensor, "b rows rows"], Float[Tensor, "b rows"]]:
    similarities = (pixels @ lines.mT).abs()  # |f . μ| of Eq. 5 and 6: (B, n, K + 1)
    # a product with the memberships: unlike a scatter, it has one order of summation and is fast everywhere
    members = (rows[..., None] == torch.arange(lines.shape[1], device=rows.device)).to(similarities.dtype)
    return members.mT @ similarities, members.sum(1)


def _pixels_of_chunks(
    groups: PixelGroups, numbers: Int64[Tensor, " c"], size: int
) -> tuple[Int64[Tensor, " c"], Int64[Tensor, "c s"], Bool[Tensor, "c s"]]:
    """The group of some chunks, the indices of their pixels, and which of these are not padding."""
    counts = groups.counts.flatten()
    ends = ((counts + size - 1) // size).cumsum(0)
    group = torch.searchsorted(ends, numbers, right=True).clamp(max=len(counts) - 1)
    # chunks after the last one lie beyond the end of the last group: all of their pixels are padding
    first = (numbers - torch.where(group > 0, ends[group - 1], 0)) * size
    offsets = first[:, None] + torch.arange(size, device=numbers.device)
    valid = offsets < counts[group][:, None]
    index = (groups.starts.flatten()[group][:, None] + offsets).clamp(max=len(groups.order) - 1)
    return group, groups.order[index], valid
