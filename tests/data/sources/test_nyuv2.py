"""NYUv2's labelled subset, and folders of images and depth."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from scipy.io import savemat

from tests.data.sources.trees import LEFT, draw_depth_folders, draw_nyuv2, numbers, write_image, write_map
from upseg.data.sources import open_dataset
from upseg.errors import DataError

FILE = "nyu_depth_v2_labeled.mat"


def test_scenes_have_segments_and_depth(tmp_path: Path) -> None:
    draw_nyuv2(tmp_path)
    dataset = open_dataset("nyuv2", tmp_path)
    assert [(c.id, c.name, c.is_thing) for c in dataset.categories] == [(1, "wall", False), (2, "chair", True)]
    sample = dataset[1]
    assert sample.name == "0002"
    assert sample.image[0, 0].tolist() == pytest.approx([1, 0, 0.2])
    assert sample.segment_map.tolist() == numbers(1, 2).tolist()
    assert [s.category.name for s in sample.segments] == ["wall", "chair"]
    assert sample.depth.tolist() == np.where(LEFT, 2.5, 4).tolist()
    raw = open_dataset("nyuv2", tmp_path / FILE, depth="raw")[0]
    assert raw.depth.tolist() == np.where(LEFT, 2.5, 0).tolist()


def test_instances_of_a_class_are_told_apart(tmp_path: Path) -> None:
    draw_nyuv2(tmp_path)
    with h5py.File(tmp_path / FILE, "r+") as file:
        file["labels"][0] = numbers(2, 2).T
    sample = open_dataset("nyuv2", tmp_path)[0]
    assert [(s.category.name, s.area) for s in sample.segments] == [("chair", 18), ("chair", 12)]


def test_the_official_split(tmp_path: Path) -> None:
    draw_nyuv2(tmp_path)
    with pytest.raises(DataError, match=r"splits\.mat: no such file"):
        open_dataset("nyuv2", tmp_path, split="test")
    savemat(tmp_path / "splits.mat", {"trainNdxs": [[2]], "testNdxs": [[1]]})
    assert list(open_dataset("nyuv2", tmp_path, split="train").names) == ["0002"]
    assert open_dataset("nyuv2", tmp_path, split="test")[0].name == "0001"
    with pytest.raises(DataError, match="splits of NYUv2 are train and test, got 'val'"):
        open_dataset("nyuv2", tmp_path, split="val")
    savemat(tmp_path / "splits.mat", {"trainNdxs": [[3]]})
    with pytest.raises(DataError, match=r"splits\.mat: .*its numbers must be 1 to 2"):
        open_dataset("nyuv2", tmp_path, split="train")
    with pytest.raises(DataError, match=r"splits\.mat: .*it has no variable 'testNdxs'"):
        open_dataset("nyuv2", tmp_path, split="test")


def test_what_is_wrong_in_the_file_is_named(tmp_path: Path) -> None:
    draw_nyuv2(tmp_path)
    with h5py.File(tmp_path / FILE, "r+") as file:
        file["labels"][0] = numbers(1, 3).T
        file["labels"][1] = numbers(0, 0).T
    dataset = open_dataset("nyuv2", tmp_path)
    with pytest.raises(DataError, match=r"labeled\.mat: scene 1 has the label 3, which has no category"):
        dataset[0]
    with pytest.raises(DataError, match=r"labeled\.mat: scene 2 is empty: no pixel is labelled"):
        dataset[1]
    with h5py.File(tmp_path / FILE, "r+") as file:
        del file["depths"]
    with pytest.raises(DataError, match=r"labeled\.mat: .*it lacks the variables depths"):
        open_dataset("nyuv2", tmp_path)


def test_without_h5py_the_message_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw_nyuv2(tmp_path)
    real = builtins.__import__

    def without_h5py(name: str, *rest: Any) -> Any:
        if name == "h5py":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without_h5py)
    with pytest.raises(DataError, match=r"pip install 'upseg\[data\]'"):
        open_dataset("nyuv2", tmp_path)


def test_folders_have_depth_alone(tmp_path: Path) -> None:
    draw_depth_folders(tmp_path)
    sample = open_dataset("nyuv2", tmp_path)[0]
    assert sample.segments == ()
    assert sample.depth.dtype == np.float32
    assert sample.depth.tolist() == (numbers(2500, 4000) / 1000).tolist()
    assert open_dataset("nyuv2", tmp_path, depth_scale=256)[0].depth.max() == pytest.approx(4000 / 256)
    with pytest.raises(DataError, match="depth_scale must be more than 0"):
        open_dataset("nyuv2", tmp_path, depth_scale=0.0)


@pytest.mark.parametrize(
    ("image", "depth", "split"),
    [
        ("kitchen_0001/rgb_00045.jpg", "kitchen_0001/sync_depth_00045.png", None),
        ("rgb/0000000005.png", "depth/0000000005.png", None),
        ("test/scene/rgb/a/7.png", "test/scene/depth/a/7.tif", "test"),
        ("images/x.png", "depth/x.png", None),
    ],
)
def test_image_and_depth_find_each_other(tmp_path: Path, image: str, depth: str, split: str | None) -> None:
    write_image(tmp_path / image)
    write_map(tmp_path / depth, numbers(700, 800))
    (tmp_path / "index.txt").write_text("of no interest")
    dataset = open_dataset("nyuv2", tmp_path, split=split)
    assert [sample.depth.max() for sample in dataset] == pytest.approx([0.8])


def test_depth_that_is_not_as_it_should_be_is_named(tmp_path: Path) -> None:
    draw_depth_folders(tmp_path)
    write_map(tmp_path / "depth" / "sync_depth_00000.png", numbers(0, 0))
    with pytest.raises(DataError, match=r"sync_depth_00000\.png: the annotation is empty: no pixel has a depth"):
        open_dataset("nyuv2", tmp_path)[0]
    write_map(tmp_path / "depth" / "depth_00050.png", numbers(1, 1))
    with pytest.raises(DataError, match=r"holds both depth/depth_00050\.png and depth/sync_depth_00050\.png"):
        open_dataset("nyuv2", tmp_path)
