"""Segmentations made of others, and other manners of a result."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from tests.formats.strategies import labels_of
from upseg.hierarchy import Hierarchy, MergeTree
from upseg.segmentation import Category, Segmentation

CAT, DOG = Category(1, "cat"), Category(2, "dog")


@pytest.fixture
def result() -> Segmentation:
    """1 above 2, 3 and 4; 4 is a part of 3, which is a part of 1."""
    return Segmentation.from_labels(
        labels_of("1111", "2344", ".344"),
        scores={1: 0.8, 3: 0.5, 4: 0.2},
        categories={1: CAT, 3: CAT, 4: DOG},
        parents={4: 3, 3: 1},
        provenance={"method": "x"},
    )


class TestMerge:
    def test_what_is_common_stays(self, result) -> None:
        merged = result.merge([1, 3])
        assert merged.labels.tolist() == labels_of("1111", "2133", ".133").tolist()
        assert (merged[1].area, merged[1].category, merged[1].parent) == (6, CAT, None)
        assert merged[1].score == pytest.approx((4 * 0.8 + 2 * 0.5) / 6)
        assert merged[3].parent == 1
        assert merged.provenance == result.provenance

    def test_what_differs_goes(self, result) -> None:
        merged = result.merge([2, 4])
        assert (merged[2].score, merged[2].category, merged[2].parent) == (None, None, None)

    def test_bad_requests(self, result) -> None:
        with pytest.raises(KeyError, match=r"segment ids are 1\.\.4, got 9"):
            result.merge([1, 9])
        with pytest.raises(ValueError, match="at least one segment"):
            result.merge([])


class TestFilter:
    @pytest.mark.parametrize(
        ("options", "kept"),
        [
            ({"min_area": 2}, [4, 2, 4]),
            ({"max_area": 2}, [1, 2]),
            ({"min_area": 2, "max_area": 3}, [2]),
            ({"clear_border": True}, []),
            ({"keep": lambda segment: segment.category == DOG}, [4]),
        ],
    )
    def test_only_what_passes_every_test_is_kept(self, result, options, kept) -> None:
        assert [segment.area for segment in result.filter(**options)] == kept

    def test_a_part_goes_to_the_next_above_that_is_left(self, result) -> None:
        kept = result.filter(lambda segment: segment.id != 3)
        assert [segment.parent for segment in kept] == [None, None, 1]

    def test_segments_inside_are_clear_of_the_border(self) -> None:
        assert len(Segmentation.from_labels(np.pad(np.ones((2, 2), int), 1)).filter(clear_border=True)) == 1

    def test_the_hierarchy_stays(self) -> None:
        hierarchy = Hierarchy(np.array([[1, 2, 2]], np.int32), MergeTree(2, np.array([[0, 1]]), np.array([0.5])), 1.0)
        assert Segmentation.from_hierarchy(hierarchy, 1.0).filter(min_area=2).at(0.0).labels.tolist() == [[1, 1, 1]]


class TestParts:
    def test_slices_give_a_part_of_the_image(self, result) -> None:
        part = result[1:, 1:]
        assert part.labels.tolist() == labels_of("122", "122").tolist()
        assert (part[1].score, part[2].category, part[2].parent) == (0.5, DOG, 1)
        assert result[:1].labels.tolist() == [[1, 1, 1, 1]]

    def test_a_segment_is_cropped_with_a_margin(self, result) -> None:
        assert result.crop(3).shape == (2, 1)
        assert result.crop(3, margin=1).shape == (3, 3)
        with pytest.raises(ValueError, match="margin must be at least 0"):
            result.crop(3, margin=-1)

    def test_a_cutout_is_transparent_around_the_segment(self, result) -> None:
        image = np.arange(36, dtype=np.uint8).reshape(3, 4, 3)
        cut = result.cutout(4, image, margin=1)
        assert cut.shape == (3, 3, 4)
        assert cut[..., 3].tolist() == [[0, 0, 0], [0, 255, 255], [0, 255, 255]]
        np.testing.assert_array_equal(cut[1:, 1:, :3], image[1:, 2:])
        assert not cut[0].any()
        with pytest.raises(ValueError, match="the image must have"):
            result.cutout(4, image[:2])


class TestManners:
    def test_arrays_and_centroids(self, result) -> None:
        np.testing.assert_array_equal(np.asarray(result), result.labels)
        assert np.asarray(result, np.int64).dtype == np.int64
        assert result.centroids.tolist() == [[0, 1.5], [1, 0], [1.5, 1], [1.5, 2.5]]

    def test_equality_is_about_what_was_segmented(self, result) -> None:
        assert result == result.with_provenance({"method": "y"})
        assert result != result.merge([1, 2])
        assert result != Segmentation.from_labels(result.labels)  # other scores

    def test_notebooks_show_a_picture_and_a_table(self, result) -> None:
        picture = Image.open(io.BytesIO(result._repr_png_()))
        assert picture.size == (4, 3)
        text = result._repr_html_()
        assert "4 segments, 3 x 4 pixels" in text
        assert text.count("<tr>") == 5
        assert base64.b64encode(result._repr_png_()).decode() in text
        assert "&lt;b&gt;" in Segmentation.from_labels(labels_of("1"), categories={1: Category(1, "<b>")})._repr_html_()

    def test_a_large_picture_is_made_small(self) -> None:
        assert Image.open(io.BytesIO(Segmentation.from_labels(np.ones((100, 2000), int))._repr_png_())).width == 512

    def test_show_opens_a_picture(self, result, monkeypatch) -> None:
        shown = []
        monkeypatch.setattr(Image.Image, "show", lambda picture: shown.append(np.asarray(picture)))
        result.show()
        result.show(np.zeros((3, 4, 3), np.uint8))
        assert [picture.shape for picture in shown] == [(3, 4, 3)] * 2
        assert not np.array_equal(*shown)


def test_a_segment_is_cut_where_the_image_has_an_edge_and_the_others_stay() -> None:
    image = np.zeros((20, 30, 3), np.float32)
    image[:, 14:] = 1
    labels = np.ones((20, 30), int)
    labels[:4] = 2
    whole = Segmentation.from_labels(labels, scores={1: 0.5, 2: 0.9}, categories={1: Category(1, "cup")})
    cut = whole.split(2, [[(4, 16), (19, 16)]], image)
    assert [segment.area for segment in cut] == [120, 16 * 14, 16 * 16]
    assert [segment.score for segment in cut] == [0.9, 0.5, 0.5]
    assert cut[3].category == Category(1, "cup")
    assert np.array_equal(cut.mask(1), whole.mask(1))


def test_an_image_of_another_size_cannot_guide_a_cut() -> None:
    whole = Segmentation.from_labels(np.ones((4, 4), int))
    with pytest.raises(ValueError, match="height and width"):
        whole.split(1, [[(0, 1), (3, 1)]], np.zeros((5, 5, 3), np.float32))
