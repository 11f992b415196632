"""A stand-in for a trained network: colours say what a pixel is. And a scene for it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch.nn.functional as F
from torch import Tensor, nn

from upseg.methods.baiseg import BaisegSegmenter, BaisegSettings
from upseg.methods.baiseg.targets import class_count
from upseg.segmentation import Category, Segmentation

GRASS, CAT, DOG = CATEGORIES = (Category(7, "grass", is_thing=False), Category(3, "cat"), Category(4, "dog"))


class DrawnNetwork(nn.Module):
    """Stands in for a trained network: how blue a pixel is says whether it is a boundary, how red it is its class.

    Its boundaries are as sure as logits of -4 and 4; classes as a logit of 8 for the class and 0 for the others.
    """

    def __init__(self, classes: int = len(CATEGORIES), *, semantic: bool = True) -> None:
        super().__init__()
        self.classes, self.semantic = classes, semantic
        self.sizes: list[tuple[int, int]] = []
        self.eval()

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        self.sizes.append((images.shape[-2], images.shape[-1]))
        maps = {"boundary": 8 * (images[:, 2:] - 0.5)}
        if self.semantic:
            numbers = (images[:, 0] * (self.classes - 1)).round().long()
            maps["semantic"] = 8 * F.one_hot(numbers, self.classes).permute(0, 3, 1, 2).float()
        return maps


def drawn_segmenter(
    categories: tuple[Category, ...] = CATEGORIES, *, semantic: bool = True, **changes: Any
) -> BaisegSegmenter:
    drawn = {"boundary_threshold": 0.3, "dilations": 2, "marker_ratio": 0.6}
    settings = BaisegSettings(**{"semantic_width": 4 if semantic else None, **drawn, **changes})
    network = DrawnNetwork(class_count(categories, settings.background), semantic=semantic)
    return BaisegSegmenter(settings, categories=categories, network=network)


def scene(scale: int = 1) -> np.ndarray:
    """48 x 80: 1 and 2 are cats that touch, 3 is a dog that touches the second, 0 is grass."""
    numbers = np.zeros((48, 80), int)
    numbers[8:40, 8:28], numbers[8:40, 28:50], numbers[14:34, 50:72] = 1, 2, 3
    return numbers.repeat(scale, 0).repeat(scale, 1)


CLASSES = np.array([0, 1, 1, 2])
"""Of the scene's numbers: positions in `CATEGORIES`."""
IDS = np.array([category.id for category in CATEGORIES])[CLASSES]


def drawing(numbers: np.ndarray, classes: np.ndarray = CLASSES, width: int = 2) -> np.ndarray:
    """What `DrawnNetwork` reads the scene from: the cats are told apart by a boundary alone, so many pixels wide."""
    image = np.zeros((*numbers.shape, 3), np.uint8)
    image[..., 0] = np.rint(255 * classes / max(1, classes.max()))[numbers]
    rows, columns = np.nonzero((numbers[:, :-1] == 1) & (numbers[:, 1:] == 2))
    for step in range(width):
        image[rows, columns + 1 - width // 2 + step, 2] = 255
    return image


def assert_agree(result: Segmentation, numbers: np.ndarray, least: float = 0.99) -> None:
    """Each number is one segment, up to the pixels along the cut between the cats."""
    expected = Segmentation.from_labels(numbers + 1).labels
    assert len(result) == len(np.unique(numbers))
    assert (result.labels == expected).mean() >= least
