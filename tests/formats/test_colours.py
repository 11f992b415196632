from __future__ import annotations

import numpy as np
import pytest

from tests.formats.strategies import labels_of
from upseg.formats.colours import OKABE_ITO, segment_colours
from upseg.segmentation import Category, Segmentation

# linear RGB as people without the long-, middle- or short-wave cones see it; Machado, Oliveira and Fernandes, A
# Physiologically-based Model for Simulation of Color Vision Deficiency (2009), severity 1.0
DEFICIENCIES = {
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def to_lab(rgb):
    from skimage.color import rgb2lab

    return rgb2lab(np.asarray(rgb, float)[None] / 255)[0]


def linear(rgb):
    share = np.asarray(rgb, float) / 255
    return np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)


def displayed(share):
    share = np.clip(share, 0, 1)
    return 255 * np.where(share <= 0.0031308, share * 12.92, 1.055 * share ** (1 / 2.4) - 0.055)


def test_first_seven_are_the_published_palette():
    np.testing.assert_array_equal(segment_colours(7), OKABE_ITO)
    assert segment_colours(0).shape == (0, 3)


def test_a_colour_depends_on_the_id_alone():
    np.testing.assert_array_equal(segment_colours(100)[:40], segment_colours(40))
    assert len(np.unique(segment_colours(35), axis=0)) == 35


@pytest.mark.parametrize("deficiency", [None, *DEFICIENCIES])
def test_neighbours_in_id_are_told_apart_by_everyone(deficiency):
    colours = segment_colours(35)
    if deficiency is not None:
        colours = displayed(linear(colours) @ np.array(DEFICIENCIES[deficiency]).T)
    lab = to_lab(colours)
    # a difference of 2.3 is just noticeable
    assert np.linalg.norm(np.diff(lab, axis=0), axis=1).min() > 15


def test_a_segment_avoids_the_hue_of_a_larger_neighbour():
    labels = labels_of("1111111111", "2345678111", "1111111111")
    colours = segment_colours(Segmentation.from_labels(labels))
    np.testing.assert_array_equal(colours[0], OKABE_ITO[0])  # the largest keeps its own
    np.testing.assert_array_equal(colours[1:7], OKABE_ITO[1:7])  # and so do those that already differ
    # the eighth would have the first one's hue
    np.testing.assert_array_equal(colours[7], segment_colours(9)[8])


def test_more_neighbours_than_hues_still_differ():
    labels = np.kron(np.arange(1, 26).reshape(5, 5), np.ones((2, 2), int))
    segmentation = Segmentation.from_labels(labels)
    table = np.concatenate(([[0, 0, 0]], segment_colours(segmentation)))
    drawn = table[segmentation.labels]
    assert np.all(np.any(drawn[1:] != drawn[:-1], axis=-1) == (segmentation.labels[1:] != segmentation.labels[:-1]))


def test_a_category_has_one_hue_and_its_segments_differ():
    cat, sky = Category(1, "cat"), Category(2, "sky", is_thing=False)
    segmentation = Segmentation.from_labels(labels_of("1.2.3.4"), categories={1: cat, 2: sky, 3: cat, 4: cat})
    colours = segment_colours(segmentation)
    np.testing.assert_array_equal(colours[0], OKABE_ITO[1])
    np.testing.assert_array_equal(colours[1], OKABE_ITO[2])
    np.testing.assert_array_equal(colours[[2, 3]], segment_colours(35)[[8, 15]])
