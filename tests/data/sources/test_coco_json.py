"""Instances in COCO's format: COCO itself, EVICAN, EntitySeg and SA-1B."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pycocotools import mask as pycocotools

from tests.data.sources.trees import (
    HEIGHT,
    LEFT,
    RIGHT,
    WIDTH,
    coco_tables,
    draw_coco_instances,
    draw_entityseg,
    draw_evican,
    draw_sa1b,
    numbers,
    run_lengths,
    write_image,
    write_json,
)
from upseg.data.dataset import Dataset
from upseg.data.sources import open_dataset
from upseg.data.sources.coco_json import CocoJson, paint_masks
from upseg.errors import DataError
from upseg.segmentation import Category

ALL = np.ones((HEIGHT, WIDTH), bool)


def instances(root: Path, **changes: Any) -> Path:
    """A file with the tables changed, and its two images."""
    for name in ("a.png", "b.png"):
        write_image(root / "images" / name)
    write_json(root / "file.json", coco_tables(["a.png", "b.png"], **changes))
    return root / "file.json"


def opened(root: Path, **options: Any) -> Dataset:
    return CocoJson(root / "file.json", [root / "images"], **options)


def row(number: int, mask: Any, **changes: Any) -> dict[str, Any]:
    return {"id": number, "image_id": 10, "category_id": 3, "segmentation": mask, **changes}


def test_instances_are_read(tmp_path: Path) -> None:
    draw_coco_instances(tmp_path)
    dataset = open_dataset("coco-instances", tmp_path, split="val")
    assert dataset.categories == (Category(3, "car"), Category(17, "cat"))
    assert dataset.image_ids.tolist() == [10, 20]
    sample = dataset[0]
    assert sample.segment_map.tolist() == numbers(1, 2).tolist()
    assert [(s.category.name, s.is_crowd, s.area) for s in sample.segments] == [("cat", False, 18), ("car", True, 12)]


def test_annotations_find_their_images_in_any_order(tmp_path: Path) -> None:
    tables = coco_tables(["a.png", "b.png"])
    instances(tmp_path, images=tables["images"][::-1], annotations=[tables["annotations"][n] for n in (3, 0, 2)])
    dataset = opened(tmp_path)
    assert list(dataset.names) == ["b", "a"]
    assert [len(sample.segments) for sample in dataset] == [2, 1]
    assert dataset[1].segment_map.tolist() == numbers(1, 0).tolist()


def test_ids_may_be_texts(tmp_path: Path) -> None:
    tables = coco_tables(["a.png", "b.png"])
    for image in tables["images"]:
        image["id"] = f"image {image['id']}"
    for annotation in tables["annotations"]:
        annotation["image_id"] = f"image {annotation['image_id']}"
    instances(tmp_path, images=tables["images"], annotations=tables["annotations"])
    assert [len(sample.segments) for sample in opened(tmp_path)] == [2, 2]


def test_an_image_without_objects_is_a_sample_without_segments(tmp_path: Path) -> None:
    instances(tmp_path, annotations=[row(1, run_lengths(LEFT))])
    first, second = opened(tmp_path)
    assert len(first.segments) == 1
    assert second.segments == ()
    assert not second.segment_map.any()


def test_only_some_categories(tmp_path: Path) -> None:
    instances(tmp_path)
    dataset = opened(tmp_path, only=("car",))
    assert dataset.categories == (Category(3, "car"),)
    assert dataset[0].segment_map.tolist() == numbers(0, 1).tolist()
    with pytest.raises(DataError, match="no category 'dog', only car, cat"):
        opened(tmp_path, only=("dog",))


UNUSABLE: dict[str, tuple[dict[str, Any], str]] = {
    "unknown category": (row(7, run_lengths(RIGHT), category_id=99), "a category that is not in the table"),
    "no category": (row(7, run_lengths(RIGHT), category_id=None), "a category that is not in the table"),
    "no mask": (row(7, []), "annotation 7 has no mask"),
    "only a box": (row(7, [], bbox=[0, 0, 2, 2]), "annotation 7 is only a box"),
    "no pixels": (row(7, run_lengths(ALL & ~ALL)), "is smaller than a pixel"),
    "other size": (row(7, run_lengths(ALL.T)), "cannot be read or does not fit its image"),
    "short run lengths": (row(7, {"size": [6, 8], "counts": [3, 4]}), "cannot be read or does not fit its image"),
    "run lengths of text": (row(7, {"size": [6, 8], "counts": ["a"]}), "cannot be read or does not fit its image"),
    "half a corner": (row(7, [[0, 0, 1, 0, 1]]), "is no polygon of at least three corners"),
    "a line": (row(7, [[0, 0, 1, 0]]), "is no polygon of at least three corners"),
    "no numbers": (row(7, [["a", "b"] * 4]), "is no polygon of at least three corners"),
    "a text": (row(7, "abc"), "cannot be read or does not fit its image"),
}


@pytest.mark.parametrize("kind", UNUSABLE)
def test_an_annotation_that_cannot_be_used_is_left_out_and_its_image_kept(tmp_path: Path, kind: str) -> None:
    unusable, reason = UNUSABLE[kind]
    instances(tmp_path, annotations=[unusable, row(8, run_lengths(LEFT))])
    sample = opened(tmp_path)[0]
    assert sample.segment_map.tolist() == numbers(1, 0).tolist()
    assert len(sample.left_out) == 1
    assert reason in sample.left_out[0]


def test_of_a_mask_with_a_stray_point_the_rest_counts(tmp_path: Path) -> None:
    square = [0, 0, 4, 0, 4, 6, 0, 6]
    instances(tmp_path, annotations=[row(1, [square, [2, 2]]), row(2, [square], image_id=20)])
    stray, whole = opened(tmp_path)
    assert stray.segment_map.tolist() == whole.segment_map.tolist()
    assert stray.left_out == ("annotation 1 has parts that are no polygon of at least three corners",)
    assert whole.left_out == ()


def rows_of_images(*names: str, ids: tuple[int, ...] = (10, 20)) -> list[dict[str, Any]]:
    return [
        {"id": number, "file_name": name, "height": HEIGHT, "width": WIDTH}
        for number, name in zip(ids, names, strict=True)
    ]


@pytest.mark.parametrize("ids", [(10, 20), (10, 10)])
def test_two_rows_about_one_file_are_one_image_with_the_annotations_of_both(tmp_path: Path, ids: tuple) -> None:
    marks = [row(1, run_lengths(LEFT)), row(2, run_lengths(RIGHT), image_id=ids[1]), row(3, run_lengths(LEFT))]
    instances(tmp_path, images=rows_of_images("a.png", "./a.png", ids=ids), annotations=marks)
    dataset = opened(tmp_path)
    assert list(dataset.names) == ["a"]
    assert dataset[0].segment_map.tolist() == numbers(1, 2).tolist()
    assert dataset[0].left_out == ()  # the same annotation twice is one


def test_images_that_only_their_suffix_tells_apart_keep_it(tmp_path: Path) -> None:
    instances(tmp_path, images=rows_of_images("a.png", "a.jpg"))
    write_image(tmp_path / "images" / "a.jpg")
    dataset = opened(tmp_path)
    assert list(dataset.names) == [sample.name for sample in dataset] == ["a.png", "a.jpg"]


def test_a_file_is_found_by_its_name_in_whatever_form(tmp_path: Path) -> None:
    instances(tmp_path, images=rows_of_images("gro\u0308ße.png", "b"))
    write_image(tmp_path / "images" / "größe.png")
    dataset = opened(tmp_path)
    assert list(dataset.names) == ["größe", "b"]
    assert [sample.image.shape for sample in dataset] == [(HEIGHT, WIDTH, 3)] * 2


@pytest.mark.parametrize("categories", [[], [{"id": 1, "name": "cell"}]])
def test_images_in_none_of_which_there_is_anything_are_ground_truth(tmp_path: Path, categories: list) -> None:
    instances(tmp_path, annotations=[], categories=categories)
    for sample in opened(tmp_path):
        assert (len(sample.segments), len(sample.crowds), sample.shape) == (0, 0, (HEIGHT, WIDTH))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"annotations": None}, "tables images, annotations, categories, but annotations is missing or empty"),
        ({"images": [], "categories": []}, "images and categories are missing or empty"),
        ({"annotations": [row(1, [], image_id=77)]}, "1 annotations belong to images that are not .* image 77"),
        ({"images": [{**image, "id": 10} for image in coco_tables(["a.png", "b.png"])["images"]]}, "have the id 10"),
        ({"categories": [{"id": 3, "name": "a"}, {"id": 3, "name": "b"}]}, "two categories have the same id"),
        ({"categories": [{"name": "a"}]}, "category's id must be an integer"),
        ({"images": [{"id": "a", "file_name": "a.png"}]}, "must be of one type"),
    ],
)
def test_a_file_that_does_not_fit_together_is_refused(tmp_path: Path, changes: dict[str, Any], reason: str) -> None:
    instances(tmp_path, **changes)
    with pytest.raises(DataError, match=rf"file\.json: .*{reason}"):
        opened(tmp_path)


def test_annotations_of_unknown_images_can_be_left_out(tmp_path: Path) -> None:
    tables = coco_tables(["a.png", "b.png"])
    instances(tmp_path, annotations=[*tables["annotations"], row(9, run_lengths(LEFT), image_id=77)])
    dataset = opened(tmp_path, on_error="skip")
    assert [len(sample.segments) for sample in dataset] == [2, 2]
    assert len(dataset.problems) == 1
    assert "image 77" in dataset.problems[0]


@pytest.mark.parametrize("name", ["../a.png", "/etc/a.png", "..\\a.png", "c:/x/a.png", "images\\..\\a.png"])
def test_of_a_name_that_leaves_the_folder_the_file_in_it_is_meant(tmp_path: Path, name: str) -> None:
    write_image(tmp_path / "a.png", (2, 2))  # where the name leads
    instances(tmp_path, images=rows_of_images(name, ids=(10,)), annotations=[row(1, run_lengths(LEFT))])
    dataset = opened(tmp_path)
    assert list(dataset.names) == ["a"]
    assert dataset[0].image.shape == (HEIGHT, WIDTH, 3)


@pytest.mark.parametrize("name", ["", None, "a\0.png", ".", ".."])
def test_a_name_that_is_no_file_is_named(tmp_path: Path, name: object) -> None:
    instances(
        tmp_path, images=[{"id": 10, "file_name": name, "height": HEIGHT, "width": WIDTH}], annotations=[row(1, [])]
    )
    with pytest.raises(DataError, match="file_name of image 10 must be a file below the images"):
        opened(tmp_path)[0]


def test_smaller_masks_lie_above_larger_ones_and_crowds_below_all() -> None:
    dot = np.zeros_like(ALL)
    dot[2, 1] = True
    rows = [row(1, run_lengths(LEFT)), row(2, run_lengths(ALL)), row(3, run_lengths(dot), iscrowd=1)]
    labels, left_out = paint_masks(rows, (HEIGHT, WIDTH))
    assert labels.tolist() == np.where(LEFT, 1, 2).tolist()
    assert left_out == ["annotation 3 is wholly behind others"]
    labels, left_out = paint_masks([row(4, [[0.1, 0.1, 0.2, 0.1, 0.2, 0.2]]), row(5, run_lengths(RIGHT))], (6, 8))
    assert labels.tolist() == numbers(0, 2).tolist()
    assert left_out == ["annotation 4 is smaller than a pixel"]


def test_what_cannot_be_shown_is_listed(tmp_path: Path) -> None:
    instances(tmp_path, annotations=[row(1, run_lengths(LEFT)), row(2, run_lengths(LEFT))])
    sample = opened(tmp_path)[0]
    assert len(sample.segments) == 1
    assert sample.left_out == ("annotation 1 is wholly behind others",)


@settings(max_examples=40, deadline=None)
@given(arrays.arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9))))
def test_masks_agree_with_pycocotools(mask: np.ndarray) -> None:
    if not mask.any():
        mask = ~mask
    compressed = pycocotools.encode(np.asfortranarray(mask.astype(np.uint8)))
    compressed["counts"] = compressed["counts"].decode()
    for encoded in (compressed, run_lengths(mask)):
        labels, _ = paint_masks([row(1, encoded)], mask.shape)
        assert (labels == mask).all()


def test_evican_has_cells_with_nuclei_in_them(tmp_path: Path) -> None:
    draw_evican(tmp_path)
    rows = [row(1, run_lengths(LEFT | RIGHT), category_id=1), row(2, run_lengths(RIGHT), category_id=2)]
    categories = [{"id": 1, "name": "Cell"}, {"id": 2, "name": "Nucleus"}]
    write_json(
        tmp_path / "annotations" / "instances_eval2019_easy_EVICAN2.json",
        coco_tables(["6_A431.jpg"], annotations=rows, categories=categories),
    )
    write_image(tmp_path / "Images" / "EVICAN_eval2019" / "6_A431.jpg")
    both = open_dataset("evican", tmp_path, split="eval-easy")[0]
    assert both.segment_map.tolist() == numbers(1, 2).tolist()
    cells = open_dataset("evican", tmp_path, split="eval-easy", only=["Cell"])[0]
    assert cells.segment_map.tolist() == numbers(1, 1).tolist()
    with pytest.raises(DataError, match="splits of EVICAN are train, val, eval-easy"):
        open_dataset("evican", tmp_path, split="test")
    with pytest.raises(DataError, match=r"instances_val2019_EVICAN60\.json .* should be a file with EVICAN's annot"):
        open_dataset("evican", tmp_path, classes="EVICAN60")


def test_entityseg_has_no_classes(tmp_path: Path) -> None:
    draw_entityseg(tmp_path)
    dataset = open_dataset("entityseg", tmp_path)
    assert dataset.categories == ()
    assert dataset[0].categories == {}
    assert dataset[0].segment_map.tolist() == numbers(1, 2).tolist()
    (tmp_path / "annotations").mkdir()
    (tmp_path / "entityseg_insseg_val.json").rename(tmp_path / "annotations" / "entityseg_train_01.json")
    assert len(open_dataset("entityseg", tmp_path, split="train_01")) == 2
    with pytest.raises(DataError, match=r"entityseg_val\.json or entityseg_insseg_val\.json; there are train_01"):
        open_dataset("entityseg", tmp_path)


def test_entityseg_images_may_lie_deeper(tmp_path: Path) -> None:
    draw_entityseg(tmp_path)
    folder = tmp_path / "images" / "entity_01_11580"
    (folder / "images_merge").mkdir()
    (folder / "coco_0001.jpg").rename(folder / "images_merge" / "coco_0001.jpg")
    assert open_dataset("entityseg", tmp_path)[0].image.shape == (HEIGHT, WIDTH, 3)


def test_the_images_of_sa1b_with_most_masks(tmp_path: Path) -> None:
    draw_sa1b(tmp_path)
    path = tmp_path / "sa_000000" / "sa_2.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "annotations": content["annotations"][:1]}))
    assert list(open_dataset("sa-1b", tmp_path, most_objects=1).names) == ["sa_000000/sa_10"]
    assert len(open_dataset("sa-1b", tmp_path, most_objects=5)) == 2
    masks = list(open_dataset("sa-1b", tmp_path, most_objects=1).whole_masks(0))
    assert [int(mask.sum()) for mask in masks] == [18 + 12, 12]
    with pytest.raises(DataError, match="most_objects must be at least 1"):
        open_dataset("sa-1b", tmp_path, most_objects=0)


def test_sa1b_masks_contain_one_another(tmp_path: Path) -> None:
    draw_sa1b(tmp_path)
    sample = open_dataset("sa-1b", tmp_path)[0]
    assert sample.segment_map.tolist() == numbers(1, 2).tolist()
    assert sample.categories == {}
    assert list(open_dataset("sa-1b", tmp_path, split="sa_000000").names) == ["sa_2", "sa_10"]
    path = tmp_path / "sa_000000" / "sa_2.json"
    write_json(path, {"image": {"width": WIDTH, "height": HEIGHT}, "annotations": []})
    assert open_dataset("sa-1b", tmp_path)[0].segments == ()
