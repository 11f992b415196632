from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from tests.data.sources.trees import LEFT, RIGHT, draw_voc2012, numbers, write_image, write_map
from upseg.data.sources import open_dataset
from upseg.errors import DataError


def base_of(root: Path) -> Path:
    draw_voc2012(root)
    return root / "VOCdevkit" / "VOC2012"


def write_sbd(folder: Path, name: str, classes: np.ndarray, objects: np.ndarray) -> None:
    """The two `.mat` files of one image, as SBD has them."""
    for kind, variable, values in (("cls", "GTcls", classes), ("inst", "GTinst", objects)):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        content = {"Boundaries": np.zeros((1, 1)), "Segmentation": values.astype(np.uint8), "Categories": [[1.0]]}
        savemat(folder / kind / f"{name}.mat", {variable: content})


def draw_sbd(folder: Path) -> None:
    """Three images: one of VOC's val, one of its train, one of neither."""
    for name in ("2007_000001", "2007_000003", "2008_000009"):
        write_sbd(folder, name, numbers(3, 8), numbers(1, 2))
    (folder / "train.txt").write_text("2007_000001\n2008_000009\n")
    (folder / "val.txt").write_text("2007_000003\n")


def test_objects_have_the_class_of_their_pixels(tmp_path: Path) -> None:
    base = base_of(tmp_path)
    sample = open_dataset("voc2012", tmp_path)[0]
    expected = numbers(1, 3, elsewhere=2)
    expected[:, 3] = 0  # the band around objects
    assert sample.segment_map.tolist() == expected.tolist()
    assert [s.category.name for s in sample.segments] == ["person", "background", "person"]
    assert [s.is_thing for s in sample.segments] == [True, False, True]
    assert not sample.crowds
    semantic = numbers(15, 15)
    semantic[:, 3] = -1
    assert sample.semantic_map().tolist() == semantic.tolist()
    assert open_dataset("voc2012", base, split="train").names == ["2007_000003"]


def test_the_background_can_be_left_unlabelled(tmp_path: Path) -> None:
    base_of(tmp_path)
    dataset = open_dataset("voc2012", tmp_path, background=False)
    assert len(dataset.categories) == 20
    assert dataset[0].segment_map.tolist() == numbers(1, 2).tolist()


def test_without_objects_a_class_is_a_crowd(tmp_path: Path) -> None:
    base = base_of(tmp_path)
    (base / "SegmentationObject").rename(base / "elsewhere")
    sample = open_dataset("voc2012", tmp_path)[0]
    assert [(s.category.name, s.is_crowd, s.area) for s in sample.segments] == [
        ("person", True, 30),
        ("background", False, 12),
    ]


def test_without_lists_all_masks_are_read(tmp_path: Path) -> None:
    base = base_of(tmp_path)
    (base / "ImageSets").rename(base / "elsewhere")
    assert open_dataset("voc2012", tmp_path).names == ["2007_000001", "2007_000002", "2007_000003"]
    with pytest.raises(DataError, match=r"ImageSets/Segmentation should be a folder with the lists"):
        open_dataset("voc2012", tmp_path, split="val")


@pytest.mark.parametrize("place", ["benchmark_RELEASE/dataset", "VOCdevkit/benchmark_RELEASE/dataset", "SBD"])
def test_trainaug_adds_sbd_without_vocs_val(tmp_path: Path, place: str) -> None:
    base = base_of(tmp_path)
    draw_sbd(tmp_path / place)
    write_image(tmp_path / place / "img" / "2008_000009.jpg")
    dataset = open_dataset("voc2012", tmp_path, split="trainaug")
    assert dataset.names == ["2007_000003", "2008_000009"]
    ours, theirs = dataset
    assert [s.category.name for s in ours.segments] == ["person", "background", "person"]  # VOC's own mask wins
    assert [s.category.name for s in theirs.segments] == ["bird", "background", "cat"]
    assert theirs.segment_map.tolist() == numbers(1, 3, elsewhere=2).tolist()
    write_image(base / "JPEGImages" / "2008_000009.jpg", value=7)  # VOC's images come first
    assert dataset[1].image.max() < 0.1


def test_trainaug_from_a_named_place_or_from_class_masks(tmp_path: Path) -> None:
    base = base_of(tmp_path / "voc")
    with pytest.raises(DataError, match=r"trainaug needs SBD's masks: neither .*dataset .* nor .*SegmentationClassAug"):
        open_dataset("voc2012", tmp_path / "voc", split="trainaug")
    draw_sbd(tmp_path / "elsewhere" / "deep" / "down")
    place = str(tmp_path / "elsewhere" / "deep" / "down")
    assert len(open_dataset("voc2012", tmp_path / "voc", split="trainaug", sbd=place)) == 2
    write_map(base / "SegmentationClassAug" / "2008_000009.png", numbers(3, 8))
    write_image(base / "JPEGImages" / "2008_000009.jpg")
    listed = "/JPEGImages/2008_000009.jpg /SegmentationClassAug/2008_000009.png\n2007_000003\n"
    (base / "ImageSets" / "Segmentation" / "trainaug.txt").write_text(listed)
    augmented, own = open_dataset("voc2012", tmp_path / "voc", split="trainaug")
    assert [(s.category.name, s.is_crowd) for s in augmented.segments] == [
        ("bird", True),
        ("background", False),
        ("cat", True),
    ]
    assert not own.crowds


@pytest.mark.parametrize("file", ["cls/2008_000009.mat", "inst/2008_000009.mat"])
def test_damaged_sbd_files_are_named(tmp_path: Path, file: str) -> None:
    base_of(tmp_path)
    folder = tmp_path / "benchmark_RELEASE" / "dataset"
    draw_sbd(folder)
    dataset = open_dataset("voc2012", tmp_path, split="trainaug")
    path = folder / file
    for content in (b"", b"\x00" * 300, path.read_bytes()[:250]):
        path.write_bytes(content)
        with pytest.raises(DataError, match=rf"{file.replace('.', chr(92) + '.')}: "):
            dataset[1]
    savemat(path, {"other": 1})
    with pytest.raises(DataError, match=r"it has no variable 'GT(cls|inst)'"):
        dataset[1]
    path.unlink()
    with pytest.raises(DataError, match="no such file"):
        dataset[1]


def test_objects_without_a_class_or_of_another_size_are_named(tmp_path: Path) -> None:
    base = base_of(tmp_path)
    write_map(base / "SegmentationObject" / "2007_000001.png", np.where(LEFT | RIGHT, 0, 3), palette=True)
    with pytest.raises(DataError, match=r"2007_000001\.png: object 3 has no category: none of its pixels"):
        open_dataset("voc2012", tmp_path)[0]
    write_map(base / "SegmentationObject" / "2007_000001.png", np.ones((4, 4)), palette=True)
    with pytest.raises(DataError, match=r"the mask of classes is \(6, 8\) pixels, that of objects \(4, 4\)"):
        open_dataset("voc2012", tmp_path)[0]
    write_map(base / "SegmentationClass" / "2007_000002.png", numbers(21, 1), palette=True)
    with pytest.raises(DataError, match="the value 21 has no category; the categories are numbered 0 to 20"):
        open_dataset("voc2012", tmp_path)[1]
