"""Class masks from instances: nothing of single objects is left."""

from __future__ import annotations

import numpy as np

from upseg.data import ShapeScenes
from upseg.data.class_masks import ClassMasks
from upseg.data.dataset import Dataset
from upseg.data.sample import Sample
from upseg.segmentation import Category

CAT, DOG = Category(5, "cat"), Category(9, "dog")


class One(Dataset):
    """One sample of given labels."""

    def __init__(self, labels: list[list[int]]) -> None:
        super().__init__([CAT, DOG], names=["one"])
        self.labels = np.array(labels)

    def load(self, index: int) -> Sample:
        image = np.zeros((*self.labels.shape, 3), np.float32)
        return Sample.from_labels(image, self.labels, categories={1: CAT, 2: DOG, 3: CAT}, crowds={3}, name="one")


def test_objects_of_a_class_become_one_segment_wherever_they_are() -> None:
    sample = ClassMasks(One([[0, 1, 2, 3, 4, 5]]))[0]
    assert sample.segment_map.tolist() == [[0, 1, 2, 1, 3, 3]]  # those without a class too
    assert [s.category for s in sample.segments] == [CAT, DOG, None]
    assert not sample.crowds
    assert sample.name == "one"


def test_classes_are_those_of_before_and_instances_make_no_difference() -> None:
    scenes = ShapeScenes(2, size=(64, 64), seed=3)
    masks = ClassMasks(scenes)
    for before, after in zip(scenes, masks, strict=True):
        np.testing.assert_array_equal(before.semantic_map(), after.semantic_map())
        assert len(after.segments) == len({s.category for s in before.segments})
    once, again = ClassMasks(One([[1, 1, 2]])), ClassMasks(One([[1, 3, 2]]))
    np.testing.assert_array_equal(once[0].segment_map, again[0].segment_map)
