"""What holds for every data set, tried on a tiny one in its official layout."""

from __future__ import annotations

import pickle
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.data.sources.every_tree import TREES, Tree
from tests.data.sources.trees import HEIGHT, WIDTH, write_cut_image, write_image
from upseg.data.dataset import Dataset
from upseg.data.sample import IGNORE
from upseg.data.sources import SOURCES, open_dataset
from upseg.errors import DataError

EVERY = pytest.mark.parametrize("tree", TREES.values(), ids=TREES)
WITH_IMAGES = pytest.mark.parametrize(
    "tree", [tree for tree in TREES.values() if tree.image], ids=[name for name, tree in TREES.items() if tree.image]
)


def opened(tree: Tree, root: Path, **options: object) -> Dataset:
    return open_dataset(tree.source, root, split=tree.split, **options)


def state(root: Path) -> dict[str, int]:
    """All files and when they were changed."""
    return {str(path): path.stat().st_mtime_ns for path in root.rglob("*")}


def test_every_source_has_a_tree() -> None:
    assert {tree.source for tree in TREES.values()} | {"coco-stuff27"} == set(SOURCES)


@EVERY
def test_samples_are_read(tree: Tree, tmp_path: Path) -> None:
    tree.draw(tmp_path)
    before = state(tmp_path)
    dataset = opened(tree, tmp_path)
    assert len(dataset) == len(tree.names) == 2
    assert tuple(dataset.names) == tree.names
    samples = list(dataset)
    assert tuple(sample.name for sample in samples) == tree.names
    assert dataset.problems == []
    for sample in samples:
        assert sample.shape == (HEIGHT, WIDTH)
        assert sample.image.shape == (HEIGHT, WIDTH, 3)
        assert sample.image.dtype == np.float32
        assert sample.segments or sample.depth is not None
        known = {category.id for category in dataset.categories}
        assert not known or {category.id for category in sample.categories.values()} <= known
        values = set(np.unique(sample.semantic_map(dataset.categories)).tolist())
        assert values <= {IGNORE, *range(len(dataset.categories))}
    assert dataset[-1].name == tree.names[-1]
    with pytest.raises(IndexError, match="there is no number 2"):
        dataset[2]
    assert state(tmp_path) == before  # nothing is written into a data set


@EVERY
def test_a_pickled_data_set_reads_the_same(tree: Tree, tmp_path: Path) -> None:
    tree.draw(tmp_path)
    dataset = opened(tree, tmp_path)
    copy = pickle.loads(pickle.dumps(dataset))
    for one, other in zip(dataset, copy, strict=True):
        assert np.array_equal(one.segment_map, other.segment_map)
        assert one.segments == other.segments
        assert np.array_equal(one.image, other.image)


@EVERY
def test_what_is_missing_is_said(tree: Tree, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        opened(tree, tmp_path / "nowhere")
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DataError, match=r"empty (should hold .* but )?holds nothing"):
        opened(tree, empty)
    for number, needed in enumerate(tree.needed):
        root = tmp_path / str(number)
        tree.draw(root)
        place = root / needed
        _ = shutil.rmtree(place) if place.is_dir() else place.unlink()
        with pytest.raises(DataError) as caught:
            list(opened(tree, root))
        message = str(caught.value)
        assert str(root) in message
        told = "json" if place.suffix == ".json" or tree.source == "sa-1b" else place.name
        assert told in message.replace(str(root), "").lower() or told in message


def damage_image(path: Path, damage: str) -> None:
    if damage == "missing":
        path.unlink()
    elif damage == "cut":
        write_cut_image(path)
    else:
        path.write_bytes({"empty": b"", "text": b"no image at all"}[damage])


@WITH_IMAGES
@pytest.mark.parametrize("damage", ["cut", "empty", "text", "missing"])
def test_a_damaged_image_is_named_or_skipped(tree: Tree, damage: str, tmp_path: Path) -> None:
    tree.draw(tmp_path)
    path = tmp_path / tree.image
    damage_image(path, damage)
    # where images and ground truth are paired by name, a missing image is told by the file that lacks its partner
    names = f"{path.stem}|{Path(tree.truth).name}" if damage == "missing" else path.name
    with pytest.raises(DataError, match=names):
        list(opened(tree, tmp_path))
    dataset = opened(tree, tmp_path, on_error="skip")
    if len(dataset) == 2:
        with pytest.warns(UserWarning, match="skipped") as caught:
            left = list(dataset)
        assert "skipped 1 of 2 samples" in str(caught[-1].message)
    else:  # files without a partner are seen when the data set is opened
        left = list(dataset)
    assert [sample.name for sample in left] == [tree.names[1]]
    assert len(dataset.problems) == 1
    assert re.search(names, dataset.problems[0])


@pytest.mark.parametrize("tree", [t for t in TREES.values() if t.image and t.states_size], ids=lambda tree: tree.source)
def test_an_image_of_another_size_is_named(tree: Tree, tmp_path: Path) -> None:
    tree.draw(tmp_path)
    write_image(tmp_path / tree.image, shape=(HEIGHT + 1, WIDTH))
    for decode in (True, False):
        dataset = opened(tree, tmp_path, decode_images=decode)
        with pytest.raises(DataError, match="do not belong together") as caught:
            dataset[0]
        assert Path(tree.image).name in str(caught.value)
        assert dataset[1].shape == (HEIGHT, WIDTH)


@EVERY
@pytest.mark.parametrize("damage", ["cut", "empty", "text"])
def test_damaged_ground_truth_is_named(tree: Tree, damage: str, tmp_path: Path) -> None:
    tree.draw(tmp_path)
    path = tmp_path / tree.truth
    content = path.read_bytes()
    path.write_bytes({"cut": content[: len(content) // 2], "empty": b"", "text": b"nothing of the kind"}[damage])
    with pytest.raises(DataError, match=path.name.replace(".", r"\.")):
        opened(tree, tmp_path)[0]


@WITH_IMAGES
def test_images_can_wait(tree: Tree, tmp_path: Path) -> None:
    tree.draw(tmp_path)
    path = tmp_path / tree.image
    dataset = opened(tree, tmp_path, decode_images=False)
    sample = dataset[0]
    moved = path.with_suffix(".moved")
    path.rename(moved)
    with pytest.raises(DataError, match="there is no such file"):
        _ = sample.image
    moved.rename(path)
    assert sample.image.shape == (HEIGHT, WIDTH, 3)
