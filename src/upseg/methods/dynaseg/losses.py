"""The loss of DynaSeg for a batch of images, each with its own balance."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from upseg.methods.dynaseg.equations import WEIGHTINGS, cluster_labels, labels_in_use
from upseg.methods.dynaseg.fused_loss import fused_total_loss

Weighting = Literal["fsf", "scf", "fixed"]


def image_losses(
    response: Float[Tensor, "b q h w"], weighting: Weighting, alpha: float
) -> tuple[Float[Tensor, " b"], Int64[Tensor, " b"]]:
    """L of each image with the mu of its own q', and q'.

    Paper: Eq. 7 to 9.

    Args:
        response: (B, Q, H, W) r'.
        weighting: Of Eq. 8, Eq. 9, or a constant.
        alpha: Of the weighting, above 0.

    Returns:
        (B,) losses, and (B,) labels in use.
    """
    labels = cluster_labels(response)
    counts = [labels_in_use(labels[i : i + 1], response.shape[1]).sum() for i in range(len(labels))]
    losses = [
        fused_total_loss(response[i : i + 1], labels[i : i + 1], WEIGHTINGS[weighting](count, alpha))
        for i, count in enumerate(counts)
    ]
    return torch.stack(losses), torch.stack(counts)
