"""A data set of which only the depth is learned."""

from __future__ import annotations

import copy

import numpy as np

from upseg.data.dataset import Dataset, Derived
from upseg.data.sample import Sample
from upseg.errors import DataError
from upseg.segmentation import Category


class DepthOnly(Derived):
    """Another data set without its segments, to teach depth beside data sets with other classes.

    Args:
        dataset: Its samples with depth are this one's; `load` refuses those without.
    """

    def __init__(self, dataset: Dataset) -> None:
        super().__init__(dataset)

    @property
    def categories(self) -> tuple[Category, ...]:
        """None."""
        return ()

    def load(self, index: int) -> Sample:
        """Read one sample, and forget its segments.

        Raises:
            DataError: If it has no depth.
        """
        sample = copy.copy(super().load(index))
        if sample.depth is None:
            raise DataError(f"{sample.name}: expected a sample with depth, but the data set has none of it")
        sample.segment_map, sample.segments, sample.other_maps = np.zeros_like(sample.segment_map), (), ()
        return sample
