from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from upseg.data.sample import IGNORE, LazyImage, Sample, TruthSegment
from upseg.errors import DataError
from upseg.segmentation import Category

CAT, DOG, SKY = Category(17, "cat"), Category(18, "dog"), Category(119, "sky", is_thing=False)
# a cat, sky, a crowd of dogs, a segment without a class, and one unlabelled pixel
LABELS = np.array(
    [
        [300, 300, 9, 9],
        [300, 300, 9, 7],
        [5, 5, 0, 7],
    ]
)


def draw(**changes: object) -> Sample:
    arguments = {"categories": {300: CAT, 9: SKY, 7: DOG}, "crowds": {7}, "name": "a", **changes}
    return Sample.from_labels(np.zeros((3, 4, 3), np.float32), LABELS, **arguments)


def test_segments_are_numbered_by_their_first_pixel() -> None:
    sample = draw()
    assert sample.segment_map.tolist() == [[1, 1, 2, 2], [1, 1, 2, 3], [4, 4, 0, 3]]
    assert sample.segment_map.dtype == np.int32
    assert sample.segments == (
        TruthSegment(1, 4, CAT),
        TruthSegment(2, 3, SKY),
        TruthSegment(3, 2, DOG, is_crowd=True),
        TruthSegment(4, 2),
    )
    assert [segment.is_thing for segment in sample.segments] == [True, False, True, True]
    assert sample.categories == {1: CAT, 2: SKY, 3: DOG}
    assert sample.crowds == {3}
    assert sample.shape == (3, 4)
    assert repr(sample) == "Sample('a', 4 segments, 3x4)"


def test_derived_maps() -> None:
    sample = draw()
    assert sample.semantic_map().tolist() == [[17, 17, 119, 119], [17, 17, 119, 18], [-1, -1, -1, 18]]
    assert sample.semantic_map([SKY, CAT]).tolist() == [[1, 1, 0, 0], [1, 1, 0, -1], [-1, -1, -1, -1]]
    assert sample.instance_map().tolist() == [[1, 1, 0, 0], [1, 1, 0, -1], [4, 4, 0, -1]]
    assert sample.entity_map().tolist() == [[1, 1, 2, 2], [1, 1, 2, -1], [4, 4, 0, -1]]
    assert IGNORE == -1
    for derived in (sample.semantic_map(), sample.instance_map(), sample.entity_map()):
        assert derived.dtype == np.int32


def test_a_segmentation_has_the_same_segments() -> None:
    segmentation = draw().to_segmentation()
    assert np.array_equal(segmentation.labels, draw().segment_map)
    assert [segment.category for segment in segmentation] == [CAT, SKY, DOG, None]


def test_all_annotators_are_there() -> None:
    other = np.ones((3, 4), np.int32)
    first, second = draw(other_maps=[other]).annotations
    assert first.max() == 4
    assert second is other
    assert len(draw().annotations) == 1


def test_what_does_not_fit_together_is_refused() -> None:
    image, ones = np.zeros((2, 2, 3), np.float32), np.ones((2, 2), np.int32)
    with pytest.raises(ValueError, match=r"segment map's \(H, W\) \(2, 2\), got \[\(3, 2\)\]"):
        Sample(np.zeros((3, 2, 3), np.float32), ones, [TruthSegment(1, 4)])
    with pytest.raises(ValueError, match="further maps and depth"):
        Sample(image, ones, [TruthSegment(1, 4)], np.ones((2, 3), np.float32))
    with pytest.raises(ValueError, match="ids from 1 on, got -1"):
        Sample(image, -ones, [])
    for wrong in ([], [TruthSegment(1, 3)], [TruthSegment(2, 4)], [TruthSegment(1, 4), TruthSegment(2, 0)]):
        with pytest.raises(ValueError, match=r"ids 1\.\.1 of the segment map in order with their areas"):
            Sample(image, ones, wrong)


def test_depth_is_kept() -> None:
    depth = np.full((3, 4), 2.5, np.float32)
    assert draw(depth=depth).depth is depth
    assert draw().depth is None


def test_an_image_file_is_decoded_at_the_first_look_and_once(tmp_path: Path) -> None:
    path = tmp_path / "red.png"
    lazy = LazyImage(path, (3, 4))
    sample = Sample.from_labels(lazy, LABELS)  # there is no file yet
    Image.fromarray(np.full((3, 4, 3), (255, 0, 51), np.uint8)).save(path)
    assert sample.image.shape == (3, 4, 3)
    assert sample.image[0, 0].tolist() == pytest.approx([1, 0, 0.2])
    path.unlink()
    assert sample.image is sample.image


def test_an_image_file_that_is_not_as_it_should_be_is_named(tmp_path: Path) -> None:
    path = tmp_path / "odd.png"
    with pytest.raises(DataError, match=r"odd\.png: there is no such file"):
        LazyImage(path, (3, 4)).read()
    Image.fromarray(np.zeros((4, 3), np.uint8)).save(path)
    with pytest.raises(DataError, match=r"odd\.png: expected an image of 3 x 4 pixels .* got 4 x 3"):
        LazyImage(path, (3, 4)).read()


def test_a_sample_travels_between_processes(tmp_path: Path) -> None:
    sample = pickle.loads(pickle.dumps(draw(name="b", left_out=["a dog behind the cat"])))
    assert (sample.name, sample.left_out) == ("b", ("a dog behind the cat",))
    assert sample.segments == draw().segments


def test_an_image_without_any_segment() -> None:
    sample = Sample.from_labels(np.zeros((2, 3, 3), np.float32), np.zeros((2, 3), np.uint8))
    assert sample.segments == ()
    assert (sample.semantic_map() == IGNORE).all()
    assert not sample.instance_map().any()
    assert not sample.entity_map().any()
