from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from tests.formats.strategies import labels_of
from upseg.formats import draw_overlay, segment_colours, write
from upseg.segmentation import Category, Segmentation

RNG = np.random.default_rng(0)


def two_halves(height=60, width=90, **facts):
    labels = np.zeros((height, width), np.int32)
    labels[:, : width // 3], labels[:, width // 3 : -10] = 1, 2
    return Segmentation.from_labels(labels, **facts)


def test_blending_by_hand():
    image = np.full((1, 3, 3), 0.2, np.float32)
    segmentation = Segmentation.from_labels(labels_of("1.2"))
    drawn = draw_overlay(segmentation, image, alpha=0.25, outlines=False)
    first, second = segment_colours(segmentation).astype(float)
    expected = [[0.75 * 51 + 0.25 * first, [51, 51, 51], 0.75 * 51 + 0.25 * second]]
    np.testing.assert_array_equal(drawn, np.rint(expected))


def test_opacity_goes_from_nothing_to_all():
    segmentation, image = two_halves(), RNG.random((60, 90, 3), np.float32)
    np.testing.assert_array_equal(draw_overlay(segmentation, image, alpha=0.0, outlines=False), np.rint(image * 255))
    table = np.concatenate((np.zeros((1, 3)), segment_colours(segmentation)))
    opaque = draw_overlay(segmentation, image, alpha=1.0, outlines=False)
    inside = segmentation.labels > 0
    np.testing.assert_array_equal(opaque[inside], table[segmentation.labels[inside]])


def test_bands_join_without_a_seam():
    labels = np.kron(RNG.integers(0, 5, (60, 3)), np.ones((10, 4), int))
    segmentation, image = Segmentation.from_labels(labels), RNG.random((600, 12, 3), np.float32)
    table = np.concatenate((np.zeros((1, 3)), segment_colours(segmentation)))[segmentation.labels]
    opacity = 0.5 * (segmentation.labels > 0)[..., None]
    expected = image * 255 * (1 - opacity) + table * opacity
    drawn = draw_overlay(segmentation, image, outlines=False)
    assert np.abs(drawn - expected).max() <= 0.51


@pytest.mark.parametrize("grey", [0.0, 0.5, 1.0])
def test_outlines_show_on_any_image(grey):
    segmentation = two_halves()
    image = np.full((60, 90, 3), grey, np.float32)
    plain, drawn = (draw_overlay(segmentation, image, outlines=o).astype(int) for o in (False, True))
    changed = np.any(plain != drawn, axis=-1)
    assert changed[:, [29, 30, 79]].all()
    assert changed[:, 80].all() == (grey > 0)  # a dark line on black void
    assert not changed[:, np.setdiff1d(np.arange(90), [29, 30, 79, 80])].any()
    assert (drawn[:, 29].mean(axis=-1) - drawn[:, 30].mean(axis=-1)).min() > 80  # light beside dark


def test_outlines_grow_with_the_image():
    labels = np.ones((2, 2700), np.int32)
    labels[:, 1350:] = 2
    image = np.full((2, 2700, 3), 0.5, np.float32)
    segmentation = Segmentation.from_labels(labels)
    plain, drawn = (draw_overlay(segmentation, image, outlines=o) for o in (False, True))
    np.testing.assert_array_equal(np.flatnonzero(np.any(plain != drawn, axis=(0, 2))), np.arange(1347, 1353))


def test_names_are_inside_their_segments_even_if_the_centroid_is_not():
    labels = np.zeros((120, 200), np.int32)
    labels[10:110, 10:190] = 1
    labels[10:80, 60:190] = 0  # an L whose centroid is in the notch
    image = np.full((120, 200, 3), 0.5, np.float32)
    plain = draw_overlay(Segmentation.from_labels(labels), image)
    named = Segmentation.from_labels(labels, categories={1: Category(0, "mug")})
    drawn = draw_overlay(named, image)
    rows, columns = np.nonzero(np.any(plain != drawn, axis=-1))
    assert len(rows) > 50
    assert (labels[rows, columns] == 1).all()
    assert drawn[rows, columns].max() == 255
    assert drawn[rows, columns].min() == 0


def test_a_name_at_the_edge_is_not_cut():
    labels = np.zeros((40, 300), np.int32)
    labels[:, :24] = 1
    image = np.full((40, 300, 3), 0.5, np.float32)
    plain = draw_overlay(Segmentation.from_labels(labels), image)
    drawn = draw_overlay(Segmentation.from_labels(labels, categories={1: Category(0, "wide name")}), image)
    changed = np.any(plain != drawn, axis=(0, 2))
    assert changed[1:].any()
    assert np.flatnonzero(changed).max() > 40  # moved to the right of its segment rather than cut
    assert changed[:3].any()


def test_names_that_cannot_be_read_are_left_out():
    labels = labels_of("1111", "1111", "1111")
    image = np.zeros((3, 4, 3), np.float32)
    named = draw_overlay(Segmentation.from_labels(labels, categories={1: Category(0, "mug")}), image)
    np.testing.assert_array_equal(named, draw_overlay(Segmentation.from_labels(labels), image))


def test_file_is_the_drawing(tmp_path):
    segmentation, image = two_halves(), RNG.random((60, 90, 3), np.float32)
    path = write(segmentation, tmp_path / "a.overlay.png", image=image)
    with Image.open(path) as written:
        np.testing.assert_array_equal(np.asarray(written), draw_overlay(segmentation, image))


def test_wrong_arguments():
    image = np.zeros((60, 91, 3), np.float32)
    with pytest.raises(ValueError, match=r"height and width \(60, 90\), got \(60, 91\)"):
        draw_overlay(two_halves(), image)
    with pytest.raises(ValueError, match="alpha must be in"):
        draw_overlay(two_halves(), image[:, :90], alpha=1.5)


def test_nothing_to_draw():
    segmentation = Segmentation.from_labels(np.zeros((4, 5), np.int32))
    np.testing.assert_array_equal(draw_overlay(segmentation, np.ones((4, 5, 3), np.float32)), 255)
