"""Sets of other tools: what their exports are really like."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.data.sources.trees import (
    HEIGHT,
    LEFT,
    RIGHT,
    WIDTH,
    coco_tables,
    draw_cvat,
    draw_label_studio,
    draw_labelme,
    draw_plain_json,
    draw_yolo,
    numbers,
    panoptic_tables,
    write_image,
    write_json,
    write_map,
)
from upseg.data.sample import Sample
from upseg.data.sources import open_dataset
from upseg.data.summary import summarise
from upseg.errors import DataError
from upseg.evaluation.protocols import PROTOCOLS
from upseg.segmentation import Segmentation

DRAWN = {"yolo": draw_yolo, "cvat": draw_cvat, "labelme": draw_labelme, "label-studio": draw_label_studio}


def objects(sample: Sample) -> dict[str, list[np.ndarray]]:
    found: dict[str, list[np.ndarray]] = {}
    for segment in sample.segments:
        assert segment.category is not None
        found.setdefault(segment.category.name, []).append(sample.segment_map == segment.id)
    return found


@pytest.mark.parametrize("source", DRAWN)
def test_the_same_two_objects_in_every_layout(source, tmp_path) -> None:
    DRAWN[source](tmp_path)
    dataset = open_dataset(source, tmp_path)
    assert {category.name for category in dataset.categories} == {"cat", "car"}
    for sample in dataset:
        found = objects(sample)
        if source == "cvat":  # both have the colour of cats, and are told apart by their own
            assert sorted(mask.sum() for mask in found["cat"]) == sorted([LEFT.sum(), RIGHT.sum()])
            continue
        assert np.array_equal(found["cat"][0], LEFT)
        assert np.array_equal(found["car"][0], RIGHT)
        assert not sample.crowds


def test_yolo_as_roboflow_exports_it(tmp_path) -> None:
    for split in ("train", "valid"):
        write_image(tmp_path / split / "images" / f"{split}.jpg")
        (tmp_path / split / "labels").mkdir()
        (tmp_path / split / "labels" / f"{split}.txt").write_text("0 0 0 0.375 0 0.375 1 0 1\n")
    (tmp_path / "data.yaml").write_text("train: ../train/images\nval: ../valid/images\nnc: 1\nnames: ['cell']\n")
    assert [sample.name for sample in open_dataset("yolo", tmp_path)] == ["valid"]
    assert np.array_equal(open_dataset("yolo", tmp_path, split="train")[0].segment_map > 0, LEFT)


def test_yolo_lists_of_images_and_images_without_labels(tmp_path) -> None:
    draw_yolo(tmp_path)
    (tmp_path / "labels" / "val" / "a.txt").unlink()
    (tmp_path / "val.txt").write_text("./images/val/a.png\n/home/other/mine/images/val/deep/b.png\n")
    (tmp_path / "data.yaml").write_text("path: /home/other/mine\nval: val.txt\nnames: {0: car, 1: cat}\n")
    first, second = open_dataset("yolo", tmp_path)
    assert (first.name, first.segments, len(second.segments)) == ("a", (), 2)


def test_yolo_says_what_is_wrong(tmp_path) -> None:
    draw_yolo(tmp_path)
    (tmp_path / "labels" / "val" / "old.txt").write_text("0 0 0 1 0 1 1\n")
    with pytest.raises(DataError, match=r"1 files of labels in .* have no image: old\.txt"):
        open_dataset("yolo", tmp_path)
    dataset = open_dataset("yolo", tmp_path, on_error="skip")
    assert len(dataset) == 2
    (tmp_path / "labels" / "val" / "a.txt").write_text("0 0.5 0.5 0.1 0.1\n5 0 0 1 0 1 1\n0 0 0 1 0 1 1\nx\n")
    summary = summarise(dataset)
    assert summary.left_out_kinds == {
        "line is only a box": 1,
        "line has a category that is not in the table of categories": 1,
        "line is no list of numbers": 1,
    }
    (tmp_path / "data.yaml").write_text("val: images/val\nnames: {1: cat, 2: car}\n")
    with pytest.raises(DataError, match="numbered from 0"):
        open_dataset("yolo", tmp_path)
    (tmp_path / "data.yaml").write_text("val: ../../elsewhere\nnames: [cat]\n")
    with pytest.raises(DataError, match=r"there is no .*elsewhere below"):
        open_dataset("yolo", tmp_path)


def test_cvat_without_objects_has_crowds_and_unknown_colours_are_named(tmp_path) -> None:
    draw_cvat(tmp_path)
    (tmp_path / "SegmentationObject" / "a.png").unlink()
    assert len(open_dataset("cvat", tmp_path)[0].crowds) == 1
    colours = np.zeros((HEIGHT, WIDTH, 3), np.int64)
    colours[LEFT] = (1, 2, 3)
    write_map(tmp_path / "SegmentationClass" / "b.png", colours)
    with pytest.raises(DataError, match=r"b\.png: .*the colour \(1, 2, 3\)"):
        open_dataset("cvat", tmp_path)[1]


def test_cvat_exports_without_images_take_them_from_elsewhere(tmp_path) -> None:
    draw_cvat(tmp_path / "masks")
    (tmp_path / "masks" / "JPEGImages").rename(tmp_path / "photos")
    dataset = open_dataset("cvat", tmp_path / "masks", photos=str(tmp_path / "photos"))
    assert [sample.shape for sample in dataset] == [(HEIGHT, WIDTH)] * 2


def test_what_was_brushed_in_cvat_is_an_object_in_its_coco(tmp_path) -> None:
    names = ["a.png", "b.png"]
    for name in names:
        write_image(tmp_path / "images" / "default" / name)
    tables = coco_tables(names)
    for row in tables["annotations"]:
        row["attributes"] = {"occluded": False}
    tables["annotations"][-1]["attributes"]["is_crowd"] = True
    write_json(tmp_path / "annotations" / "instances_default.json", tables)
    first, second = open_dataset("coco-instances", tmp_path)
    assert (len(first.segments), len(first.crowds), len(second.crowds)) == (2, 0, 1)


def test_cvats_coco_is_a_folder_too_each_of_its_subsets_a_split(tmp_path) -> None:
    for number, subset in enumerate(("Train", "Validation")):
        write_image(tmp_path / "images" / subset / f"{subset}.png")
        tables = coco_tables([f"{subset}.png"])
        tables["annotations"] = tables["annotations"][number:]
        write_json(tmp_path / "annotations" / f"instances_{subset}.json", tables)
    for number, subset in enumerate(("Train", "Validation")):
        (sample,) = open_dataset("folder", tmp_path, split=subset)
        assert (sample.name, len(sample.segments)) == (subset, 2 - number)
    with pytest.raises(DataError, match="or by its last part as split"):
        open_dataset("folder", tmp_path)


def test_yolo_as_cvat_exports_it(tmp_path) -> None:
    draw_yolo(tmp_path)
    (tmp_path / "val.txt").write_text("images/val/a.png\nimages/val/deep/b.png\n")
    (tmp_path / "data.yaml").write_text("path: ./\nval: val.txt\nnames:\n  0: car\n  1: cat\n")
    assert [sorted(objects(sample)) for sample in open_dataset("yolo", tmp_path)] == [["car", "cat"]] * 2


def test_black_is_background_whatever_colour_labelmap_gives_it_unless_it_is_a_class(tmp_path) -> None:
    draw_cvat(tmp_path)
    table = tmp_path / "labelmap.txt"
    table.write_text(table.read_text().replace("background:0,0,0", "background:0,128,0"))
    assert sorted(objects(open_dataset("cvat", tmp_path)[0])) == ["cat"]
    table.write_text(table.read_text() + "night:0,0,0::\n")
    assert sorted(objects(open_dataset("cvat", tmp_path)[0])) == ["cat", "night"]


def test_without_colours_labelmap_means_those_of_voc(tmp_path) -> None:
    draw_cvat(tmp_path)
    (tmp_path / "labelmap.txt").write_text("# label:color_rgb:parts:actions\nbackground:::\ncat:::\ncar:::\n")
    assert sorted(objects(open_dataset("cvat", tmp_path)[0])) == ["cat"]


@pytest.mark.parametrize("file_name", ["images/0a1b-a.png", "images\\0a1b-a.png", "..\\..\\data\\images\\0a1b-a.png"])
def test_label_studios_coco(file_name, tmp_path) -> None:
    write_image(tmp_path / "images" / "0a1b-a.png")
    polygon = [[0, 0, 3, 0, 3, HEIGHT, 0, HEIGHT]]
    row = {"id": 0, "image_id": 0, "category_id": 0, "segmentation": polygon, "bbox": [0, 0, 3, 6], "ignore": 0}
    image = {"width": WIDTH, "height": HEIGHT, "id": 0, "file_name": file_name}
    tables = {"images": [image], "categories": [{"id": 0, "name": "cat"}], "annotations": [row | {"iscrowd": 0}]}
    write_json(tmp_path / "result.json", tables)
    for source in ("folder", "coco-instances"):
        sample = open_dataset(source, tmp_path)[0]
        assert np.array_equal(objects(sample)["cat"][0], LEFT)
        assert sample.image.shape == (HEIGHT, WIDTH, 3)


def test_label_studio_leaves_out_what_has_no_mask(tmp_path) -> None:
    draw_label_studio(tmp_path)
    dataset = open_dataset("label-studio", tmp_path)
    regions = dataset._tasks[0]["annotations"][0]["result"]
    size = {"original_width": WIDTH, "original_height": HEIGHT}
    box = {"x": 1, "y": 1, "width": 5, "height": 5, "rectanglelabels": ["cat"]}
    regions.append({"id": "r", "type": "rectanglelabels", "value": box, **size})
    regions.append({"id": "s", "type": "brushlabels", "value": {"rle": [1, 2], "brushlabels": ["cat"]}, **size})
    sample = dataset[0]
    assert len(sample.segments) == 2
    assert any("rectanglelabels has no mask" in text for text in sample.left_out)
    assert any("region s cannot be read" in text for text in sample.left_out)


def test_cancelled_annotations_do_not_count(tmp_path) -> None:
    draw_label_studio(tmp_path)
    dataset = open_dataset("label-studio", tmp_path)
    dataset._tasks[0]["annotations"].insert(0, {"was_cancelled": True, "result": []})
    assert len(dataset[0].segments) == 2


def test_labelme_finds_images_elsewhere_below_and_counts_points(tmp_path) -> None:
    draw_labelme(tmp_path)
    (tmp_path / "deep").mkdir()
    (tmp_path / "a.png").rename(tmp_path / "deep" / "a.png")
    shapes = [{"label": "cat", "shape_type": "point", "points": [[1, 1]]}]
    write_json(tmp_path / "a.json", {"shapes": shapes, "imagePath": "..\\deep\\a.png", "imageData": None})
    sample = open_dataset("labelme", tmp_path)[0]
    assert (sample.segments, sample.left_out) == ((), ("shape point covers no area",))


def draw_plain_panoptic(root: Path) -> None:
    for name in ("a.png", "b.png"):
        write_image(root / "images" / name)
    write_json(root / "panoptic.json", panoptic_tables(["a.png", "b.png"], root / "panoptic"))


@pytest.mark.parametrize("source", ["folder", "coco-instances", "coco-panoptic", "coco-stuff", "coco-stuff27"])
@pytest.mark.parametrize("draw", [draw_plain_json, draw_plain_panoptic])
@pytest.mark.parametrize("place", [".", "annotations"])
def test_the_plain_layout_opens_under_every_coco_name(source, draw, place, tmp_path) -> None:
    draw(tmp_path)
    for path in [*tmp_path.glob("*.json"), *tmp_path.glob("panoptic")]:
        (tmp_path / place).mkdir(exist_ok=True)
        path.rename(tmp_path / place / path.name)
    samples = list(open_dataset(source, tmp_path))
    assert [sample.name for sample in samples] == ["a", "b"]
    assert all(len(sample.segments) == 2 for sample in samples)
    merged = {c.name for sample in samples for c in sample.categories.values()}
    assert merged.isdisjoint({"cat", "person", "car"}) == (source == "coco-stuff27")


def test_ids_that_are_not_coco_stuffs_cannot_be_merged(tmp_path) -> None:
    draw_plain_json(tmp_path)
    tables = coco_tables(["a.png", "b.png"], categories=[{"id": 3, "name": "x"}, {"id": 17, "name": "y"}])
    tables["categories"].append({"id": 900, "name": "ufo"})
    write_json(tmp_path / "annotations.json", tables)
    with pytest.raises(DataError, match="the class ufo has the id 900"):
        open_dataset("coco-stuff27", tmp_path)


def test_the_official_error_stays_where_there_is_no_plain_layout(tmp_path) -> None:
    (tmp_path / "images").mkdir()
    with pytest.raises(DataError, match=r"instances_\*\.json|instances_train2017\.json"):
        open_dataset("coco-instances", tmp_path)


def test_void_in_label_maps_is_a_crowd_but_no_region(tmp_path) -> None:
    write_image(tmp_path / "images" / "a.png")
    path = tmp_path / "labels" / "a.tif"
    path.parent.mkdir()
    Image.fromarray(numbers(5, -1).astype(np.int32)).save(path)
    sample = open_dataset("folder", tmp_path)[0]
    assert np.array_equal(sample.instance_map() == -1, RIGHT)
    assert np.array_equal(sample.instance_map() > 0, LEFT)
    for protocol in ("voc-regions", "bsds500"):
        totals = PROTOCOLS[protocol].accumulators([], False)
        PROTOCOLS[protocol].update(totals, 1, sample, Segmentation.from_labels(numbers(1, 0)))
        scores = PROTOCOLS[protocol].scores(totals)
        assert scores[PROTOCOLS[protocol].score] == 1.0


@pytest.mark.parametrize("name", ["x" * 5000 + ".png", "deep/" * 1500 + "x.png"])
def test_names_that_no_file_can_have_are_one_error(name, tmp_path) -> None:
    draw_yolo(tmp_path / "yolo")
    (tmp_path / "yolo" / "data.yaml").write_text(f"val: {name}\nnames: [car, cat]\n")
    with pytest.raises(DataError, match="there is no"):
        open_dataset("yolo", tmp_path / "yolo")
    draw_plain_json(tmp_path / "coco")
    write_json(tmp_path / "coco" / "annotations.json", coco_tables(["a.png", name]))
    with pytest.raises(DataError, match="is not in"):
        open_dataset("folder", tmp_path / "coco")[1]
    draw_labelme(tmp_path / "labelme")
    (tmp_path / "labelme" / "a.png").unlink()
    write_json(tmp_path / "labelme" / "a.json", {"shapes": [], "imagePath": name})
    with pytest.raises(DataError, match="is not there"):
        open_dataset("labelme", tmp_path / "labelme")[0]


def test_rows_about_one_file_in_two_folders_names_are_one_image_and_noted(tmp_path) -> None:
    for name in ("a.png", "b.png", "deep/b.png"):
        write_image(tmp_path / "images" / name)
    names = ["a.png", "images/a.png", "b.png", "deep/b.png"]
    write_json(tmp_path / "x.json", coco_tables(names))
    dataset = open_dataset("folder", tmp_path)
    assert list(dataset.names) == ["a", "b", "deep/b"]
    assert dataset.notes == ("1 images have several rows, whose annotations were joined: a",)
    assert dataset.subset(["b"]).notes == dataset.notes
    assert summarise(dataset).as_json()["notes"] == list(dataset.notes)
