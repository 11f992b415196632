from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from tests.data.sources.trees import write_image
from upseg.data.sources.folders import (
    Listing,
    choose_split,
    find_file,
    find_folder,
    image_of,
    list_files,
    nearest_contents,
    shared_keys,
)
from upseg.errors import DataError


def test_the_first_place_that_is_there_is_taken(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "x.txt").write_text("")
    assert find_folder(tmp_path, ("a", "b", "c"), "things") == tmp_path / "b"
    assert find_file(tmp_path, ("b/x.txt", "c/x.txt"), "a list") == tmp_path / "c" / "x.txt"
    with pytest.raises(DataError) as caught:
        find_folder(tmp_path, ("a/d", "e"), "things")
    assert str(caught.value) == (
        f"{tmp_path}/a/d or {tmp_path}/e should be a folder with things, but there is none; {tmp_path} holds b, c"
    )
    with pytest.raises(DataError, match=r"b/x\.txt should be a file with a list, but there is none; .*b holds nothing"):
        find_file(tmp_path, ("b/x.txt",), "a list")


def test_contents_are_shown_in_part(tmp_path: Path) -> None:
    for name in "abcdefg":
        (tmp_path / name).mkdir()
    assert nearest_contents(tmp_path / "x" / "y") == f"{tmp_path} holds a, b, c, d, e ..."


def test_files_are_keyed_by_what_comes_before_the_ending(tmp_path: Path) -> None:
    for name in ("b_map.PNG", "a_map.png", "a.png", ".hidden_map.png", "deep/c_map.png", ".git/d_map.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    flat = list_files(tmp_path, ("_map.png",), "maps")
    assert dict(flat.files) == {"a": "a_map.png", "b": "b_map.PNG"}
    assert flat.path("b") == tmp_path / "b_map.PNG"
    deep = list_files(tmp_path, ("_map.png",), "maps", recursive=True)
    assert list(deep.files) == ["a", "b", "deep/c"]
    assert deep.name("deep/c") == "deep/c_map"
    with pytest.raises(DataError, match=r"deep should hold maps \(\*\.tif\), but holds c_map\.png"):
        list_files(tmp_path / "deep", (".tif",), "maps")
    (tmp_path / "a.tif").write_text("")
    with pytest.raises(DataError, match=r"holds both a\.png and a\.tif"):
        list_files(tmp_path, (".png", ".tif"), "maps")


def test_links_between_folders_are_followed_once(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a.png").write_text("")
    (tmp_path / "top").mkdir()
    (tmp_path / "top" / "link").symlink_to(tmp_path / "real")
    (tmp_path / "real" / "loop").symlink_to(tmp_path / "top")
    assert list(list_files(tmp_path / "top", (".png",), "maps", recursive=True).files) == ["link/a"]


def test_partners(tmp_path: Path) -> None:
    one = Listing(tmp_path / "x", {"a": "a.jpg", "b": "b.jpg", "c": "c.jpg"})
    two = Listing(tmp_path / "y", {"b": "b.png", "c": "c.png", "d": "d.png"})
    keys, problems = shared_keys(one, two, "skip")
    assert keys == ["b", "c"]
    assert problems == [
        f"1 files in {tmp_path}/x have no partner in {tmp_path}/y: a.jpg",
        f"1 files in {tmp_path}/y have no partner in {tmp_path}/x: d.png",
    ]
    with pytest.raises(DataError, match=r"a\.jpg; 1 files in .*d\.png \(on_error=\"skip\" leaves them out\)"):
        shared_keys(one, two, "raise")
    with pytest.raises(DataError, match=r"no two file names fit together: 3 files"):
        shared_keys(one, Listing(tmp_path / "z", {"e": "e.png"}), "skip")


@pytest.mark.parametrize(
    ("wanted", "found", "chosen"),
    [
        (None, ["train", "val", "test"], "val"),
        (None, ["train2017"], "train2017"),
        (None, ["Training", "Validation"], "Validation"),
        ("train", ["train2017", "val2017"], "train2017"),
        ("train", ["train", "train2017"], "train"),
        ("val2014", ["val2014", "val2017"], "val2014"),
    ],
)
def test_splits(wanted: str | None, found: list[str], chosen: str) -> None:
    assert choose_split(wanted, found, Path("x")) == chosen


@pytest.mark.parametrize(
    ("wanted", "found", "message"),
    [
        (None, ["train", "test"], "no split was named, and x has test, train: name one of these"),
        ("val", ["val2014", "val2017"], "the split 'val' was asked for, and x has val2014, val2017: name one"),
        ("test", ["train"], "the split 'test' was asked for, and x has train"),
        ("test", [], "no split of the data set is in x"),
    ],
)
def test_splits_that_are_not_clear(wanted: str | None, found: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        choose_split(wanted, found, Path("x"))


def test_the_size_of_an_image_is_that_of_the_upright_one(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    photo = Image.fromarray(np.zeros((4, 6, 3), np.uint8))
    exif = photo.getexif()
    exif[0x0112] = 6  # to be turned by a quarter
    photo.save(path, exif=exif)
    assert image_of(path, (6, 4), tmp_path / "truth").read().shape == (6, 4, 3)
    with pytest.raises(DataError, match=r"truth: its ground truth is 4 x 6 pixels .* its image .*a\.jpg is 6 x 4"):
        image_of(path, (4, 6), tmp_path / "truth")


def test_an_image_is_not_decoded_to_find_its_size(tmp_path: Path) -> None:
    for suffix in (".png", ".jpg"):
        path = tmp_path / f"a{suffix}"
        write_image(path, (40, 60))
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) - 50])
        lazy = image_of(path, (40, 60), tmp_path)
        with pytest.raises(DataError, match="damaged or cut off"):
            lazy.read()


def test_a_tiff_of_an_instrument_is_left_to_decoding(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.random.default_rng(0).random((5, 7)).astype(np.float64))
    assert image_of(path, (5, 7), tmp_path).read().shape == (5, 7, 3)
    with pytest.raises(DataError, match=r"a\.tif: expected an image of 7 x 5 .* got 5 x 7|do not belong together"):
        image_of(path, (7, 5), tmp_path).read()
