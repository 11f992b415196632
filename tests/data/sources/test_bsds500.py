from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from tests.data.sources.trees import draw_bsds500, numbers, write_bsds_annotations
from upseg.data.sources import open_dataset
from upseg.data.sources.bsds500 import BSDS500
from upseg.errors import DataError


def draw_tree(root: Path, split: str = "val") -> Path:
    """Two images of 6 x 8 pixels, with one and two annotators."""
    images, truths = root / "images" / split, root / "groundTruth" / split
    images.mkdir(parents=True)
    truths.mkdir(parents=True)
    halves = np.repeat([[1, 1, 1, 1, 2, 2, 2, 2]], 6, axis=0).astype(np.uint16)
    for name, maps in {"12": [halves], "7": [halves, np.ones((6, 8), np.uint16)]}.items():
        Image.fromarray(np.full((6, 8, 3), 90, np.uint8)).save(images / f"{name}.jpg")
        write_bsds_annotations(truths / f"{name}.mat", maps)
    (images / "Thumbs.db").write_bytes(b"of no interest")
    return root


@pytest.mark.parametrize("above", ["", "data", "BSDS500/data", "BSR/BSDS500/data"])
def test_reads_the_official_layout(tmp_path: Path, above: str) -> None:
    draw_tree(tmp_path / above)
    items = list(BSDS500(tmp_path, "val"))
    assert [item.name for item in items] == ["12", "7"]
    assert [len(item.annotations) for item in items] == [1, 2]
    assert items[1].annotations[0].tolist() == [[1, 1, 1, 1, 2, 2, 2, 2]] * 6
    assert all(labels.dtype == np.int32 for item in items for labels in item.annotations)


def test_says_what_is_missing(tmp_path: Path) -> None:
    draw_tree(tmp_path)
    with pytest.raises(DataError, match=r"the split 'train' was asked for, and .*images has val"):
        BSDS500(tmp_path, "train")
    with pytest.raises(DataError, match=r"nowhere/images or .* should be a folder"):
        BSDS500(tmp_path / "nowhere", "val")
    (tmp_path / "groundTruth" / "val" / "7.mat").unlink()
    with pytest.raises(DataError, match=r"1 files in .*images/val have no partner in .*groundTruth/val: 7\.jpg"):
        BSDS500(tmp_path, "val")
    partly = BSDS500(tmp_path, "val", on_error="skip")
    assert list(partly.names) == ["12"]
    assert len(partly.problems) == 1
    (tmp_path / "groundTruth" / "val" / "12.mat").rename(tmp_path / "groundTruth" / "val" / "12.txt")
    with pytest.raises(DataError, match=r"should hold BSDS500's annotations .*\*\.mat\), but holds 12\.txt"):
        BSDS500(tmp_path, "val")


DAMAGES = {
    "foreign": lambda path: path.write_bytes(b"\x89PNG" + bytes(range(256)) * 4),
    "other variable": lambda path: savemat(path, {"something": np.ones(3)}),
    "no structure": lambda path: savemat(path, {"groundTruth": np.ones((2, 2))}),
    "no annotator": lambda path: write_bsds_annotations(path, []),
    "real numbers": lambda path: write_bsds_annotations(path, [np.full((6, 8), 0.5)]),
    "no region": lambda path: write_bsds_annotations(path, [np.zeros((6, 8), np.uint16)]),
    "other size": lambda path: write_bsds_annotations(path, [np.ones((8, 6), np.uint16)]),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_annotations_are_named_or_skipped(tmp_path: Path, damage: str) -> None:
    path = draw_tree(tmp_path) / "groundTruth" / "val" / "12.mat"
    DAMAGES[damage](path)
    with pytest.raises(DataError, match=r"12\.mat: "):
        list(BSDS500(tmp_path))
    with pytest.warns(UserWarning, match="skipped") as caught:
        items = list(BSDS500(tmp_path, on_error="skip"))
    assert [item.name for item in items] == ["7"]
    assert "skipped 1 of 2 samples" in str(caught[-1].message)


def test_samples_have_the_maps_of_all_annotators(tmp_path: Path) -> None:
    draw_bsds500(tmp_path)
    sample = open_dataset("bsds500", tmp_path)[0]
    assert sample.segment_map.tolist() == numbers(1, 3, elsewhere=2).tolist()  # renumbered by first pixel
    assert [found.tolist() for found in sample.other_maps] == [numbers(1, 1, elsewhere=2).tolist()]
    assert [segment.category for segment in sample.segments] == [None] * 3
