from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.data.sources.trees import LEFT, RIGHT, draw_dsb2018, numbers, write_image, write_map
from upseg.data.sources import open_dataset
from upseg.errors import DataError


def test_masks_become_segments(tmp_path: Path) -> None:
    draw_dsb2018(tmp_path)
    sample = open_dataset("dsb2018", tmp_path)[0]
    assert sample.segment_map.tolist() == numbers(1, 2).tolist()
    assert {category.name for category in sample.categories.values()} == {"nucleus"}
    assert len(open_dataset("dsb2018", tmp_path / "stage1_train")) == 2
    assert len(open_dataset("dsb2018", tmp_path, split="stage1_train")) == 2
    with pytest.raises(DataError, match="stage1_test should be a folder with a folder for each image"):
        open_dataset("dsb2018", tmp_path, split="stage1_test")


def test_overlapping_masks(tmp_path: Path) -> None:
    draw_dsb2018(tmp_path)
    masks = tmp_path / "stage1_train" / "00ae65" / "masks"
    write_map(masks / "c3.png", (LEFT | RIGHT) * 255)
    write_map(masks / "d4.png", RIGHT * 255)
    sample = open_dataset("dsb2018", tmp_path)[0]
    assert sample.segment_map.tolist() == numbers(1, 2).tolist()
    assert sample.left_out == ("2 masks are wholly behind smaller ones",)


def test_masks_in_colour_count_where_they_are_not_black(tmp_path: Path) -> None:
    draw_dsb2018(tmp_path)
    path = tmp_path / "stage1_train" / "00ae65" / "masks" / "a1.png"
    write_map(path, np.stack((LEFT * 0, LEFT * 255, LEFT * 0), axis=-1))
    assert open_dataset("dsb2018", tmp_path)[0].segments[0].area == 18


def test_what_is_wrong_is_named(tmp_path: Path) -> None:
    draw_dsb2018(tmp_path)
    folder = tmp_path / "stage1_train" / "00ae65"
    write_map(folder / "masks" / "c3.png", LEFT * 0)
    assert open_dataset("dsb2018", tmp_path)[0].left_out == ("mask c3.png is empty",)
    write_map(folder / "masks" / "c3.png", np.ones((8, 6)))
    with pytest.raises(DataError, match=r"c3\.png: the mask is \(8, 6\) pixels, others of its image are \(6, 8\)"):
        open_dataset("dsb2018", tmp_path)[0]
    write_image(folder / "images" / "second.png")
    with pytest.raises(DataError, match="00ae65/images should hold one image, but holds 2"):
        open_dataset("dsb2018", tmp_path)[0]
    for path in (folder / "masks").iterdir():
        path.unlink()
    with pytest.raises(DataError, match=r"masks should hold one mask for each nucleus \(\*\.png\), but holds nothing"):
        open_dataset("dsb2018", tmp_path)[0]
