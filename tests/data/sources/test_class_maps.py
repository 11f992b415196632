"""Data sets whose ground truth is class maps: COCO-Stuff, ADE20K, CIHP, Cityscapes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.data.sources.trees import (
    HEIGHT,
    LEFT,
    RIGHT,
    draw_ade20k,
    draw_ade20k_full,
    draw_cihp,
    draw_cityscapes,
    draw_coco_stuff,
    numbers,
    panoptic_tables,
    write_image,
    write_json,
    write_map,
)
from upseg.data.sample import IGNORE
from upseg.data.sources import open_dataset
from upseg.data.sources.ade20k import CATEGORIES as ADE
from upseg.data.sources.ade20k import THINGS
from upseg.data.sources.cityscapes import CATEGORIES as CITYSCAPES
from upseg.data.sources.coco_stuff import CATEGORIES as STUFF
from upseg.data.sources.coco_stuff import MERGED_CATEGORIES, MERGED_OF
from upseg.errors import DataError


def test_coco_stuff_classes_are_segments(tmp_path: Path) -> None:
    draw_coco_stuff(tmp_path)
    sample = open_dataset("coco-stuff", tmp_path)[0]
    assert sample.segment_map.tolist() == numbers(1, 2).tolist()
    assert [(s.category.id, s.category.name, s.is_crowd) for s in sample.segments] == [
        (17, "cat", True),
        (157, "sky-other", False),
    ]
    assert sample.instance_map().tolist() == numbers(IGNORE, 0).tolist()


def test_coco_stuff_merges_into_27(tmp_path: Path) -> None:
    draw_coco_stuff(tmp_path)
    # cat and dog become one class
    path = tmp_path / "stuffthingmaps_trainval2017" / "val2017" / "000000000001.png"
    write_map(path, numbers(16, 17, elsewhere=156))
    sample = open_dataset("coco-stuff27", tmp_path)[0]
    assert sample.semantic_map().tolist() == numbers(7, 7, elsewhere=23).tolist()
    assert [(s.category.name, s.area) for s in sample.segments] == [("animal-things", 30), ("sky-stuff", 18)]


def test_coco_stuff_tables() -> None:
    assert (len(STUFF), len(MERGED_CATEGORIES), len(MERGED_OF)) == (182, 27, 182)
    assert {category.name: category.is_thing for category in STUFF}["hair brush"]
    assert not {category.name: category.is_thing for category in STUFF}["banner"]
    assert [category.is_thing for category in MERGED_CATEGORIES] == [True] * 12 + [False] * 15
    assert all(merged.is_thing == STUFF[number - 1].is_thing for number, merged in MERGED_OF.items())
    assert {merged.id for merged in MERGED_OF.values()} == set(range(27))
    assert MERGED_OF[182].name == "solid-stuff"


def test_coco_stuff_maps_may_lie_among_the_images(tmp_path: Path) -> None:
    write_image(tmp_path / "train2017" / "1.jpg")
    write_map(tmp_path / "train2017" / "1.png", numbers(16, 156, elsewhere=255))
    assert len(open_dataset("coco-stuff", tmp_path, split="train")[0].segments) == 2


def test_coco_stuff_refuses_unknown_values(tmp_path: Path) -> None:
    draw_coco_stuff(tmp_path)
    write_map(tmp_path / "stuffthingmaps_trainval2017" / "val2017" / "000000000001.png", numbers(16, 200))
    with pytest.raises(
        DataError, match=r"000000000001\.png: the value 200 has no category; .* 0 to 181, unlabelled is 255"
    ):
        open_dataset("coco-stuff", tmp_path)[0]


def test_ade20k_takes_stuff_from_one_map_and_things_from_the_other(tmp_path: Path) -> None:
    draw_ade20k(tmp_path)
    sample = open_dataset("ade20k", tmp_path)[0]
    assert sample.segment_map.tolist() == numbers(1, 2).tolist()
    assert [(s.category.id, s.category.name, s.is_thing) for s in sample.segments] == [
        (1, "wall", False),
        (13, "person", True),
    ]
    # two people where the class map has one region, one of them on the wall
    base = tmp_path / "annotations_instance" / "validation" / "ADE_val_00000001.png"
    half = RIGHT & (np.arange(HEIGHT) < 3)[:, None]
    instances = np.where(half, 1, numbers(0, 2))
    instances[0, 0] = 3
    write_map(base, np.stack((np.where(instances > 0, 4, 0), instances, instances * 0), axis=-1))
    sample = open_dataset("ade20k", tmp_path)[0]
    assert [s.category.name for s in sample.segments] == ["person", "wall", "person", "person"]
    assert [s.area for s in sample.segments] == [1, 17, 6, 6]
    assert not sample.crowds


def test_ade20k_without_instances(tmp_path: Path) -> None:
    draw_ade20k(tmp_path)
    sample = open_dataset("ade20k", tmp_path, instances=False)[0]
    assert [(s.category.name, s.is_crowd) for s in sample.segments] == [("wall", False), ("person", True)]


def test_ade20k_as_prepared_in_cocos_format(tmp_path: Path) -> None:
    draw_ade20k(tmp_path)
    names = ["ADE_val_00000001.jpg", "ADE_val_00000002.jpg"]
    tables = panoptic_tables(names, tmp_path / "ade20k_panoptic_val")
    for image in tables["images"]:
        image["id"] = Path(image["file_name"]).stem  # texts, as those files have
    for annotation, name in zip(tables["annotations"], names[::-1], strict=True):
        annotation["image_id"] = Path(name).stem
    write_json(tmp_path / "ade20k_panoptic_val.json", tables)
    dataset = open_dataset("ade20k", tmp_path, split="val")
    assert [category.name for category in dataset.categories] == ["person", "sky"]
    assert [sample.name for sample in dataset] == ["ADE_val_00000001", "ADE_val_00000002"]


@pytest.mark.parametrize(
    ("colours", "reason"),
    [
        ((numbers(0, 101), numbers(0, 1)), "instance 1 has the category 101; the categories are 1 to 100"),
        ((numbers(3, 4), numbers(1, 1)), "instance 1 has the categories 3 and 4, not one"),
    ],
)
def test_ade20k_refuses_instances_without_a_category(
    tmp_path: Path, colours: tuple[np.ndarray, np.ndarray], reason: str
) -> None:
    draw_ade20k(tmp_path)
    path = tmp_path / "annotations_instance" / "validation" / "ADE_val_00000001.png"
    write_map(path, np.stack((*colours, colours[0] * 0), axis=-1))
    with pytest.raises(DataError, match=rf"annotations_instance.*ADE_val_00000001\.png: {reason}"):
        open_dataset("ade20k", tmp_path)[0]
    write_map(path, np.zeros((8, 6, 3)))
    with pytest.raises(DataError, match=r"the map is \(8, 6\) pixels, but .* is \(6, 8\)"):
        open_dataset("ade20k", tmp_path)[0]


def test_ade20k_tables() -> None:
    assert len(ADE) == 150
    assert len(THINGS) == len(set(THINGS)) == 100
    by_id = {category.id: category for category in ADE}
    # Source: the instance challenge's table of categories: ids 1, 4, 9 and 100
    assert [by_id[THINGS[k - 1]].name for k in (1, 4, 9, 100)] == ["bed", "person", "car", "flag"]
    assert [c.name for c in ADE if not c.is_thing][:6] == ["wall", "building", "sky", "floor", "tree", "ceiling"]


def test_ade20k_full_draws_objects_by_depth(tmp_path: Path) -> None:
    draw_ade20k_full(tmp_path)
    dataset = open_dataset("ade20k-full", tmp_path)
    sample = dataset[0]
    # the sky's mask is everywhere, but it lies behind the person and the car
    assert sample.segment_map.tolist() == numbers(1, 3, elsewhere=2).tolist()
    assert [(s.category.name, s.category.id, s.is_thing) for s in sample.segments] == [
        ("person", 1831, True),
        ("sky", 2420, False),
        ("car", 401, True),
    ]
    parts = open_dataset("ade20k-full", tmp_path, part_level=1)[0]
    assert [(s.category.name, s.area) for s in parts.segments] == [("head", 6)]
    with pytest.raises(DataError, match="the annotation is empty: it has no object of part level 2"):
        open_dataset("ade20k-full", tmp_path, part_level=2)[0]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"instance_mask": "../x.png"}, "instance_mask of object 0 must be ADE_val_00000002/NAME.png"),
        ({"instance_mask": "ADE_val_00000002/../x.png"}, "instance_mask of object 0 must be"),
        ({"name": ""}, "object 0 has no category: its name is ''"),
        ({"depth_ordering_rank": "x"}, "the rank of 0 must be an integer"),
    ],
)
def test_ade20k_full_names_what_is_wrong(tmp_path: Path, change: dict[str, str], reason: str) -> None:
    draw_ade20k_full(tmp_path)
    path = tmp_path / "images" / "ADE" / "validation" / "room" / "ADE_val_00000002.json"
    data = json.loads(path.read_text())
    data["annotation"]["object"][0].update(change)
    write_json(path, data)
    with pytest.raises(DataError, match=rf"ADE_val_00000002\.json: .*{reason}"):
        open_dataset("ade20k-full", tmp_path)[0]


def test_ade20k_full_is_partly_in_latin_1(tmp_path: Path) -> None:
    draw_ade20k_full(tmp_path)
    path = tmp_path / "images" / "ADE" / "validation" / "room" / "ADE_val_00000002.json"
    path.write_bytes(path.read_bytes().replace(b"sky", b"caf\xe9"))
    assert "café" in {category.name for category in open_dataset("ade20k-full", tmp_path)[0].categories.values()}


def test_ade20k_full_masks_have_one_size(tmp_path: Path) -> None:
    draw_ade20k_full(tmp_path)
    folder = tmp_path / "images" / "ADE" / "validation" / "room" / "ADE_val_00000002"
    write_map(folder / "instance_000_ADE_val_00000002.png", np.ones((3, 3)))
    with pytest.raises(DataError, match=r"instance_000.*: the mask is \(3, 3\) pixels, others .* \(6, 8\)"):
        open_dataset("ade20k-full", tmp_path)[0]
    write_map(folder / "instance_000_ADE_val_00000002.png", np.zeros((6, 8)))
    assert any("instance_000" in text for text in open_dataset("ade20k-full", tmp_path)[0].left_out)


def test_cihp_has_parts_of_people(tmp_path: Path) -> None:
    draw_cihp(tmp_path)
    # one face belongs to each of two people, and one person has a hat too
    parts = numbers(13, 13)
    parts[0, :3] = 1
    write_map(tmp_path / "Validation" / "Category_ids" / "0000006.png", parts)
    dataset = open_dataset("cihp", tmp_path, segments="parts")
    assert len(dataset.categories) == 19
    sample = dataset[0]
    assert [(s.category.name, s.area) for s in sample.segments] == [("hat", 3), ("face", 15), ("face", 12)]
    people = open_dataset("cihp", tmp_path)
    assert people[0].segment_map.tolist() == numbers(1, 2).tolist()
    assert {category.name for category in people[0].categories.values()} == {"person"}
    with pytest.raises(DataError, match="segments must be one of parts, people, got 'faces'"):
        open_dataset("cihp", tmp_path, segments="faces")
    write_map(tmp_path / "Validation" / "Category_ids" / "0000006.png", numbers(20, 1))
    with pytest.raises(DataError, match=r"0000006\.png: the value 20 has no category; the categories are 1 to 19"):
        open_dataset("cihp", tmp_path)[0]
    write_map(tmp_path / "Validation" / "Human_ids" / "0000007.png", np.ones((8, 6)))
    with pytest.raises(DataError, match=r"Human_ids.0000007\.png: the map is \(8, 6\) pixels, but"):
        open_dataset("cihp", tmp_path)[1]


def test_cityscapes_instances_and_groups(tmp_path: Path) -> None:
    draw_cityscapes(tmp_path)
    sample = open_dataset("cityscapes", tmp_path)[0]
    expected = numbers(1, 3)
    expected[0, 3:], expected[5, 3:] = 2, 0
    assert sample.segment_map.tolist() == expected.tolist()
    assert [(s.category.name, s.is_crowd) for s in sample.segments] == [("car", False), ("sky", False), ("car", True)]
    assert len(CITYSCAPES) == 19
    assert sum(category.is_thing for category in CITYSCAPES) == 8
    path = tmp_path / "gtFine" / "val" / "frankfurt" / "frankfurt_000000_000294_gtFine_instanceIds.png"
    write_map(path, numbers(34, 1))
    with pytest.raises(DataError, match=r"instanceIds\.png: the value 34 has no category"):
        open_dataset("cityscapes", tmp_path)[0]
    write_map(path, numbers(4, 1))
    with pytest.raises(DataError, match="the annotation is empty"):
        open_dataset("cityscapes", tmp_path)[0]


def test_cityscapes_as_its_own_script_prepares_it(tmp_path: Path) -> None:
    draw_cityscapes(tmp_path)
    identities = ["frankfurt_000000_000294", "munster_000000_000003"]
    tables = panoptic_tables([f"{name}_gtFine_leftImg8bit.png" for name in identities], tmp_path / "gtFine" / "x")
    (tmp_path / "gtFine" / "x").rename(tmp_path / "gtFine" / "cityscapes_panoptic_val")
    for image, name in zip(tables["images"], identities, strict=True):
        image["id"] = name
    for annotation, name in zip(tables["annotations"], identities[::-1], strict=True):
        annotation["image_id"] = name
    write_json(tmp_path / "gtFine" / "cityscapes_panoptic_val.json", tables)
    dataset = open_dataset("cityscapes", tmp_path, truth="panoptic")
    assert list(dataset.names) == list(open_dataset("cityscapes", tmp_path).names)
    assert [sample.name for sample in dataset] == list(dataset.names)
    assert dataset[0].segment_map.tolist() == numbers(1, 2).tolist()
    tables["images"][0]["id"] = tables["annotations"][1]["image_id"] = "../x_y"
    write_json(tmp_path / "gtFine" / "cityscapes_panoptic_val.json", tables)
    with pytest.raises(DataError, match="the id of an image must be CITY_NUMBER_NUMBER"):
        open_dataset("cityscapes", tmp_path, truth="panoptic")[0]


def test_the_left_region_is_what_the_trees_say() -> None:
    assert (int(LEFT.sum()), int(RIGHT.sum()), bool((LEFT & RIGHT).any())) == (18, 12, False)
