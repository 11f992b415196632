"""Eq. 1, and the cross-entropy of the classes: the losses that each pixel has by itself."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn.functional import softplus


def balance(boundary: Bool[Tensor, "b h w"], valid: Bool[Tensor, "b h w"]) -> Float[Tensor, " b"]:
    """The share of each image's pixels that are no boundary.

    Paper: alpha of Eq. 1 and 6, Sec. 3.2. alpha = |Y⁻| / (|Y⁻| + |Y⁺|), over the valid pixels.

    Args:
        boundary: (B, H, W) Y.
        valid: (B, H, W) the pixels of which Y is known.

    Returns:
        (B,) alpha in [0, 1], float32; 0 for an image without any valid pixel.
    """
    others = (valid & ~boundary).sum((1, 2))
    return others / valid.sum((1, 2)).clamp_min(1)


def boundary_loss(
    logits: Float[Tensor, "b 1 h w"], boundary: Bool[Tensor, "b h w"], valid: Bool[Tensor, "b h w"]
) -> Float[Tensor, ""]:
    """The cross-entropy of the boundary map, in which boundaries and all else weigh the same.

    Paper: Eq. 1, Sec. 3.2. L_B = -Σ_ij (alpha Y_ij log B_ij + (1 - alpha) (1 - Y_ij) log(1 - B_ij)), where alpha is
    `balance`. Here the mean over the valid pixels takes the place of the sum, so that the weight of the loss does not
    depend on the size of the images. As in the paper, an image without any boundary has alpha = 1: it teaches nothing.

    Args:
        logits: (B, 1, H, W), B is their sigmoid.
        boundary: (B, H, W) Y.
        valid: (B, H, W) the pixels that count.

    Returns:
        A scalar, at least 0: the mean over the images.
    """
    alpha = balance(boundary, valid).to(logits.dtype)[:, None, None]
    values = logits[:, 0]
    losses = torch.where(boundary, alpha * softplus(-values), (1 - alpha) * softplus(values))
    return _mean_of_images(losses, valid)


def semantic_loss(logits: Float[Tensor, "b c h w"], classes: Int64[Tensor, "b h w"]) -> Float[Tensor, ""]:
    """L_S of Eq. 7: the cross-entropy of the classes over the pixels that have one.

    Args:
        logits: (B, C, H, W).
        classes: (B, H, W) positions, below 0 ignored.

    Returns:
        A scalar, at least 0: the mean over the images, 0 if nothing has a class.
    """
    # not `cross_entropy`: on a GPU its gradient is not reproducible
    losses = -logits.log_softmax(1).gather(1, classes.clamp_min(0)[:, None])[:, 0]
    return _mean_of_images(losses, classes >= 0)


def _mean_of_images(losses: Float[Tensor, "b h w"], counted: Bool[Tensor, "b h w"]) -> Float[Tensor, ""]:
    return ((losses * counted).sum((1, 2)) / counted.sum((1, 2)).clamp_min(1)).mean()
