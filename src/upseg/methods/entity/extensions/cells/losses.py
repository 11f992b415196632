"""What a network of cells is trained by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from upseg.data.sample import IGNORE
from upseg.functional.ranges import check_loss_weights
from upseg.methods.entity.extensions.cells.network import CellMaps

BORDER_WEIGHT = 4.0
"""Of border pixels against all others, of which there are many more."""
INSIDE_WEIGHT = 3.0
"""Of objects' pixels in the loss of distances: outside all are 0, which is soon learned."""


@dataclass(frozen=True, slots=True)
class CellLossWeights:
    """Weights of the losses; 0 switches one off.

    Attributes:
        foreground: Of the cross-entropy of inside and outside.
        overlap: Of the Dice loss of the same.
        border: Of the cross-entropy of borders.
        distance: Of the absolute error of the inner distance.
        size: Of the absolute error of the diameter's logarithm.
    """

    foreground: float = 1.0
    overlap: float = 0.5
    border: float = 0.7
    distance: float = 3.0
    size: float = 0.3

    def __post_init__(self) -> None:
        check_loss_weights(self, ("foreground", "overlap", "border", "distance", "size"))


def cell_losses(
    maps: CellMaps, targets: Mapping[str, Tensor], loss_weights: CellLossWeights
) -> dict[str, Float[Tensor, ""]]:
    """The weighted losses by name; their sum is what is minimised.

    Args:
        maps: Of the network.
        targets: As `CellTargets` computes them, each (B, H, W).
        loss_weights: Of the losses.
    """
    known, inside = targets["labels"] != IGNORE, targets["labels"] > 0
    return {
        "foreground": loss_weights.foreground * _cross_entropy(maps.foreground, inside, known),
        "overlap": loss_weights.overlap * _dice(maps.foreground.sigmoid(), inside, known),
        "border": loss_weights.border * _cross_entropy(maps.border, targets["border"] > 0, known, BORDER_WEIGHT),
        "distance": loss_weights.distance
        * _mean_error(maps.distance.sigmoid() - targets["distance"], (1 + (INSIDE_WEIGHT - 1) * inside) * known),
        "size": loss_weights.size * _mean_error(maps.size - targets["size"], (inside & known).float()),
    }


def _cross_entropy(
    logits: Float[Tensor, "b h w"], wanted: Bool[Tensor, "b h w"], known: Bool[Tensor, "b h w"], positive: float = 1.0
) -> Float[Tensor, ""]:
    weight = torch.where(wanted, positive, 1.0) * known
    losses = F.binary_cross_entropy_with_logits(logits, wanted.float(), reduction="none")
    return (losses * weight).sum() / weight.sum().clamp_min(1)


def _dice(
    shares: Float[Tensor, "b h w"], wanted: Bool[Tensor, "b h w"], known: Bool[Tensor, "b h w"]
) -> Float[Tensor, ""]:
    """1 - 2 |A ∩ B| / (|A| + |B|), of all images together: one without objects has no overlap of its own."""
    both = (shares * (wanted & known)).sum()
    return 1 - (2 * both + 1) / ((shares * known).sum() + (wanted & known).sum() + 1)


def _mean_error(errors: Float[Tensor, "b h w"], weights: Float[Tensor, "b h w"]) -> Float[Tensor, ""]:
    return (errors.abs() * weights).sum() / weights.sum().clamp_min(1)
