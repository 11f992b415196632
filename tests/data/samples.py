"""Small samples whose image shows its own ground truth."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from upseg.data.dataset import Dataset
from upseg.data.sample import Sample
from upseg.errors import DataError
from upseg.segmentation import Category

CLASSES = {1: Category(7, "cat"), 2: Category(8, "sky", False), 3: Category(7, "cat"), 4: Category(9, "people")}


def checkered(height: int = 40, width: int = 60) -> Sample:
    """Four quadrants, the last a crowd; red is the id / 10, depth the id + 1, a second map 11 times the id."""
    labels = 1 + 2 * (np.arange(height)[:, None] >= height // 2) + (np.arange(width)[None] >= width // 2)
    labels = labels.astype(np.int32)
    image = np.full((height, width, 3), 0.5, np.float32)
    image[..., 0] = labels / 10
    return Sample.from_labels(
        image,
        labels,
        categories=CLASSES,
        crowds={4},
        depth=(labels + 1).astype(np.float32),
        name="checkered",
        other_maps=[labels * 11],
        left_out=["a cat behind the sky"],
    )


class Numbered(Dataset):
    """Samples of one colour, of which each says its number; some are damaged."""

    def __init__(self, name: str, count: int, damaged: Sequence[int] = (), on_error: str = "raise") -> None:
        super().__init__((), on_error)
        self._names = [f"{name}{index}" for index in range(count)]
        self._broken = set(damaged)

    @property
    def names(self) -> Sequence[str]:
        return self._names

    def load(self, index: int) -> Sample:
        if index in self._broken:
            raise DataError(f"{self._names[index]} is damaged")
        labels = np.zeros((12, 16), np.int32)
        labels[2:9, 3:11] = 1 + index
        image = np.full((12, 16, 3), index / 255, np.float32)
        image[..., 0] = np.linspace(0, 1, 16, dtype=np.float32)
        return Sample.from_labels(image, labels, name=self._names[index])
