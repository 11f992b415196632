"""Ground truth to what the losses of `entity` learn from: an eroded map of entities."""

from __future__ import annotations

import zlib
from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Int32
from scipy import ndimage
from torch import Tensor

from upseg.data.sample import IGNORE, Sample


class EntityTargets:
    """Computes the targets of a sample; a `DataLoader` calls it in its workers.

    Paper: Sec. 3.3: the annotations are eroded, and the pixels eroded away take no part in any loss.

    Args:
        erosion: Side in pixels of the square that erodes, odd; 1 erodes nothing. The paper has 5.

    Raises:
        ValueError: If `erosion` is not odd and at least 1.
    """

    def __init__(self, erosion: int = 5) -> None:
        if erosion < 1 or erosion % 2 == 0:
            raise ValueError(f"erosion must be an odd number of at least 1, got {erosion}")
        self.erosion = erosion

    def __call__(self, sample: Sample) -> Mapping[str, Tensor]:
        """Compute the targets of one sample.

        Returns:
            `labels`: (H, W) int64, k >= 1 entity k of the sample, 0 unlabelled, -1 eroded away or crowd.
            `seed`: () int64, from the sample's pixels: what the contrast's random choices depend on, so that they are
            the same in whatever batch, process or order the sample comes.
        """
        labels = erode(sample.entity_map(), self.erosion)
        seed = zlib.crc32(sample.image.tobytes(), zlib.crc32(labels.tobytes()))
        return {"labels": torch.from_numpy(labels).long(), "seed": torch.tensor(seed)}


def erode(labels: Int32[np.ndarray, "h w"], side: int) -> Int32[np.ndarray, "h w"]:
    """Set every pixel of an entity to `IGNORE` unless the whole square around it is that entity.

    What lies outside the image counts as the nearest pixel inside, so entities are not eroded along the image's edge.

    Args:
        labels: (H, W) entity ids, 0 and below stay as they are. Not changed.
        side: Of the square in pixels, odd.
    """
    lowest = ndimage.minimum_filter(labels, side, mode="nearest")
    highest = ndimage.maximum_filter(labels, side, mode="nearest")
    return np.asarray(np.where((lowest == highest) | (labels <= 0), labels, np.int32(IGNORE)))
