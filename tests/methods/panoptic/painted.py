"""A stand-in for a trained network: colours say what a pixel is."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from upseg.methods.panoptic.encodings import make_encoding, normalise
from upseg.methods.panoptic.network import PanopticNetwork
from upseg.methods.panoptic.segmenter import PanopticSegmenter
from upseg.methods.panoptic.settings import PanopticSettings
from upseg.segmentation import Category

CATEGORIES = (Category(7, "grass", is_thing=False), Category(3, "cat"), Category(4, "dog"))

SURE = 30.0
"""The logit of what is so; the others are 0."""


@dataclass(frozen=True)
class Paint:
    """What a colour means.

    Attributes:
        colour: RGB, each 0 to 255.
        category: Position in `CATEGORIES`.
        centre: Of the object, as shares of the image's height and width; None for stuff.
        depth: What the depth head says.
    """

    colour: tuple[int, int, int]
    category: int
    centre: tuple[float, float] | None = None
    depth: float = 0.0


class PaintedNetwork(PanopticNetwork):
    """Its maps have half the image's resolution; whatever is nearest to a colour is what that colour means."""

    def __init__(self, settings: PanopticSettings, paints: tuple[Paint, ...]) -> None:
        nn.Module.__init__(self)
        self.upsampling, self.backbone = 1, SimpleNamespace(patch=2)
        self.sizes: list[tuple[int, int]] = []
        self.colours = torch.tensor([paint.colour for paint in paints]) / 255
        logits = SURE * F.one_hot(torch.tensor([paint.category for paint in paints]), len(CATEGORIES)).float()
        depth = torch.tensor([[paint.depth] for paint in paints])
        tables = {"semantic": logits, "instance": _codes(settings, paints), "depth": depth}
        self.tables = {head: tables[head] for head in settings.heads}
        self.eval()

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        self.sizes.append((images.shape[-2], images.shape[-1]))
        padded = F.pad(images, (0, images.shape[-1] % 2, 0, images.shape[-2] % 2), mode="replicate")
        means = F.avg_pool2d(padded, 2).movedim(1, -1)
        nearest = (means[..., None, :] - self.colours).square().sum(-1).argmin(-1)
        return {head: table[nearest].movedim(-1, 1) for head, table in self.tables.items()}


def _codes(settings: PanopticSettings, paints: tuple[Paint, ...]) -> Tensor:
    """The instance channels of each paint."""
    shares = torch.tensor([paint.centre or (0.0, 0.0) for paint in paints]).T
    centres = torch.stack([normalise(axis - 0.5, 1, cells) for axis, cells in zip(shares, settings.grid, strict=True)])
    inside = torch.tensor([[[paint.centre is not None for paint in paints]]])
    targets = make_encoding(settings).targets(centres[None, :, None], inside)[0, :, 0]
    if targets.is_floating_point():
        return targets.T
    axes = [F.one_hot(cells, count + 1) for cells, count in zip(targets, settings.grid, strict=True)]
    return SURE * torch.cat(axes, dim=1).float()


def painted_segmenter(paints: tuple[Paint, ...], **changes: object) -> PanopticSegmenter:
    settings = PanopticSettings(**{"size": None, "grid": (20, 20), **changes})
    categories = CATEGORIES if "semantic" in settings.heads else ()
    return PanopticSegmenter(settings, categories=categories, network=PaintedNetwork(settings, paints))


def painting(numbers: np.ndarray, paints: tuple[Paint, ...]) -> np.ndarray:
    """(H, W, 3) uint8 with the colours of the paints of these numbers."""
    return np.array([paint.colour for paint in paints], np.uint8)[numbers]
