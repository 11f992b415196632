import json
from pathlib import Path

import numpy as np
import pytest
from faster_coco_eval import COCO as FasterCOCO
from pycocotools.coco import COCO

from upseg.data.sources.coco_json import CocoJson
from upseg.errors import FormatError
from upseg.formats import read_coco
from upseg.formats.coco_folder import write_coco_folder
from upseg.segmentation import Category, Segmentation

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")
CELL, SKY = Category(3, "cell"), Category(1, "sky", is_thing=False)


def two_cells() -> Segmentation:
    labels = np.array([[1, 1, 0, 2], [1, 3, 3, 2]])
    return Segmentation.from_labels(labels, categories={1: CELL, 2: CELL, 3: SKY}, scores={1: 0.25}, parents={2: 1})


def nothing() -> Segmentation:
    return Segmentation.from_labels(np.zeros((3, 2), int))


def written(folder: Path, **options: object) -> Path:
    images = [("sub/a.jpg", two_cells(), ()), ("b.png", nothing(), ()), ("c\udcff.png", two_cells(), {1})]
    path = folder / "instances.json"
    assert write_coco_folder(iter(images), path, **options) == (3, 4)
    return path


def test_things_of_all_images_are_numbered_through_and_stuff_is_left_out(tmp_path) -> None:
    data = json.loads(written(tmp_path).read_text())
    assert data["images"] == [
        {"id": 1, "width": 4, "height": 2, "file_name": "sub/a.jpg"},
        {"id": 2, "width": 2, "height": 3, "file_name": "b.png"},
        {"id": 3, "width": 4, "height": 2, "file_name": "c\udcff.png"},
    ]
    assert data["categories"] == [{"id": 3, "name": "cell", "supercategory": "cell", "isthing": 1}]
    rows = data["annotations"]
    assert [(row["id"], row["image_id"], row["category_id"]) for row in rows] == [
        (1, 1, 3),
        (2, 1, 3),
        (3, 3, 3),
        (4, 3, 3),
    ]
    assert [(row["area"], row["bbox"], row["iscrowd"], row["score"]) for row in rows[:2]] == [
        (3, [0, 0, 2, 2], 0, 0.25),
        (2, [3, 0, 1, 2], 0, 1.0),
    ]
    assert [row["iscrowd"] for row in rows] == [0, 0, 1, 0]
    assert all(set(row["segmentation"]) == {"size", "counts"} and "parent" not in row for row in rows)


def test_other_tools_and_our_readers_open_it(tmp_path) -> None:
    path = written(tmp_path)
    coco = COCO(str(path))
    masks = [coco.annToMask(annotation) for annotation in coco.loadAnns(coco.getAnnIds(imgIds=[1]))]
    assert [mask.tolist() for mask in masks] == [[[1, 1, 0, 0], [1, 0, 0, 0]], [[0, 0, 0, 1], [0, 0, 0, 1]]]
    assert len(FasterCOCO(str(path)).getAnnIds(imgIds=[3])) == 2
    assert read_coco(path, image="sub/a.jpg").labels.tolist() == [[1, 1, 0, 2], [1, 0, 0, 2]]
    dataset = CocoJson(path, [tmp_path])
    assert list(dataset.names) == ["sub/a", "b", "c\udcff"]
    assert dataset.categories == (CELL,)


def test_classes_are_listed_that_no_segment_is_of_but_no_stuff(tmp_path) -> None:
    data = json.loads(written(tmp_path, categories=[SKY, Category(7, "late"), Category(2, "early")]).read_text())
    assert [(row["id"], row["name"]) for row in data["categories"]] == [(2, "early"), (3, "cell"), (7, "late")]


def test_no_image_at_all_is_a_file_too(tmp_path) -> None:
    assert write_coco_folder([], tmp_path / "a.json", description='of "none"') == (0, 0)
    data = json.loads((tmp_path / "a.json").read_text())
    assert data == {"info": {"description": 'of "none"'}, "annotations": [], "images": [], "categories": []}


def test_what_cannot_be_written_leaves_the_older_file(tmp_path) -> None:
    path = written(tmp_path)
    before = path.read_bytes()
    nameless = Segmentation.from_labels(np.ones((1, 1), int))
    with pytest.raises(FormatError, match=r"segment 1 of n\.png has no category"):
        write_coco_folder([("a.jpg", two_cells(), ()), ("n.png", nameless, ())], path)
    with pytest.raises(FormatError, match="two categories have the id 3: other and cell"):
        write_coco_folder([("a.jpg", two_cells(), ())], path, categories=[Category(3, "other")])

    def stopped():
        yield "a.jpg", two_cells(), ()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_coco_folder(stopped(), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
