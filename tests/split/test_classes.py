from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from upseg.data.sources.label_images import read_class_names
from upseg.errors import DataError, UpsegError
from upseg.segmentation import Category
from upseg.split.classes import MaskClasses, classes_beside, named_classes

PIXELS = np.array([[0, 2, 2], [255, 9, 2]], np.uint8)


@pytest.fixture
def mask(tmp_path) -> Path:
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    return tmp_path / "a.png"


def test_a_value_is_a_class_0_is_none_and_255_is_void(mask) -> None:
    found = MaskClasses().read(mask)[0]
    assert found.labels.tolist() == [[0, 1, 1], [0, 2, 1]]
    assert [segment.category for segment in found] == [Category(2, "class-2"), Category(9, "class-9")]


def test_void_can_be_other_values_or_none(mask) -> None:
    assert MaskClasses(void=frozenset({2, 9})).read(mask)[0].labels.tolist() == [[0, 0, 0], [1, 0, 0]]
    assert MaskClasses(void=frozenset()).read(mask)[0].labels.tolist() == [[0, 1, 1], [2, 3, 1]]


def test_a_mask_of_nothing_but_255_is_asked_about(tmp_path) -> None:
    path = tmp_path / "binary.png"
    Image.fromarray(np.array([[0, 255]], np.uint8)).save(path)
    with pytest.raises(DataError, match=r"binary\.png: its only value beside 0 is 255, .* --void none"):
        MaskClasses().read(path)[0]
    assert MaskClasses(void=frozenset()).read(path)[0][1].category == Category(255, "class-255")
    assert len(MaskClasses(void=frozenset({255})).read(path)[0]) == 0


@pytest.mark.parametrize("mode", ["1", "L", "P", "I;16"])
def test_every_kind_of_label_map_is_read(tmp_path, mode) -> None:
    image = Image.fromarray(np.array([[0, 1]], np.uint16 if mode == "I;16" else np.uint8))
    if mode == "1":
        image = image.point(lambda value: 255 * value).convert("1")
    if mode == "P":
        image = image.convert("P")
        image.putpalette([0, 0, 0, 250, 3, 9])
    image.save(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as saved:
        assert saved.mode == mode
    assert MaskClasses().read(tmp_path / "a.png")[0].labels.tolist() == [[0, 1]]


def test_an_empty_mask_has_no_segments(tmp_path) -> None:
    Image.new("L", (3, 2)).save(tmp_path / "a.png")
    assert len(MaskClasses().read(tmp_path / "a.png")[0]) == 0


@pytest.mark.parametrize("palette", [False, True])
def test_colours_of_cvat_are_classes_by_its_label_map(tmp_path, palette) -> None:
    (tmp_path / "labelmap.txt").write_text("background:0,0,0::\ncell:250,9,0::\nold cell:0,9,7::\n")
    masks = tmp_path / "SegmentationClass"
    masks.mkdir()
    pixels = np.array([[[0, 0, 0], [0, 9, 7]], [[250, 9, 0], [0, 9, 7]]], np.uint8)
    image = Image.fromarray(np.array([[0, 2], [1, 2]], np.uint8) if palette else pixels)
    if palette:
        image.putpalette([0, 0, 0, 250, 9, 0, 0, 9, 7])
    image.save(masks / "a.png")
    classes = classes_beside(masks)
    assert classes is not None
    found = classes.read(masks / "a.png")[0]
    assert found.labels.tolist() == [[0, 1], [2, 1]]
    assert [segment.category for segment in found] == [Category(2, "old cell"), Category(1, "cell")]
    assert classes.facts() != MaskClasses(classes.names).facts()
    Image.fromarray(pixels + 1).save(masks / "a.png")
    with pytest.raises(DataError, match=r"a\.png: .*the colour \(1, 1, 1\)"):
        classes.read(masks / "a.png")[0]


def test_names_come_from_the_list_and_kinds_from_the_options() -> None:
    listed = MaskClasses({2: "heaven", 9: "cart", 11: "none"}, frozenset({9}))
    assert listed.categories() == [Category(2, "heaven"), Category(9, "cart", is_thing=False), Category(11, "none")]
    assert MaskClasses().category(4) == Category(4, "class-4")
    assert MaskClasses().categories() == []


@pytest.mark.parametrize(
    ("name", "count", "one"),
    [
        ("voc", 20, Category(9, "chair")),
        ("ade20k", 150, Category(3, "sky", is_thing=False)),
        ("cityscapes", 19, Category(26, "car")),
        ("coco", 182, Category(1, "person")),
    ],
)
def test_classes_of_data_sets_are_known_by_name(name: str, count: int, one: Category) -> None:
    classes = named_classes(name)
    assert len(classes.categories()) == count
    assert classes.category(one.id) == one
    assert named_classes("nothing") is None


def test_a_table_beside_the_masks_names_classes(tmp_path) -> None:
    (tmp_path / "masks").mkdir()
    assert classes_beside(tmp_path / "masks") is None
    rows = '[{"id": 0, "name": "ground"}, {"id": 3, "name": "cell"}, {"id": 4, "name": "glass", "isthing": 0}]'
    (tmp_path / "categories.json").write_text(rows)
    expected = [Category(3, "cell"), Category(4, "glass", is_thing=False)]
    assert classes_beside(tmp_path / "masks").categories() == expected
    (tmp_path / "masks" / "categories.json").write_text("{}")
    with pytest.raises(DataError, match=r"masks/categories\.json"):
        classes_beside(tmp_path / "masks")


def test_values_that_the_list_has_not_are_named(mask, tmp_path) -> None:
    with pytest.raises(DataError, match=r"a\.png: it has values that are not in the list of classes: 9; add"):
        MaskClasses({2: "cell"}).read(mask)[0]
    Image.fromarray(np.arange(1, 9, dtype=np.uint8)[None]).save(mask)
    with pytest.raises(DataError, match=r"1, 3, 4, 5, 6, \.\.\.; add"):
        MaskClasses({2: "cell"}).read(mask)[0]


def test_negative_values_are_void(tmp_path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.array([[0, 3, -4]], np.int16))
    assert MaskClasses().read(tmp_path / "a.tif")[0].labels.tolist() == [[0, 1, 0]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stuff": frozenset({0})}, "ids are above 0 and not void, got 0"),
        ({"stuff": frozenset({3}), "void": frozenset({3})}, "not void, got 3"),
        ({"names": {1: "cell"}, "stuff": frozenset({2})}, "the class 2 is to be stuff, but"),
    ],
)
def test_options_that_contradict_each_other_are_refused(options, message) -> None:
    with pytest.raises(UpsegError, match=message):
        MaskClasses(**options)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cell\n\n  dead cell \n", {1: "cell", 2: "dead cell"}),
        ("0 background\n7 dead cell\n3\tcell\n", {7: "dead cell", 3: "cell"}),
        ("\ufeffgröße\n", {1: "größe"}),
        ("3d print\n4x4 car\n", {1: "3d print", 2: "4x4 car"}),
    ],
)
def test_lists_of_classes_have_ids_or_count_from_1(tmp_path, text, expected) -> None:
    (tmp_path / "classes.txt").write_text(text, encoding="utf-8")
    assert read_class_names(tmp_path / "classes.txt") == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 cell\nblob\n", r"there are '1 cell' and 'blob'"),
        ("blob\n2 cell\n", r"there are '2 cell' and 'blob'"),
        ("background\ncell\n", "the background is 0; leave it out"),
        ("__background__\ncell\n", "the background is 0; leave it out"),
        ("1 cell\n1 blob\n", "two classes have the id 1"),
        ("cell\ncell\n", "two classes have the name cell"),
        ("\n", "the file is empty"),
        (None, "there is none"),
    ],
)
def test_a_list_that_can_be_misunderstood_is_refused(tmp_path, text, message) -> None:
    if text is not None:
        (tmp_path / "classes.txt").write_text(text)
    with pytest.raises(DataError, match=rf"classes\.txt.*{message}"):
        read_class_names(tmp_path / "classes.txt")


def test_0_is_a_person_in_the_pixel_maps_of_coco_stuff(tmp_path: Path) -> None:
    """They hold each id minus one, and 255 where nothing is known."""
    path = tmp_path / "a.png"
    Image.fromarray(np.array([[0, 0, 1, 255]], np.uint8)).save(path)
    found = named_classes("coco-stuff").read(path)[0]
    assert found.labels.tolist() == [[1, 1, 2, 0]]
    assert [segment.category for segment in found] == [Category(1, "person"), Category(2, "bicycle")]
    assert [segment.category.name for segment in named_classes("coco").read(path)[0]] == [
        "person"
    ]  # 0 is none, 1 a person
