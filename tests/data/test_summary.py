from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.data.sources.trees import (
    coco_tables,
    draw_bsds500,
    draw_coco_instances,
    draw_depth_folders,
    draw_masks,
    numbers,
    write_image,
    write_json,
)
from upseg.data.sample import Sample
from upseg.data.sources import open_dataset
from upseg.data.summary import DatasetSummary, summarise
from upseg.errors import DataError
from upseg.segmentation import Category

CAT, SKY = Category(17, "cat"), Category(119, "sky", is_thing=False)


def test_everything_is_counted() -> None:
    summary = DatasetSummary(categories={})
    image = np.zeros((6, 8, 3), np.float32)
    summary.add(Sample.from_labels(image, numbers(1, 2), categories={1: CAT, 2: CAT}, crowds={2}, name="a"))
    summary.add(Sample.from_labels(image, numbers(1, 2, 3), categories={1: CAT, 2: SKY}, left_out=["x"], name="b"))
    summary.add(Sample.from_labels(np.zeros((2, 4, 3), np.float32), np.zeros((2, 4), int)))
    data = summary.as_json()
    assert json.loads(json.dumps(data)) == data
    assert (data["samples"], data["segments"], data["samples_without_segments"]) == (3, 5, 1)
    assert data["labelled_share"] == pytest.approx((30 + 48) / (48 + 48 + 8))
    assert data["height"] == {"smallest": 2, "median": 6, "largest": 6}
    assert data["width"] == {"smallest": 4, "median": 8, "largest": 8}
    assert data["left_out"] == ["b: x"]
    assert {
        row["name"]: (row["images"], row["segments"], row["crowds"], row["pixels"]) for row in data["categories"]
    } == {
        "cat": (2, 3, 1, 48),
        "sky": (1, 1, 0, 12),
        None: (1, 1, 0, 18),
    }


def test_a_data_set_is_read_once_with_progress(tmp_path: Path) -> None:
    draw_coco_instances(tmp_path)
    steps: list[tuple[int, int]] = []
    summary = summarise(open_dataset("coco-instances", tmp_path), lambda done, total: steps.append((done, total)))
    assert steps == [(1, 2), (2, 2)]
    assert [category.name for category in summary.categories] == ["car", "cat"]
    assert summary.annotators == {1: 2}


def test_annotators_and_depth(tmp_path: Path) -> None:
    draw_bsds500(tmp_path / "a")
    draw_depth_folders(tmp_path / "b")
    assert summarise(open_dataset("bsds500", tmp_path / "a")).annotators == {2: 2}
    assert summarise(open_dataset("nyuv2", tmp_path / "b")).with_depth == 2


def test_problems_are_listed_or_raised(tmp_path: Path) -> None:
    draw_coco_instances(tmp_path)
    write_image(tmp_path / "val2017" / "000000000002.jpg", shape=(3, 3))
    summary = summarise(open_dataset("coco-instances", tmp_path, on_error="skip"))
    assert summary.samples == 1
    assert len(summary.problems) == 1
    with pytest.raises(DataError, match=r"000000000002\.jpg"):
        summarise(open_dataset("coco-instances", tmp_path))


def test_nothing_is_a_summary_too() -> None:
    data = DatasetSummary().as_json()
    assert data["samples"] == 0
    assert data["height"] == {"smallest": 0, "median": 0, "largest": 0}


def coco_folder(root: Path, *rows: dict) -> Path:
    write_image(root / "images" / "a.png")
    tables = coco_tables(["a.png"])
    annotations = [{**tables["annotations"][0], **row} for row in rows]
    write_json(root / "file.json", {**tables, "annotations": annotations})
    return root


def test_what_is_left_out_is_counted_by_kind(tmp_path: Path) -> None:
    box = {"segmentation": [], "bbox": [0, 0, 2, 2]}
    coco_folder(tmp_path, {"id": 1}, {"id": 2, **box}, {"id": 3, **box}, {"id": 4, "category_id": 99})
    summary = summarise(open_dataset("folder", tmp_path))
    assert (summary.samples, summary.segments, summary.problems) == (1, 1, [])
    assert summary.left_out_kinds == {
        "annotation is only a box": 2,
        "annotation has a category that is not in the table of categories": 1,
    }


def test_a_data_set_of_crowds_or_of_nothing_is_a_problem(tmp_path: Path) -> None:
    crowds = summarise(open_dataset("folder", coco_folder(tmp_path / "crowds", {"iscrowd": 1})))
    assert [text.startswith("all 1 segments are crowds (iscrowd 1)") for text in crowds.problems] == [True]
    nothing = summarise(open_dataset("folder", coco_folder(tmp_path / "nothing", {"segmentation": []})))
    assert [text.startswith("none of the 1 samples has a segment") for text in nothing.problems] == [True]
    draw_masks(tmp_path / "masks")
    assert summarise(open_dataset("folder", tmp_path / "masks", things=True)).problems == []


def test_the_summary_says_what_values_mean(tmp_path: Path) -> None:
    draw_masks(tmp_path)
    dataset = open_dataset("folder", tmp_path, void="7")
    assert summarise(dataset).as_json()["values"] == str(dataset.values)
    assert "7 and negative numbers void" in str(dataset.values)
