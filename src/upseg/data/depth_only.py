"""A data set of which only the depth is learned."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np

from upseg.data.dataset import Dataset
from upseg.data.sample import Sample
from upseg.errors import DataError


class DepthOnly(Dataset):
    """Another data set without its segments, to teach depth beside data sets with other classes.

    Args:
        dataset: Its samples with depth are this one's; `load` refuses those without.
    """

    def __init__(self, dataset: Dataset) -> None:
        super().__init__((), dataset.on_error, dataset.problems)
        self.decode_images = dataset.decode_images
        self._whole = dataset

    @property
    def names(self) -> Sequence[str]:
        """The names of the data set."""
        return self._whole.names

    def __len__(self) -> int:
        return len(self._whole)

    def load(self, index: int) -> Sample:
        """Read one sample, and forget its segments.

        Raises:
            DataError: If it has no depth.
        """
        sample = copy.copy(self._whole.load(index))
        if sample.depth is None:
            raise DataError(f"{sample.name}: expected a sample with depth, but the data set has none of it")
        sample.segment_map, sample.segments, sample.other_maps = np.zeros_like(sample.segment_map), (), ()
        return sample
