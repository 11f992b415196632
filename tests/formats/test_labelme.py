import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given

from tests.formats.strategies import label_maps, labels_of
from upseg.errors import FormatError
from upseg.formats.labelme import read_labelme, write_labelme
from upseg.segmentation import Category, Segmentation

RING = labels_of("111.22", "1.1.22", "111...", "...2..")


def labelme_file(path: Path, *shapes: dict[str, Any], height: int = 6, width: int = 8) -> Path:
    data = {"version": "5.4.1", "shapes": list(shapes), "imageHeight": height, "imageWidth": width, "imageData": None}
    path.write_text(json.dumps(data))
    return path


def shape(kind: str, *points: tuple[float, float], label: str = "cell", group: int | None = None) -> dict[str, Any]:
    return {"label": label, "points": list(points), "group_id": group, "shape_type": kind, "flags": {}}


def test_holes_and_parts_survive(tmp_path) -> None:
    found = Segmentation.from_labels(RING, categories={1: Category(9, "cell"), 2: Category(4, "dirt")})
    path = write_labelme(found.with_provenance({"image": "sub/a.tif"}), tmp_path / "a.labelme.json")
    data = json.loads(path.read_text())
    assert [(s["label"], s["shape_type"], s["group_id"]) for s in data["shapes"]] == [
        ("cell", "mask", None),
        ("dirt", "polygon", 2),
        ("dirt", "polygon", 2),
    ]
    assert (data["imagePath"], data["imageHeight"], data["imageWidth"]) == ("a.tif", 4, 6)
    again = read_labelme(path)
    np.testing.assert_array_equal(again.labels, RING)
    assert [s.category.name for s in again] == ["cell", "dirt"]


@given(labels=label_maps)
def test_label_maps_survive(tmp_path_factory, labels) -> None:
    segmentation = Segmentation.from_labels(labels, categories={2: Category(2, "two")})
    path = tmp_path_factory.mktemp("labelme") / "a.labelme.json"
    again = read_labelme(write_labelme(segmentation, path))
    np.testing.assert_array_equal(again.labels, segmentation.labels)
    assert [s.category and s.category.name for s in again] == [s.category and s.category.name for s in segmentation]


def test_shapes_of_every_kind(tmp_path) -> None:
    path = labelme_file(
        tmp_path / "a.json",
        shape("rectangle", (1, 1), (3, 2), label="box"),
        shape("circle", (6, 4), (6, 5.2), label="disc"),
        shape("polygon", (4, 0), (6, 0), (6, 2), (4, 2), group=3),
        shape("polygon", (0, 4), (2, 4), (2, 5), (0, 5), group=3),
    )
    expected = labels_of("....11..", ".22.11..", "........", ".....33.", "11...33.", "........")
    np.testing.assert_array_equal(read_labelme(path).labels, expected)


def test_what_covers_no_area_is_left_out_and_counted(tmp_path) -> None:
    lines = [shape("line", (0, 0), (3, 3)), shape("point", (1, 1)), shape("point", (2, 2)), shape("polygon", (0, 0))]
    path = labelme_file(tmp_path / "a.json", *lines, shape("rectangle", (0, 0), (2, 2)))
    with pytest.warns(UserWarning, match=r"left out shapes that cover no area: 1 line, 2 point, 1 polygon"):
        assert len(read_labelme(path)) == 1


def test_a_file_without_objects(tmp_path) -> None:
    assert len(read_labelme(labelme_file(tmp_path / "a.json"))) == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"imageHeight": 0}, "at least 1"),
        ({"imageWidth": 10**9}, "at most"),
        ({"shapes": [{"points": [[1, "a"]]}]}, "must be a number"),
        ({"shapes": [{"shape_type": "mask", "points": [[0, 0], [1, 1]], "mask": "!"}]}, "cannot be read as labelme"),
        ({"shapes": 3}, "must be a JSON list"),
    ],
)
def test_broken_files_end_in_one_error(tmp_path, change, message) -> None:
    path = labelme_file(tmp_path / "a.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with warnings.catch_warnings(), pytest.raises(FormatError, match=message):
        read_labelme(path)
