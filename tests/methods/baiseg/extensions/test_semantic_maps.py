"""Class maps that are given to the method: what they may be, that they decide, and how they are brought to a size."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.methods.baiseg.drawn import CAT, CATEGORIES, DOG, GRASS, IDS, drawing, drawn_segmenter, scene
from upseg.errors import DataError, ModelError
from upseg.methods.baiseg.extensions.semantic_maps import nearest_labels
from upseg.segmentation import Category, Segmentation


class TestGivenMaps:
    """Another opinion on what class each pixel has: a ground truth, or another model's."""

    def test_by_the_ids_of_the_classes(self) -> None:
        own = drawn_segmenter().segment(drawing(scene()))
        for dtype in (np.uint8, np.int64):
            given = drawn_segmenter(semantic=False).segment(drawing(scene()), IDS[scene()].astype(dtype))
            np.testing.assert_array_equal(given.labels, own.labels)
            assert [segment.category for segment in given] == [GRASS, CAT, CAT, DOG]
            assert given[1].score == 1

    def test_the_models_own_opinion_does_not_count_then(self) -> None:
        ids = IDS[scene()]
        ids[scene() == 0] = 0
        ids[scene() == 3] = CAT.id
        for background in (False, True):
            result = drawn_segmenter(background=background).segment(drawing(scene()), ids)
            assert {segment.category for segment in result} == {CAT}
            np.testing.assert_array_equal(result.labels == 0, ids == 0)

    def test_splitting_is_segmenting_with_a_map(self) -> None:
        segmenter, ids = drawn_segmenter(semantic=False), IDS[scene()]
        assert segmenter.split(drawing(scene()), ids) == segmenter.segment(drawing(scene()), ids)

    def test_a_segmentation_has_its_own_classes(self) -> None:
        bird = Category(16, "bird")
        labels = scene()
        given = Segmentation.from_labels(labels, categories={1: bird, 2: bird, 3: GRASS}, provenance={"method": "x"})
        result = drawn_segmenter().segment(drawing(labels), given)
        assert [segment.category for segment in result] == [bird, bird, GRASS]
        np.testing.assert_array_equal(result.labels == 0, labels == 0)
        assert result.provenance["semantic_map"] == {"method": "x"}

    def test_which_pixels_are_one_segment_of_it_makes_no_difference(self) -> None:
        labels = scene()
        together = Segmentation.from_labels(np.array([0, 1, 1, 2])[labels], categories={1: CAT, 2: DOG})
        apart = Segmentation.from_labels(
            labels * 2 - (np.arange(80) % 2) * (labels > 0),
            categories=dict.fromkeys((1, 2, 3, 4), CAT) | dict.fromkeys((5, 6), DOG),
        )
        segmenter = drawn_segmenter(semantic=False)
        assert segmenter.segment(drawing(labels), together) == segmenter.segment(drawing(labels), apart)

    def test_segments_without_a_class_are_all_one_class_of_things(self) -> None:
        result = drawn_segmenter(semantic=False).segment(drawing(scene()), Segmentation.from_labels(scene()))
        assert [segment.category for segment in result] == [None, None]  # nothing is between the second cat and the dog

    def test_a_model_without_classes_takes_each_number_as_one(self) -> None:
        ids = np.array([0, 255, 255, 9])[scene()].astype(np.uint8)
        result = drawn_segmenter((), semantic=False).segment(drawing(scene()), ids)
        assert [segment.category for segment in result] == [None] * 3
        np.testing.assert_array_equal(result.labels == 0, ids == 0)

    def test_a_class_may_have_the_id_0(self) -> None:
        cell = Category(0, "cell")
        ids = np.where(scene() > 0, 0, -1)
        result = drawn_segmenter((cell,), semantic=False).segment(drawing(scene()), ids)
        assert {segment.category for segment in result} == {cell}
        np.testing.assert_array_equal(result.labels == 0, scene() == 0)

    @pytest.mark.parametrize("background", [False, True])
    def test_nothing_in_it(self, background: bool) -> None:
        nothing = np.zeros((48, 80), np.int64)
        for given in (nothing, Segmentation.from_labels(nothing)):
            for categories in ((), CATEGORIES):
                segmenter = drawn_segmenter(categories, semantic=False, background=background)
                assert len(segmenter.segment(drawing(scene()), given)) == 0

    @pytest.mark.parametrize("changes", [{"max_pixels": 4000}, {"size": 333}])
    def test_no_segment_goes_beyond_its_class_at_any_size(self, changes: dict[str, Any]) -> None:
        numbers = scene(2)
        result = drawn_segmenter(semantic=False, **changes).segment(drawing(numbers), IDS[numbers])
        for segment in result:
            assert np.unique(IDS[numbers][result.mask(segment.id)]).tolist() == [segment.category.id]
        assert (result.labels > 0).mean() > 0.97

    def test_the_map_is_not_changed(self) -> None:
        ids = IDS[scene()]
        drawn_segmenter(semantic=False).segment(drawing(scene()), ids)
        np.testing.assert_array_equal(ids, IDS[scene()])

    def test_a_model_of_boundaries_alone_needs_one(self) -> None:
        with pytest.raises(ModelError, match=r"finds boundaries alone.*`upseg split`, or segment\(image, semantic_map"):
            drawn_segmenter(semantic=False).segment(drawing(scene()))

    def test_maps_that_do_not_fit_are_refused(self) -> None:
        segmenter = drawn_segmenter(semantic=False)
        for given in (IDS[scene()][1:], Segmentation.from_labels(scene()[1:])):
            with pytest.raises(DataError, match=r"the image's \(H, W\) \(48, 80\), got one of \(47, 80\)"):
                segmenter.split(drawing(scene()), given)
        with pytest.raises(DataError, match="has the ids 5, 255, but the classes of the model have 3, 4, 7; give what"):
            segmenter.split(drawing(scene()), np.array([7, 255, 3, 5])[scene()])


class TestNearestLabels:
    def test_by_hand(self) -> None:
        labels = np.array([[1, 2, 3], [4, 5, 6]])
        assert nearest_labels(labels, (4, 3)).tolist() == [[1, 2, 3], [1, 2, 3], [4, 5, 6], [4, 5, 6]]
        assert nearest_labels(labels, (2, 1)).tolist() == [[2], [5]]
        assert nearest_labels(labels, (1, 2)).tolist() == [[4, 6]]
        assert nearest_labels(labels, (2, 3)) is labels

    @pytest.mark.parametrize("size", [(7, 11), (8, 12), (13, 30), (20, 23), (700, 1100)])
    def test_larger_and_back_is_the_same(self, size: tuple[int, int]) -> None:
        labels = np.arange(77).reshape(7, 11)
        np.testing.assert_array_equal(nearest_labels(nearest_labels(labels, size), (7, 11)), labels)
