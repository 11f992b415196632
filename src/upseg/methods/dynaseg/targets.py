"""What training over a data set asks of an image: how many labels must not die out in it. No truth is looked at."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from upseg.data.sample import Sample
from upseg.methods.dynaseg.floor import silhouette_floor


class DynaSegTargets:
    """Computes the floor q* of a sample; a `DataLoader` calls it in its workers, which remember what they have seen.

    Paper: Sec. 3.3.2, the silhouette phase, "at the first iteration".

    Args:
        floor: `silhouette`, or the same number for all images (the paper's ablation: 3).
        samples: Pixels that the silhouette score is taken on.
        seed: Of their choice and of K-means.

    Raises:
        ValueError: If the floor is neither, or below 1.

    Attributes:
        needs_segments: False: images without ground truth are learned from like all others.
    """

    needs_segments = False

    def __init__(self, floor: Literal["silhouette"] | int = "silhouette", samples: int = 1000, seed: int = 0) -> None:
        if floor != "silhouette" and not (isinstance(floor, int) and floor >= 1):
            raise ValueError(f"floor must be silhouette or a number of labels of at least 1, got {floor!r}")
        self.floor, self.samples, self.seed = floor, samples, seed
        self._known: dict[int, int] = {}

    def __call__(self, sample: Sample) -> Mapping[str, Tensor]:
        """`floor`: () int64, q* of the image."""
        return {"floor": torch.tensor(self._floor(sample))}

    def _floor(self, sample: Sample) -> int:
        if self.floor != "silhouette":
            return int(self.floor)
        key = zlib.crc32(sample.image.tobytes())
        if key not in self._known:
            self._known[key] = silhouette_floor(sample.image, samples=self.samples, seed=self.seed)
        return self._known[key]
