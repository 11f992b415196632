import numpy as np
import pytest

from upseg.formats.label_colours import (
    class_table,
    label_map_text,
    numbers_of_colours,
    parse_label_map,
    spread_colours,
)
from upseg.segmentation import Category


def test_colours_are_vocs_and_all_different() -> None:
    # PASCAL VOC's own: aeroplane, bicycle, bird, ..., tvmonitor, void
    known = {0: (0, 0, 0), 1: (128, 0, 0), 2: (0, 128, 0), 3: (128, 128, 0), 20: (0, 64, 128), 255: (224, 224, 192)}
    assert [tuple(c) for c in spread_colours(np.array(list(known))).tolist()] == list(known.values())
    assert len(np.unique(spread_colours(np.arange(70_000)), axis=0)) == 70_000


def test_the_text_is_read_again() -> None:
    text = label_map_text([Category(7, "cat"), Category(9, "traffic light")])
    assert text == ("# label:color_rgb:parts:actions\nbackground:0,0,0::\ncat:128,0,0::\ntraffic light:0,128,0::\n")
    colours = parse_label_map(text)
    assert list(colours) == ["background", "cat", "traffic light"]
    assert class_table(colours) == {(0, 0, 0): 0, (128, 0, 0): 1, (0, 128, 0): 2}


def test_the_background_can_have_another_colour_and_classes_parts() -> None:
    colours = parse_label_map("cat:1,2,3:head,tail:sit\nBackground:255,255,255::\n")
    pixels = np.array([[[1, 2, 3], [255, 255, 255]]], np.uint8)
    assert numbers_of_colours(pixels, class_table(colours)).tolist() == [[1, 0]]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("cat", "expected lines"),
        ("cat:1,2::", "expected lines"),
        ("cat:1,2,256::", "expected lines"),
        ("cat:1,2,3::\ncat:1,2,4::", "two lines are about 'cat'"),
        ("cat:1,2,3::\ndog:1,2,3::", "two classes have the colour"),
    ],
)
def test_what_is_wrong_is_said(text, reason) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_label_map(text)


def test_a_colour_that_is_no_class_is_named() -> None:
    with pytest.raises(ValueError, match=r"the colour \(9, 8, 7\) is none of labelmap\.txt's 1 classes"):
        numbers_of_colours(np.array([[[9, 8, 7]]], np.uint8), {(0, 0, 0): 0})


def test_names_that_the_file_cannot_hold_are_refused() -> None:
    with pytest.raises(ValueError, match="no colon"):
        label_map_text([Category(1, "a:b")])
