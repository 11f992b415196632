from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.formats.strategies import labels_of
from upseg.errors import FormatError
from upseg.formats import read, read_panoptic, write
from upseg.formats.panoptic import colours_to_ids, ids_to_colours
from upseg.segmentation import Category, Segmentation


def official_pair(folder, images=("a", "b"), **more):
    """A JSON file and PNGs in the folder of the same name, as COCO's archives unpack."""
    (folder / "val").mkdir()
    ids = np.array([[70_000, 70_000, 0], [5, 5, 0]], np.int32)
    for name in images:
        Image.fromarray(ids_to_colours(ids)).save(folder / "val" / f"{name}.png")
    segments = [{"id": 5, "category_id": 2, "area": 2}, {"id": 70_000, "category_id": 1, "area": 2}]
    data = {
        "images": [{"id": i, "file_name": f"{n}.jpg", "width": 3, "height": 2} for i, n in enumerate(images)],
        "annotations": [
            {"image_id": i, "file_name": f"{n}.png", "segments_info": segments} for i, n in enumerate(images)
        ],
        "categories": [{"id": 1, "name": "cat", "isthing": 1}, {"id": 2, "name": "sky", "isthing": 0}],
    }
    path = folder / "val.json"
    path.write_text(json.dumps(data | more))
    return path


def test_official_layout(tmp_path):
    path = official_pair(tmp_path)
    expected = Segmentation.from_labels(
        labels_of("11.", "22."), categories={1: Category(1, "cat"), 2: Category(2, "sky", is_thing=False)}
    )
    assert read_panoptic(path, image="b.jpg") == read_panoptic(path, image=0) == expected
    with pytest.raises(FormatError, match=r"holds 2 images .* choose one with read_panoptic"):
        read(path, format="panoptic")


def test_what_is_written(tmp_path):
    labels = labels_of("12.", "112")
    segmentation = Segmentation.from_labels(labels, categories={2: Category(3, "sky", is_thing=False)}, parents={1: 2})
    path = write(segmentation, tmp_path / "photo.panoptic.json")
    data = json.loads(path.read_text())
    assert data["images"] == [{"id": 1, "width": 3, "height": 2, "file_name": "photo"}]
    (annotation,) = data["annotations"]
    assert annotation["file_name"] == "photo.panoptic.png"
    assert annotation["segments_info"] == [
        {"id": 1, "category_id": 4, "area": 3, "bbox": [0, 0, 2, 2], "iscrowd": 0, "parent": 2},
        {"id": 2, "category_id": 3, "area": 2, "bbox": [1, 0, 2, 2], "iscrowd": 0},
    ]
    assert [(c["id"], c["name"], c["isthing"]) for c in data["categories"]] == [(3, "sky", 0), (4, "segment", 1)]
    with Image.open(tmp_path / "photo.panoptic.png") as image:
        pixels = np.asarray(image)
    np.testing.assert_array_equal(pixels, np.stack((labels, 0 * labels, 0 * labels), axis=-1))


def test_colours_by_hand():
    ids = np.array([[0, 255, 256, 65_536, 16_777_215, 70_000]], np.int32)
    expected = [[[0, 0, 0], [255, 0, 0], [0, 1, 0], [0, 0, 1], [255, 255, 255], [112, 17, 1]]]
    np.testing.assert_array_equal(ids_to_colours(ids), expected)
    np.testing.assert_array_equal(colours_to_ids(np.array(expected, np.uint8)), ids)


def test_png_appears_before_the_json(tmp_path, monkeypatch):
    replaced = []
    replace = type(tmp_path).replace

    def spy(self, target):
        replaced.append(target.name)
        return replace(self, target)

    monkeypatch.setattr(type(tmp_path), "replace", spy)
    write(Segmentation.from_labels(labels_of("1")), tmp_path / "a.panoptic.json")
    assert replaced == ["a.panoptic.png", "a.panoptic.json"]


def test_png_is_missing(tmp_path):
    path = write(Segmentation.from_labels(labels_of("1")), tmp_path / "a.panoptic.json")
    (tmp_path / "a.panoptic.png").unlink()
    with pytest.raises(FormatError, match=r"its PNG a\.panoptic\.png is neither in .* nor in "):
        read(path)


@pytest.mark.parametrize("name", ["../secret.png", "/etc/secret.png", "..", "", "C:secret.png", "a\\b.png", None])
def test_png_outside_the_folder_is_refused(tmp_path, name):
    annotation = {"image_id": 0, "file_name": name, "segments_info": []}
    path = official_pair(tmp_path, ["a"], annotations=[annotation])
    with pytest.raises(FormatError, match="must be a plain file name"):
        read(path, format="panoptic")


def test_parts_that_do_not_belong_together(tmp_path):
    path = official_pair(tmp_path, ["a"])
    data = json.loads(path.read_text())
    rows = data["annotations"][0]["segments_info"]
    data["annotations"][0]["segments_info"] = rows[:1]
    path.write_text(json.dumps(data))
    with pytest.raises(FormatError, match=r"the segments that .*val\.json lists differ in \[70000\]"):
        read(path, format="panoptic")
    data["annotations"][0]["segments_info"] = rows
    data["images"][0]["width"] = 4
    path.write_text(json.dumps(data))
    with pytest.raises(FormatError, match=r"a\.png: .* expected \(2, 4\) pixels"):
        read(path, format="panoptic")
    data["annotations"] = []
    path.write_text(json.dumps(data))
    with pytest.raises(FormatError, match="image 0 has 0 annotations, expected one"):
        read(path, format="panoptic")


@pytest.mark.skipif("UPSEG_DATA" not in os.environ, reason="UPSEG_DATA is not set")
def test_coco_as_downloaded():
    path = Path(os.environ["UPSEG_DATA"]) / "coco-panoptic-100" / "annotations" / "panoptic_train2017.json"
    data = json.loads(path.read_text())
    for annotation in data["annotations"][:3]:
        found = sorted((s.category.id, s.area) for s in read_panoptic(path, image=annotation["image_id"]))
        assert found == sorted((row["category_id"], row["area"]) for row in annotation["segments_info"])
