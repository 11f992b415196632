from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from tests.data.sources.trees import (
    coco_tables,
    draw_labels,
    draw_masks,
    draw_plain_json,
    numbers,
    panoptic_tables,
    write_image,
    write_json,
    write_map,
)
from upseg.data.sources import open_dataset
from upseg.errors import DataError
from upseg.segmentation import Category


def test_label_maps_of_any_kind(tmp_path: Path) -> None:
    draw_labels(tmp_path)
    for sample in open_dataset("folder", tmp_path):
        assert sample.segment_map.tolist() == numbers(1, 2).tolist()
        assert sample.categories == {}
    tifffile.imwrite(tmp_path / "labels" / "deep" / "b.tif", numbers(70_000, 5).astype(np.int32))
    assert len(open_dataset("folder", tmp_path)[1].segments) == 2
    for values, reason in (
        (numbers(-4, 5).astype(np.int32), "labels must be 0 .* or more, got -4"),
        (numbers(0, 0).astype(np.int32), "the annotation is empty"),
        (numbers(1, 2).astype(np.float32), "a label map has one channel of integers, got float32"),
        (np.stack([numbers(1, 2)] * 2).astype(np.uint16), "a label map is one page, this file has 2"),
    ):
        tifffile.imwrite(tmp_path / "labels" / "deep" / "b.tif", values, photometric="minisblack")
        with pytest.raises(DataError, match=rf"b\.tif: .*{reason}"):
            open_dataset("folder", tmp_path)[1]


def test_masks_without_names(tmp_path: Path) -> None:
    draw_masks(tmp_path)
    write_map(tmp_path / "masks" / "b.png", numbers(7, 255))
    dataset = open_dataset("folder", tmp_path)
    assert dataset.categories == tuple(Category(n, f"class {n}", is_thing=False) for n in (1, 4, 7))
    first, second = dataset
    assert first.semantic_map(dataset.categories).tolist() == numbers(0, 1, elsewhere=-1).tolist()
    assert second.semantic_map(dataset.categories).tolist() == numbers(2, -1, elsewhere=-1).tolist()
    assert not first.crowds


def test_damaged_masks_do_not_hide_the_others_categories(tmp_path: Path) -> None:
    draw_masks(tmp_path)
    (tmp_path / "masks" / "b.png").write_bytes(b"")
    assert [category.id for category in open_dataset("folder", tmp_path, on_error="skip").categories] == [1, 4]
    with pytest.raises(DataError, match=r"b\.png"):
        _ = open_dataset("folder", tmp_path).categories


def test_masks_with_names(tmp_path: Path) -> None:
    draw_masks(tmp_path)
    write_json(tmp_path / "categories.json", [{"id": 1, "name": "cell"}, {"id": 4, "name": "glass", "isthing": 0}])
    dataset = open_dataset("folder", tmp_path)
    assert [(s.category.name, s.is_crowd) for s in dataset[0].segments] == [("cell", True), ("glass", False)]
    write_map(tmp_path / "masks" / "b.png", numbers(1, 2))
    with pytest.raises(DataError, match=r"b\.png: the value 2 has no category; the categories are numbered 1 to 4"):
        dataset[1]
    write_map(tmp_path / "masks" / "b.png", numbers(0, 255))
    with pytest.raises(DataError, match=r"b\.png: the annotation is empty"):
        dataset[1]
    (tmp_path / "categories.json").write_text('{"id": 1}')
    with pytest.raises(DataError, match=r"categories\.json: .*must be a JSON list"):
        open_dataset("folder", tmp_path)


def test_a_coco_file_comes_last_or_is_named(tmp_path: Path) -> None:
    draw_labels(tmp_path / "both")
    write_json(tmp_path / "both" / "file.json", coco_tables(["a.jpg"]))
    assert open_dataset("folder", tmp_path / "both").categories == ()
    assert len(open_dataset("folder", tmp_path / "both", annotations="file.json").categories) == 2
    draw_plain_json(tmp_path)
    dataset = open_dataset("folder", tmp_path)
    assert [category.name for category in dataset.categories] == ["car", "cat"]
    assert len(open_dataset("folder", tmp_path, only=["car"])[0].segments) == 1
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations.json").rename(tmp_path / "annotations" / "mine.json")
    assert len(open_dataset("folder", tmp_path)) == 2
    write_json(tmp_path / "second.json", coco_tables(["a.png"]))
    with pytest.raises(DataError, match=r"several JSON files \(second\.json, mine\.json\); choose one"):
        open_dataset("folder", tmp_path)
    assert len(open_dataset("folder", tmp_path, annotations="second.json")) == 1
    with pytest.raises(DataError, match=r"third\.json should be a COCO JSON file, but there is none"):
        open_dataset("folder", tmp_path, annotations="third.json")


def test_a_panoptic_file_has_its_pngs_beside_it(tmp_path: Path) -> None:
    write_image(tmp_path / "images" / "a.png")
    write_json(tmp_path / "mine.json", panoptic_tables(["a.png"], tmp_path / "mine"))
    assert [s.category.name for s in open_dataset("folder", tmp_path)[0].segments] == ["sky", "person"]
    with pytest.raises(
        DataError, match=r"only=\.\.\. chooses categories of instances, but .*mine\.json is COCO panoptic"
    ):
        open_dataset("folder", tmp_path, only=["sky"])


def test_splits_are_folders(tmp_path: Path) -> None:
    draw_labels(tmp_path / "val")
    assert len(open_dataset("folder", tmp_path, split="val")) == 2
    draw_labels(tmp_path)
    assert list(open_dataset("folder", tmp_path, split="deep").names) == ["b"]
    with pytest.raises(DataError, match="images/train should be a folder with images, but there is none"):
        open_dataset("folder", tmp_path, split="train")


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    with pytest.raises(DataError, match=r"should hold a folder images beside labels, masks .* holds photos"):
        open_dataset("folder", tmp_path)
    (tmp_path / "images").mkdir()
    with pytest.raises(
        DataError, match=r"should hold labels \(label maps\), masks \(class masks\) or a COCO JSON file"
    ):
        open_dataset("folder", tmp_path)
    (tmp_path / "labels").mkdir()
    with pytest.raises(DataError, match=r"images should hold images \(\*\.bmp, .*\), but holds nothing"):
        open_dataset("folder", tmp_path)
    write_image(tmp_path / "images" / "a.png")
    write_map(tmp_path / "labels" / "b.png", numbers(1, 2))
    with pytest.raises(DataError, match=r"no two file names fit together: 1 files in .*images have no partner"):
        open_dataset("folder", tmp_path)
    with pytest.raises(DataError, match=r"only=\.\.\. chooses categories of a COCO JSON file, but .* has labels"):
        open_dataset("folder", tmp_path, only=["cat"])


def test_two_images_of_one_name_are_refused(tmp_path: Path) -> None:
    draw_labels(tmp_path)
    write_image(tmp_path / "images" / "a.png")
    with pytest.raises(DataError, match=r"images holds both a\.jpg and a\.png; which of the two is meant\?"):
        open_dataset("folder", tmp_path)


def test_files_without_a_partner_can_be_left_out(tmp_path: Path) -> None:
    draw_labels(tmp_path)
    write_image(tmp_path / "images" / "c.png")
    with pytest.raises(DataError, match=r"1 files in .*images have no partner in .*labels: c\.png \(on_error="):
        open_dataset("folder", tmp_path)
    dataset = open_dataset("folder", tmp_path, on_error="skip")
    assert len(dataset) == 2
    assert dataset.problems == [
        f"1 files in {tmp_path / 'images'} have no partner in {tmp_path / 'labels'}: c.png",
    ]
