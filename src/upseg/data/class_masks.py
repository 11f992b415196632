"""Class masks made from any annotation: what is left of it when objects of one class are no longer told apart."""

from __future__ import annotations

import numpy as np

from upseg.data.dataset import Dataset, Derived
from upseg.data.sample import Sample


class ClassMasks(Derived):
    """Joins all segments of a class, of any data set, so that nothing that comes later can know of single objects.

    Of crowds nothing is known but their class, as of all others. Segments without a class are one segment.

    Example:
        >>> from upseg.data import ShapeScenes
        >>> scenes = ShapeScenes(1, size=(64, 64), seed=3)
        >>> sample = ClassMasks(scenes)[0]
        >>> len(sample.segments) == len({segment.category for segment in scenes[0].segments})
        True
    """

    def __init__(self, dataset: Dataset) -> None:
        super().__init__(dataset)

    def load(self, index: int) -> Sample:
        """Read a sample, and join its segments."""
        sample = super().load(index)
        first: dict[int | None, int] = {}  # the class's segment that gives all of them their id
        table = np.zeros(len(sample.segments) + 1, np.int32)
        for segment in sample.segments:
            key = None if segment.category is None else segment.category.id
            table[segment.id] = first.setdefault(key, segment.id)
        return sample.with_labels(table[sample.segment_map], sample.categories, ())
