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
from upseg.data.sample import IGNORE
from upseg.data.sources import open_dataset
from upseg.data.sources.voc2012 import CATEGORIES as VOC
from upseg.errors import DataError
from upseg.methods.baiseg.targets import BaisegTargets, things
from upseg.segmentation import Category

BACKGROUND = VOC[0]


def test_label_maps_of_any_kind(tmp_path: Path) -> None:
    draw_labels(tmp_path)
    for sample in open_dataset("folder", tmp_path):
        assert sample.segment_map.tolist() == numbers(1, 2).tolist()
        assert sample.categories == {}
    tifffile.imwrite(tmp_path / "labels" / "deep" / "b.tif", numbers(70_000, 5).astype(np.int32))
    assert len(open_dataset("folder", tmp_path)[1].segments) == 2
    for values, crowds in ((numbers(-4, 5).astype(np.int32), 1), (numbers(0, 5).astype(np.float32), 0)):
        tifffile.imwrite(tmp_path / "labels" / "deep" / "b.tif", values)
        sample = open_dataset("folder", tmp_path)[1]
        assert (len(sample.segments), len(sample.crowds)) == (1 + crowds, crowds)
    tifffile.imwrite(tmp_path / "labels" / "deep" / "b.tif", numbers(0, 0).astype(np.int32))
    assert open_dataset("folder", tmp_path)[1].segments == ()  # an image in which there is nothing to be found
    for values, reason in (
        (numbers(1, 2) + np.float32(0.5), "a label map holds whole numbers, this one holds [01].5"),
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


def test_classes_without_names_can_be_things(tmp_path: Path) -> None:
    draw_masks(tmp_path)
    dataset = open_dataset("folder", tmp_path, things=True)
    assert dataset.categories == (Category(1, "class 1"), Category(4, "class 4"))
    assert [(s.category, s.is_crowd) for s in dataset[0].segments] == [(c, True) for c in dataset.categories]
    write_json(tmp_path / "categories.json", [{"id": 1, "name": "cell"}, {"id": 4, "name": "glass", "isthing": 0}])
    assert [category.is_thing for category in open_dataset("folder", tmp_path, things=True).categories] == [True, False]


def test_0_can_be_a_class_and_255_stays_unlabelled(tmp_path: Path) -> None:
    draw_masks(tmp_path)
    write_map(tmp_path / "masks" / "a.png", numbers(7, 255))
    dataset = open_dataset("folder", tmp_path, things=True, background=True)
    assert dataset.categories == (BACKGROUND, Category(1, "class 1"), Category(4, "class 4"), Category(7, "class 7"))
    first, second = dataset
    assert first.semantic_map(dataset.categories).tolist() == numbers(3, -1, elsewhere=0).tolist()
    assert ((first.segment_map == 0) == (numbers(7, 255) == 255)).all()
    assert second.semantic_map(dataset.categories).tolist() == numbers(1, 2, elsewhere=0).tolist()
    assert {(s.category, s.is_crowd) for s in first.segments} == {(BACKGROUND, False), (Category(7, "class 7"), True)}


def test_the_background_is_a_class_though_no_mask_has_it_and_a_mask_though_it_is_all(tmp_path: Path) -> None:
    draw_masks(tmp_path)
    for name in "ab":
        write_map(tmp_path / "masks" / f"{name}.png", numbers(1, 1, elsewhere=255))
    assert [c.id for c in open_dataset("folder", tmp_path, background=True).categories] == [0, 1]
    write_map(tmp_path / "masks" / "a.png", numbers(0, 0))
    assert [s.category for s in open_dataset("folder", tmp_path, background=True)[0].segments] == [BACKGROUND]
    write_map(tmp_path / "masks" / "a.png", numbers(255, 255, elsewhere=255))
    with pytest.raises(DataError, match=r"a\.png: its only value beside 0 is 255"):
        open_dataset("folder", tmp_path, background=True)[0]
    assert open_dataset("folder", tmp_path, background=True, void="255")[0].segments == ()


def test_a_background_beside_classes_with_names(tmp_path: Path) -> None:
    draw_masks(tmp_path)
    cell, glass = {"id": 1, "name": "cell"}, {"id": 4, "name": "glass", "isthing": 0}
    write_json(tmp_path / "categories.json", [cell, glass])
    dataset = open_dataset("folder", tmp_path, background=True)
    assert dataset.categories == (BACKGROUND, Category(1, "cell"), Category(4, "glass", is_thing=False))
    assert dataset[0].semantic_map(dataset.categories).tolist() == numbers(1, 2, elsewhere=0).tolist()
    write_json(tmp_path / "categories.json", [cell, glass, {"id": 0, "name": "medium", "isthing": 0}])
    dataset = open_dataset("folder", tmp_path, background=True)
    assert dataset.categories[0] == Category(0, "medium", is_thing=False)
    assert dataset[0].semantic_map(dataset.categories).tolist() == numbers(1, 2, elsewhere=0).tolist()
    assert [s.category.name for s in open_dataset("folder", tmp_path)[0].segments] == ["cell", "glass"]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"id": 0, "name": "medium"}, r"masks: the table .* lists 0 \(medium\) as a thing, .*isthing.: 0 in categ"),
        ({"id": 4, "name": "background", "isthing": 0}, "calls the value 4 background, background=True the value 0"),
    ],
)
def test_a_table_that_contradicts_the_background_is_refused(tmp_path: Path, row: dict, message: str) -> None:
    draw_masks(tmp_path)
    write_json(tmp_path / "categories.json", [{"id": 1, "name": "cell"}, row])
    open_dataset("folder", tmp_path)
    with pytest.raises(DataError, match=message):
        open_dataset("folder", tmp_path, background=True)


def test_only_masks_have_a_background(tmp_path: Path) -> None:
    draw_labels(tmp_path / "labels only")
    with pytest.raises(DataError, match=r"makes 0 in masks a class, but .*labels holds no masks; leave it out"):
        open_dataset("folder", tmp_path / "labels only", background=True)
    draw_plain_json(tmp_path / "json")
    with pytest.raises(DataError, match=r"but .*annotations\.json holds no masks; leave it out"):
        open_dataset("folder", tmp_path / "json", background=True)
    draw_masks(tmp_path / "json")
    assert open_dataset("folder", tmp_path / "json", background=True).categories[0] == BACKGROUND
    with pytest.raises(DataError, match=r"but .*annotations\.json holds no masks; leave it out"):
        open_dataset("folder", tmp_path / "json", background=True, annotations="annotations.json")


def test_baiseg_learns_the_background_and_nothing_of_255(tmp_path: Path) -> None:
    draw_masks(tmp_path)
    write_map(tmp_path / "masks" / "a.png", numbers(4, 255))
    dataset = open_dataset("folder", tmp_path, things=True, background=True)
    assert things(dataset.categories, background=False).tolist() == [False, True, True]
    classes = BaisegTargets(dataset.categories)(dataset[0])["classes"]
    assert classes.tolist() == numbers(2, IGNORE, elsewhere=0).tolist()
    # what the folder alone cannot tell apart: with the target's own background 255 would count as it
    unlabelled = open_dataset("folder", tmp_path, things=True)
    classes = BaisegTargets(unlabelled.categories, background=True)(unlabelled[0])["classes"]
    assert classes.tolist() == numbers(2, 0, elsewhere=0).tolist()


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
    write_map(tmp_path / "masks" / "b.png", numbers(0, 0))
    assert dataset[1].segments == ()
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


def test_images_of_one_name_have_the_label_maps_with_their_whole_names(tmp_path: Path) -> None:
    draw_labels(tmp_path)
    write_image(tmp_path / "images" / "a.png")
    with pytest.raises(DataError, match=r"2 files in .*images have no partner in .*labels: a\.jpg, a\.png"):
        open_dataset("folder", tmp_path)
    for name, map_of in (("a.jpg.png", numbers(1, 0)), ("a.png.png", numbers(0, 1))):
        write_map(tmp_path / "labels" / name, map_of)
    (tmp_path / "labels" / "a.png").unlink()
    dataset = open_dataset("folder", tmp_path)
    assert list(dataset.names)[:2] == ["a.jpg", "a.png"]
    assert [dataset[n].segment_map.tolist() for n in (0, 1)] == [numbers(1, 0).tolist(), numbers(0, 1).tolist()]


def test_a_label_map_called_like_its_image_with_suffix_belongs_to_it(tmp_path: Path) -> None:
    draw_labels(tmp_path)
    (tmp_path / "labels" / "a.png").rename(tmp_path / "labels" / "a.jpg.png")
    assert open_dataset("folder", tmp_path)[0].name == "a"


@pytest.mark.parametrize("kind", ["labels", "masks"])
def test_nothing_but_0_and_255_is_refused_unless_void_says_what_255_is(tmp_path: Path, kind: str) -> None:
    write_image(tmp_path / "images" / "a.png")
    (tmp_path / kind).mkdir()
    write_map(tmp_path / kind / "a.png", numbers(255, 0))
    with pytest.raises(DataError, match=r"a\.png: its only value beside 0 is 255.*--set void=none"):
        open_dataset("folder", tmp_path)[0]
    with pytest.raises(DataError, match="255"):
        _ = open_dataset("folder", tmp_path, on_error="skip").categories or open_dataset("folder", tmp_path)[0]
    assert [s.area for s in open_dataset("folder", tmp_path, void="none")[0].segments] == [18]
    assert not open_dataset("folder", tmp_path, void="255")[0].instance_map().max() > 0
    with pytest.raises(DataError, match="void takes numbers with commas between, or none, got 'x'"):
        open_dataset("folder", tmp_path, void="x")


@pytest.mark.parametrize("kind", ["labels", "masks"])
def test_negative_numbers_are_void_and_other_numbers_can_be(tmp_path: Path, kind: str) -> None:
    write_image(tmp_path / "images" / "a.png")
    (tmp_path / kind).mkdir()
    tifffile.imwrite(tmp_path / kind / "a.tif", numbers(-3, 7).astype(np.int16))
    sample = open_dataset("folder", tmp_path)[0]
    kept = next(s.id for s in sample.segments if not s.is_crowd)
    assert (sample.segment_map == kept).tolist() == (numbers(0, 1) == 1).tolist()
    assert all(s.is_crowd for s in open_dataset("folder", tmp_path, void="7")[0].segments)


@pytest.mark.parametrize("kind", ["labels", "masks"])
@pytest.mark.parametrize("own_tag", [True, False])
def test_image_and_label_map_are_turned_together(tmp_path: Path, kind: str, *, own_tag: bool) -> None:
    stored = numbers(1, 2)
    upright = np.rot90(stored, -1)
    tag = [(274, "H", 1, 6, True)]  # the first row is the right-hand side
    for folder, values, tags in (("images", np.repeat(stored[..., None], 3, 2), tag), (kind, stored, tag * own_tag)):
        (tmp_path / folder).mkdir()
        tifffile.imwrite(tmp_path / folder / "a.tif", values.astype(np.uint8), extratags=tags)
    sample = open_dataset("folder", tmp_path)[0]
    assert sample.image.shape[:2] == upright.shape == sample.shape
    assert (sample.image[..., 0] * 255).round().astype(int).tolist() == upright.tolist()
    assert (sample.segment_map == 1).tolist() == (sample.segment_map == sample.segment_map[0, 0]).tolist()
    marked = {(int(a), int(b)) for a, b in zip(upright.ravel(), sample.segment_map.ravel(), strict=True)}
    assert len(marked) == len(np.unique(upright))  # each value of the image has one segment


def test_the_label_map_made_of_what_the_tag_shows_stays_as_it_is(tmp_path: Path) -> None:
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    upright = np.rot90(numbers(1, 2), -1).astype(np.uint8)
    picture = np.repeat(numbers(1, 2)[..., None], 3, 2).astype(np.uint8)
    tifffile.imwrite(tmp_path / "images" / "a.tif", picture, extratags=[(274, "H", 1, 6, True)])
    write_map(tmp_path / "labels" / "a.png", upright)
    assert open_dataset("folder", tmp_path)[0].segment_map.tolist() == upright.tolist()


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
