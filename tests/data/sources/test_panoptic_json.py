"""COCO panoptic and whatever else comes in its format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.data.sources.trees import draw_coco_panoptic, numbers, panoptic_tables, write_image, write_json, write_map
from upseg.data.sources import open_dataset
from upseg.errors import DataError

JSON = Path("annotations", "panoptic_train2017.json")
PNGS = Path("annotations", "panoptic_train2017")


def test_segments_are_read(tmp_path: Path) -> None:
    draw_coco_panoptic(tmp_path)
    dataset = open_dataset("coco-panoptic", tmp_path)  # the only split there is
    assert [(c.id, c.name, c.is_thing) for c in dataset.categories] == [(1, "person", True), (119, "sky", False)]
    first, second = dataset
    assert first.segment_map.tolist() == numbers(1, 2).tolist()
    assert [(s.category.name, s.is_crowd, s.area) for s in first.segments] == [
        ("sky", False, 18),
        ("person", False, 12),
    ]
    assert second.crowds == {2}
    assert first.semantic_map(dataset.categories).tolist() == numbers(1, 0, elsewhere=-1).tolist()
    assert first.instance_map().tolist() == numbers(0, 2).tolist()
    assert second.instance_map().tolist() == numbers(0, -1).tolist()


def test_pngs_may_lie_in_folders_as_their_images_do(tmp_path: Path) -> None:
    names = ["deep/000000000001.jpg", "000000000002.jpg"]
    for name in names:
        write_image(tmp_path / "train2017" / name)
    tables = panoptic_tables(names, tmp_path / PNGS)
    first = next(row for row in tables["annotations"] if row["image_id"] == 1)
    (tmp_path / PNGS / "deep").mkdir()
    (tmp_path / PNGS / first["file_name"]).rename(tmp_path / PNGS / "deep" / "x.png")
    first["file_name"] = "deep/x.png"
    write_json(tmp_path / JSON, tables)
    assert [len(sample.segments) for sample in open_dataset("coco-panoptic", tmp_path)] == [2, 2]


def change(root: Path, **changes: Any) -> None:
    tables = panoptic_tables(["000000000001.jpg", "000000000002.jpg"], root / PNGS)
    first = tables["annotations"][1]
    first["segments_info"][0].update(changes.pop("segment", {}))
    first.update(changes.pop("annotation", {}))
    write_json(root / JSON, tables | changes)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"segment": {"category_id": "x"}}, "the category_id of segment 70000"),
        ({"segment": {"id": 4}}, r"1 segments of the PNG are not in the JSON file \(70000\), 1 segments of the JSON"),
        ({"annotation": {"segments_info": []}}, r"2 segments of the PNG are not in the JSON file \(513\)"),
        ({"annotation": {"segments_info": None}}, "segments_info must be a JSON list"),
        ({"annotation": {"file_name": "../x.png"}}, "must be a plain file name"),
        ({"annotation": {"file_name": "nowhere.png"}}, r"nowhere\.png: no such file"),
        ({"annotation": {"image_id": 2}}, r"image 000000000001\.jpg has 0 annotations, expected one"),
    ],
)
def test_parts_that_disagree_are_named(tmp_path: Path, changes: dict[str, Any], reason: str) -> None:
    draw_coco_panoptic(tmp_path)
    change(tmp_path, **changes)
    with pytest.raises(DataError, match=reason) as caught:
        open_dataset("coco-panoptic", tmp_path)[0]
    assert str(tmp_path) in str(caught.value)


def test_a_segment_of_an_unknown_class_is_left_out(tmp_path: Path) -> None:
    draw_coco_panoptic(tmp_path)
    whole = open_dataset("coco-panoptic", tmp_path)[0]
    change(tmp_path, segment={"category_id": 5})
    sample = open_dataset("coco-panoptic", tmp_path)[0]
    assert len(sample.segments) == len(whole.segments) - 1
    assert sample.left_out == ("segment 70000 has a category that is not in the table of categories",)


def test_an_empty_map_is_refused(tmp_path: Path) -> None:
    draw_coco_panoptic(tmp_path)
    write_map(tmp_path / PNGS / "000000000001.png", np.zeros((6, 8, 3)))
    with pytest.raises(DataError, match=r"000000000001\.png: the annotation is empty: none of its 48 pixels"):
        open_dataset("coco-panoptic", tmp_path)[0]


def test_a_grey_map_is_refused(tmp_path: Path) -> None:
    draw_coco_panoptic(tmp_path)
    write_map(tmp_path / PNGS / "000000000001.png", numbers(1, 2))
    with pytest.raises(DataError, match=r"000000000001\.png: .*expected 8-bit colours, got uint8 of shape \(6, 8\)"):
        open_dataset("coco-panoptic", tmp_path)[0]


def test_the_split_has_to_be_clear(tmp_path: Path) -> None:
    draw_coco_panoptic(tmp_path)
    assert len(open_dataset("coco-panoptic", tmp_path, split="train")) == 2
    with pytest.raises(DataError, match=r"the split 'val' was asked for, and .*annotations has train2017"):
        open_dataset("coco-panoptic", tmp_path, split="val")
    (tmp_path / JSON).with_name("panoptic_train2014.json").write_text("{}")
    with pytest.raises(DataError, match=r"no split was named, and .* has train2014, train2017: name one"):
        open_dataset("coco-panoptic", tmp_path)
    with pytest.raises(DataError, match=r"'train' was asked for, and .* has train2014, train2017"):
        open_dataset("coco-panoptic", tmp_path, split="train")
    assert len(open_dataset("coco-panoptic", tmp_path, split="train2017")) == 2
