"""What is learned from a sample: boxes, classes and masks of its things, and of nothing else."""

import numpy as np
import torch

from upseg.data.sample import Sample, TruthSegment
from upseg.methods.mask_rcnn.targets import instance_targets, learned_segments
from upseg.segmentation import Category

CAT, DOG, SKY = Category(3, "cat"), Category(9, "dog"), Category(5, "sky", is_thing=False)


def sample(labels: np.ndarray, categories: dict[int, Category], crowds: tuple[int, ...] = ()) -> Sample:
    return Sample.from_labels(
        np.zeros((*labels.shape, 3), np.float32), labels.astype(np.int32), categories=categories, crowds=crowds
    )


def targets_of(found: Sample, categories: tuple[Category, ...]) -> dict[str, torch.Tensor]:
    return instance_targets(torch.from_numpy(found.segment_map).long(), found.segments, categories)


def scene() -> np.ndarray:
    """Sky everywhere, a dog of 2 x 3 pixels, a cat of one pixel in the corner, a crowd of cats."""
    labels = np.ones((5, 7), int)
    labels[1:3, 2:5] = 2
    labels[4, 6] = 3
    labels[0, :2] = 4
    return labels


def test_boxes_classes_and_masks_by_hand() -> None:
    found = targets_of(sample(scene(), {1: SKY, 2: DOG, 3: CAT, 4: CAT}, crowds=(4,)), (CAT, DOG))
    assert found["boxes"].tolist() == [[2, 1, 5, 3], [6, 4, 7, 5]]
    assert found["labels"].tolist() == [2, 1]
    expected = np.stack([scene() == 2, scene() == 3])
    np.testing.assert_array_equal(found["masks"].numpy(), expected)
    assert [found[name].dtype for name in ("boxes", "labels", "masks")] == [torch.float32, torch.int64, torch.uint8]


def test_boxes_are_those_of_a_slow_search() -> None:
    """Masks in several parts, at all edges."""
    labels = np.random.default_rng(0).integers(0, 9, (11, 13))
    labels[labels > 5] = 0
    found = targets_of(sample(labels, {}), ())
    for box, mask in zip(found["boxes"].tolist(), found["masks"].numpy(), strict=True):
        rows, columns = np.nonzero(mask)
        assert box == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


def test_crowds_leave_no_trace() -> None:
    with_crowd = targets_of(sample(scene(), {1: SKY, 2: DOG, 3: CAT, 4: CAT}, crowds=(4,)), (CAT, DOG))
    without = scene()
    without[without == 4] = 0
    expected = targets_of(sample(without, {1: SKY, 2: DOG, 3: CAT}), (CAT, DOG))
    assert all(torch.equal(with_crowd[name], value) for name, value in expected.items())


def test_without_classes_every_thing_is_an_object() -> None:
    found = targets_of(sample(scene(), {1: SKY, 2: DOG}), ())
    assert found["labels"].tolist() == [1, 1, 1]
    assert len(targets_of(sample(scene(), {}), ())["labels"]) == 4


def test_what_has_none_of_the_classes_is_left_out() -> None:
    assert targets_of(sample(scene(), {2: DOG, 3: CAT}), (CAT,))["labels"].tolist() == [1]
    assert len(targets_of(sample(scene(), {}), (CAT,))["labels"]) == 0


def test_images_without_objects_have_empty_targets() -> None:
    found = targets_of(sample(np.zeros((4, 6), int), {}), (CAT,))
    assert {name: tuple(value.shape) for name, value in found.items()} == {
        "boxes": (0, 4),
        "labels": (0,),
        "masks": (0, 4, 6),
    }


def test_segments_without_a_pixel_are_left_out() -> None:
    """Batches may hold a table of more than what a crop has kept."""
    table = (TruthSegment(1, 1, CAT), TruthSegment(2, 1, DOG))
    found = instance_targets(torch.tensor([[0, 2]]), table, (CAT, DOG))
    assert (found["boxes"].tolist(), found["labels"].tolist()) == ([[1, 0, 2, 1]], [2])


def test_learned_segments_count_classes_by_their_position() -> None:
    table = sample(scene(), {1: SKY, 2: DOG, 3: CAT, 4: CAT}, crowds=(4,)).segments
    by_class = {s.category.name: s.id for s in table if not s.is_crowd}
    assert learned_segments(table, (CAT, DOG)) == {by_class["dog"]: 1, by_class["cat"]: 0}
