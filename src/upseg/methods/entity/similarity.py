"""The one table of means that attraction and repulsion (Eq. 5 and 6) are read from."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from upseg.functional.blocks import BLOCK_ELEMENTS, recomputed
from upseg.functional.precision import full_precision, wide
from upseg.methods.entity.pixels import pixel_rows, row_of_pixels


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
    similarities = (pixels @ lines.mT).abs()  # (B, n, K + 1)
    # a product with the memberships: unlike a scatter, it has one order of summation and is fast everywhere
    members = (rows[..., None] == torch.arange(lines.shape[1], device=rows.device)).to(similarities.dtype)
    return members.mT @ similarities, members.sum(1)
