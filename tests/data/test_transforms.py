from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from tests.data.samples import CLASSES, checkered
from upseg.data.sample import Sample
from upseg.data.transforms import (
    Augmentation,
    DepthMap,
    LargeScaleJitter,
    MiddleOfImage,
    SampleTransform,
    SegmentMap,
    WholeImage,
)

IDS_BY_CATEGORY = {7: (1, 3), 8: (2,), 9: (4,)}


class Cut(v2.Transform):
    """A crop without chance."""

    def transform(self, inpt, params):
        return F.crop(inpt, 0, 0, 15, 50)


def assert_true(sample: Sample) -> None:
    """Image, maps, depth and table of a transformed `checkered` tell the same story."""
    original = np.rint(sample.depth - 1).astype(int)  # the id that the pixel had, -1 in the padding
    inside = original > 0
    assert ((sample.segment_map > 0) == inside).all()
    for segment in sample.segments:
        mask = sample.segment_map == segment.id
        ids = np.unique(original[mask])
        assert len(ids) == 1
        assert ids[0] in IDS_BY_CATEGORY[segment.category.id]
        assert segment.is_crowd == (ids[0] == 4)
        assert segment.area == mask.sum() > 0
    np.testing.assert_array_equal(sample.other_maps[0], np.where(inside, original * 11, 0))
    assert (sample.name, sample.left_out) == ("checkered", ("a cat behind the sky",))


def assert_image_follows(sample: Sample) -> None:
    """Away from the borders the image has the segments' colours: it is not shifted against the map."""
    original = np.rint(sample.depth - 1).astype(int)
    inner = np.ones(sample.shape, bool)
    for axis in (0, 1):
        for step in (1, -1):
            inner &= np.roll(original, step, axis) == original
    inner[[0, -1]] = inner[:, [0, -1]] = False
    expected = np.where(original > 0, original / 10, 0.5)
    # a border passes between two pixels' centres, so at most half of the difference reaches the next pixel
    np.testing.assert_allclose(sample.image[..., 0][inner], expected[inner], atol=0.11)


def test_without_transforms_the_sample_stays_as_it_is():
    before, after = checkered(), SampleTransform([])(checkered(), 0)
    np.testing.assert_array_equal(after.image, before.image)
    np.testing.assert_array_equal(after.segment_map, before.segment_map)
    np.testing.assert_array_equal(after.depth, before.depth)
    np.testing.assert_array_equal(after.other_maps[0], before.other_maps[0])
    assert (after.segments, after.name, after.left_out) == (before.segments, before.name, before.left_out)


def test_segments_that_a_crop_removed_are_dropped_and_areas_are_new():
    sample = SampleTransform([Cut()])(checkered(), 0)
    assert [(s.id, s.area, s.category) for s in sample.segments] == [(1, 15 * 30, CLASSES[1]), (2, 15 * 20, CLASSES[2])]
    assert sample.crowds == frozenset()
    assert_true(sample)


def test_classes_and_crowds_follow_their_segments_into_new_numbers():
    sample = SampleTransform([v2.RandomRotation((180, 180), fill=0)])(checkered(), 0)
    assert [s.category.id for s in sample.segments] == [9, 7, 8, 7]
    assert sample.crowds == {1}
    assert_true(sample)


@pytest.mark.parametrize(("flip", "axis"), [(v2.RandomHorizontalFlip(1.0), 1), (v2.RandomVerticalFlip(1.0), 0)])
def test_flips(flip, axis):
    before, after = checkered(), SampleTransform([flip])(checkered(), 0)
    np.testing.assert_array_equal(after.image, np.flip(before.image, axis))
    np.testing.assert_array_equal(after.depth, np.flip(before.depth, axis))
    np.testing.assert_array_equal(after.other_maps[0], np.flip(before.other_maps[0], axis))
    assert_true(after)


def test_colour_changes_the_image_only():
    before, after = checkered(), SampleTransform([v2.ColorJitter(0.4, 0.4, 0.4, 0.1)])(checkered(), 1)
    assert np.abs(after.image - before.image).max() > 0.02
    assert 0 <= after.image.min() <= after.image.max() <= 1
    np.testing.assert_array_equal(after.segment_map, before.segment_map)
    np.testing.assert_array_equal(after.depth, before.depth)


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(["resized", "jitter", "zoom"]),
    st.integers(1, 70),
    st.integers(1, 70),
    st.integers(0, 2**62),
    st.booleans(),
)
def test_the_ground_truth_stays_true(crop, height, width, seed, flipped):
    augment = Augmentation((height, width), crop, vertical_flip=float(flipped), colour=0.0)
    sample = augment(checkered(), seed)
    assert sample.shape == (height, width)
    assert_true(sample)
    assert_image_follows(sample)


def test_maps_are_scaled_by_the_pixel_at_the_new_pixels_centre():
    values = torch.arange(9 * 6, dtype=torch.int32).reshape(9, 6)
    smaller = F.resize(SegmentMap(values), [3, 2])
    assert isinstance(smaller, SegmentMap)
    assert smaller.dtype == torch.int32
    assert smaller.tolist() == values[1::3, 1::3].tolist()
    larger = F.resize(DepthMap(values.float()), [18, 12])
    assert isinstance(larger, DepthMap)
    assert larger.tolist() == values.float().repeat_interleave(2, 0).repeat_interleave(2, 1).tolist()
    part = F.resized_crop(SegmentMap(values), 3, 0, 6, 6, [2, 2])
    assert part.tolist() == values[4::3, 1::3].tolist()


def test_large_ids_are_kept():
    values = torch.tensor([[2**31 - 1, 2**24 + 1]], dtype=torch.int32)
    assert F.resize(SegmentMap(values), [1, 4]).tolist() == [[2**31 - 1] * 2 + [2**24 + 1] * 2]


def test_the_smaller_side_alone_can_be_given():
    assert F.resize(SegmentMap(torch.zeros(20, 30, dtype=torch.int32)), [10]).shape == (10, 15)


def test_jitter_at_full_scale_fits_the_image_into_the_window():
    image = tv_tensors.Image(torch.ones(3, 20, 40))
    found = LargeScaleJitter((60, 60), (1.0, 1.0))(image)
    assert found.shape == (3, 60, 60)
    rows = (found[0] == 1).all(dim=1).nonzero().ravel()
    assert len(rows) == 30  # 40 columns grow to 60, so 20 rows to 30
    assert (rows.diff() == 1).all()
    assert (found[0][(found[0] != 1)] == 0.5).all()


def test_jitter_scales_as_asked_and_places_everywhere():
    sizes, places = [], set()
    for seed in range(60):
        torch.manual_seed(seed)
        params = LargeScaleJitter((32, 48), (0.25, 2.0)).make_params([tv_tensors.Image(torch.zeros(3, 64, 64))])
        sizes.append(params["scaled"][0] / 32)
        assert params["scaled"][0] == params["scaled"][1]
        for place, scaled, window in zip(params["place"], params["scaled"], (32, 48), strict=True):
            assert min(0, scaled - window) <= place <= max(0, scaled - window)
        places.add(tuple(params["place"]))
    assert 0.25 <= min(sizes) < 0.4
    assert 1.8 < max(sizes) <= 2.0
    assert len(places) > 40


def test_the_seed_alone_decides():
    augment = Augmentation((24, 24), "jitter")
    first = augment(checkered(), 5)
    torch.manual_seed(123)
    state = torch.get_rng_state()
    again = augment(checkered(), 5)
    assert torch.equal(torch.get_rng_state(), state)
    np.testing.assert_array_equal(first.image, again.image)
    np.testing.assert_array_equal(first.segment_map, again.segment_map)
    others = [augment(checkered(), seed).image for seed in range(6)]
    assert len({image.tobytes() for image in others}) == 6


def test_the_sample_that_came_is_not_changed():
    sample, untouched = checkered(), checkered()
    Augmentation((40, 60), colour=1.0)(sample, 3)
    np.testing.assert_array_equal(sample.image, untouched.image)
    np.testing.assert_array_equal(sample.segment_map, untouched.segment_map)


def test_samples_without_depth_and_without_segments():
    sample = Sample.from_labels(np.zeros((8, 9, 3), np.float32), np.zeros((8, 9), np.int32))
    found = Augmentation((5, 5))(sample, 0)
    assert found.depth is None
    assert found.segments == ()
    assert found.shape == (5, 5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"horizontal_flip": 1.5}, r"must be in \[0, 1\]"),
        ({"colour": -0.1}, r"must be in \[0, 1\]"),
        ({"scale": (0.5, 1.5)}, "at most 1 for resized"),
        ({"scale": (0.0, 1.0)}, "positive range"),
        ({"crop": "jitter", "scale": (2.0, 1.0)}, "positive range"),
    ],
)
def test_settings_out_of_range_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Augmentation((8, 8), **arguments)


def test_zoom_keeps_the_size_of_pixels_whatever_the_size_of_the_image():
    for side in (60, 120):
        labels = np.zeros((side, side), np.int32)
        labels[side // 2 - 5 : side // 2 + 5, side // 2 - 5 : side // 2 + 5] = 1
        sample = Sample.from_labels(np.zeros((side, side, 3), np.float32), labels)
        augment = Augmentation((200, 200), "zoom", (2.0, 2.0), horizontal_flip=0.0, colour=0.0)
        areas = {augment(sample, seed).segments[0].area for seed in range(20) if augment(sample, seed).segments}
        assert max(areas) == 400  # 10 x 10 pixels at twice their size, where nothing of them is cut off


def test_jitter_needs_a_size():
    with pytest.raises(ValueError, match="must be positive"):
        LargeScaleJitter((0, 8))


@pytest.mark.parametrize(
    ("size", "longer", "expected"), [((40, 60), 30, (20, 30)), ((60, 40), 90, (90, 60)), ((47, 60), 30, (24, 30))]
)
def test_the_whole_image_is_brought_to_its_longer_side(size, longer, expected):
    sample = checkered(*size)
    small = WholeImage(longer)(sample, seed=0)
    assert small.shape == expected
    assert len(small.segments) == len(sample.segments)
    assert np.array_equal(small.image, WholeImage(longer)(sample, seed=1).image)
    assert_true(small)


def test_the_whole_image_needs_a_side():
    with pytest.raises(ValueError, match="at least 1 pixel, got 0"):
        WholeImage(0)


def test_the_middle_of_an_image_is_its_middle_square_and_nothing_is_random() -> None:
    labels = np.repeat(np.arange(1, 9, dtype=np.int32)[None], 4, axis=0)  # (4, 8), a segment for each column
    sample = Sample.from_labels(np.repeat(labels[..., None] / 8, 3, axis=-1).astype(np.float32), labels)
    middle = MiddleOfImage(4)(sample, seed=0)
    np.testing.assert_array_equal(middle.image[0, :, 0], np.float32([3, 4, 5, 6]) / 8)
    assert middle.segment_map[0].tolist() == [1, 2, 3, 4]
    np.testing.assert_array_equal(middle.image, MiddleOfImage(4)(sample, seed=1).image)
    assert MiddleOfImage(8)(sample, seed=0).shape == (8, 8)
    with pytest.raises(ValueError, match="at least 1 pixel, got 0"):
        MiddleOfImage(0)
