import numpy as np
import pytest
from hypothesis import given, settings

from tests.formats.strategies import label_maps, labels_of
from upseg.formats.outlines import paint_polygons
from upseg.formats.yolo_lines import parse_yolo, yolo_lines
from upseg.segmentation import Category, Segmentation

CAT, DOG = Category(7, "cat"), Category(9, "dog")


def test_a_line_is_a_class_and_shares_of_width_and_height() -> None:
    found = Segmentation.from_labels(labels_of("....", ".11."), categories={1: DOG})
    assert yolo_lines(found, {CAT: 0, DOG: 1}) == ["1 0.25 0.5 0.75 0.5 0.75 1 0.25 1"]


@settings(deadline=None)
@given(labels=label_maps)
def test_parts_and_holes_survive(labels) -> None:
    values = [value for value in np.unique(labels).tolist() if value]
    found = Segmentation.from_labels(labels, categories={v: CAT if v % 2 else DOG for v in values})
    read = parse_yolo(yolo_lines(found, {CAT: 0, DOG: 1}), found.shape, 2)
    assert read.left_out == []
    assert read.classes == [0 if segment.category == CAT else 1 for segment in found]
    painted, hidden = paint_polygons([(n, [ring]) for n, ring in enumerate(read.rings, start=1)], found.shape)
    assert not hidden.any()
    assert np.array_equal(painted, found.labels)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("0 0.5 0.5 0.2 0.2", "is only a box"),
        ("0 0.5 0.5", "is no polygon of at least three corners"),
        ("0 0 0 1 0 1 1 0.5", "is no polygon of at least three corners"),
        ("2 0 0 1 0 1 1", "has a category that is not in the table of categories"),
        ("-1 0 0 1 0 1 1", "has a category that is not in the table of categories"),
        ("0.5 0 0 1 0 1 1", "has a category that is not in the table of categories"),
        ("0 0 0 1 0 1 nan", "has corners far outside of its image"),
        ("0 0 0 1 0 1 1e300", "has corners far outside of its image"),
        ("cat 0 0 1 0 1 1", "is no list of numbers"),
    ],
)
def test_what_is_no_outline_is_left_out_and_the_others_stay(line, reason) -> None:
    read = parse_yolo([line, "", "1 0 0 1 0 1 1"], (4, 4), 2)
    assert read.left_out == [f"line 1 {reason}"]
    assert (read.classes, read.lines) == ([1], [3])


def test_a_segment_without_a_class_is_refused() -> None:
    with pytest.raises(ValueError, match="has no category"):
        yolo_lines(Segmentation.from_labels(labels_of("1")), {})
