"""Files of predictions: which belongs to which image, and depth maps in files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from tests.data.sources.trees import write_map
from upseg.errors import DataError
from upseg.evaluation.predictions import (
    DEPTH_SUFFIXES,
    SEGMENTATION_SUFFIXES,
    Matching,
    match_predictions,
    read_depth,
    reader_of,
)
from upseg.formats import FORMATS, output_paths, write
from upseg.formats.depth import write_depth_png
from upseg.images.label_maps import LabelValues
from upseg.predicted_depth import PredictedDepth
from upseg.segmentation import Category, Segmentation

LABELS = np.array([[1, 1, 2], [0, 2, 2]])
SEGMENTATION = Segmentation.from_labels(LABELS, categories={1: Category(3, "cat"), 2: Category(4, "dog")})


def put(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def matched(folder: Path, *names: str) -> Matching:
    return match_predictions(folder, names, SEGMENTATION_SUFFIXES)


def told(found: Matching, folder: Path) -> dict[str, str]:
    return {name: path.relative_to(folder).as_posix() for name, path in found.files.items()}


@pytest.mark.parametrize("form", [form.name for form in FORMATS.values() if form.read and form.is_complete])
def test_every_format_that_can_be_read_is_found_and_read(form: str, tmp_path: Path) -> None:
    write(SEGMENTATION, output_paths(tmp_path / "street" / "a.b", form)[0])
    found = matched(tmp_path, "street/a.b")
    assert (found.missing, found.extra) == ((), ())
    assert reader_of(None)(found.files["street/a.b"]) == SEGMENTATION


def test_the_file_for_all_images_beside_them_is_no_prediction_too_many(tmp_path: Path) -> None:
    put(tmp_path, "a.png", "instances.json", "deep/instances.json")
    assert [path.parent.name for path in matched(tmp_path, "a").extra] == ["deep"]


def test_missing_and_extra_are_named(tmp_path: Path) -> None:
    put(tmp_path, "a.png", "deep/b.json", "old.tif", ".upseg-journal.jsonl", "notes.txt")
    found = matched(tmp_path, "c", "deep/b", "a")
    assert told(found, tmp_path) == {"deep/b": "deep/b.json", "a": "a.png"}
    assert found.missing == ("c",)
    assert found.extra == (tmp_path / "old.tif",)


def test_pictures_are_no_predictions_and_of_several_formats_one_is_read(tmp_path: Path) -> None:
    put(tmp_path, "a.png", "a.overlay.png", "a.geojson", "b.panoptic.json", "b.panoptic.png", "b.svg")
    found = matched(tmp_path, "a", "b")
    assert told(found, tmp_path) == {"a": "a.png", "b": "b.panoptic.json"}
    assert found.extra == ()


def test_the_suffix_of_the_image_may_be_kept(tmp_path: Path) -> None:
    put(tmp_path, "a.jpg.png", "b.png", "b.jpg.png", "c.jpg.png", "c.png.png")
    found = matched(tmp_path, "a", "b", "c")
    assert told(found, tmp_path) == {"a": "a.jpg.png", "b": "b.png"}
    assert found.missing == ("c",)  # which of the two is meant cannot be known
    assert [path.name for path in found.extra] == ["b.jpg.png", "c.jpg.png", "c.png.png"]


def test_folders_may_differ_where_the_last_part_of_the_name_is_one_of_a_kind(tmp_path: Path) -> None:
    put(tmp_path, "x/a.png", "x/b.png", "y/b.png", "x/c.jpg.png", "x/d.png")
    found = matched(tmp_path, "rgb/a", "rgb/b", "rgb/c", "one/d", "two/d")
    assert told(found, tmp_path) == {"rgb/a": "x/a.png", "rgb/c": "x/c.jpg.png"}
    assert found.missing == ("rgb/b", "one/d", "two/d")
    assert len(found.extra) == 3


def test_a_folder_without_fitting_predictions_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="should be a folder with predictions"):
        matched(tmp_path / "nowhere", "a")
    put(tmp_path, "notes.txt")
    with pytest.raises(DataError, match=r"should hold predictions \(\*\.png, .*none of its files is such"):
        matched(tmp_path, "a")
    put(tmp_path, "other.png")
    with pytest.raises(
        DataError, match=r"none of the 1 predictions in .* \(other\) is called like one of the 2 images"
    ):
        matched(tmp_path, "a", "b")
    put(tmp_path, "a.png", "a.PNG")
    with pytest.raises(DataError, match=r"holds both a\.PNG and a\.png"):
        matched(tmp_path, "a")


def test_depth_is_read_in_metres(tmp_path: Path) -> None:
    metres = np.array([[0.5, 2.0], [0.0, 4.25]], np.float32)
    write_map(tmp_path / "a.png", (metres * 1000).astype(np.int64))
    tifffile.imwrite(tmp_path / "b.tif", metres)
    tifffile.imwrite(tmp_path / "c.tiff", (metres * 1000).astype(np.uint16))
    np.save(tmp_path / "d.npy", metres.astype(np.float64))
    found = match_predictions(tmp_path, ["a", "b", "c", "d"], DEPTH_SUFFIXES)
    assert found.missing == ()
    for path in found.files.values():
        depth = reader_of(1000.0)(path)
        assert depth.dtype == np.float32
        assert np.array_equal(depth, metres)
    assert np.array_equal(read_depth(tmp_path / "c.tiff", 500.0), 2 * metres)


def test_depth_beside_segments_is_told_from_them(tmp_path: Path) -> None:
    depth = PredictedDepth(np.array([[0.5, 2.0, 0.0], [4.25, 3.0, 1.0]], np.float32), is_metric=True)
    for name in ("a.png", "a.overlay.png", "a.depth.png"):
        write(SEGMENTATION, tmp_path / name, image=np.zeros((2, 3, 3), np.float32), depth=depth)
    found = match_predictions(tmp_path, ["a"], DEPTH_SUFFIXES)
    assert told(found, tmp_path) == {"a": "a.depth.png"}
    assert found.extra == ()
    np.testing.assert_allclose(read_depth(found.files["a"]), depth.values)
    found = matched(tmp_path, "a")
    assert told(found, tmp_path) == {"a": "a.png"}
    assert found.extra == ()


def test_relative_disparity_is_no_depth_to_measure(tmp_path: Path) -> None:
    depth = PredictedDepth.relative(np.array([[0.5, 2.0]], np.float32))
    path = write_depth_png(depth, tmp_path / "a.depth.png")
    with pytest.raises(DataError, match=r"a.depth.png: .*relative disparity, which cannot be compared with metres"):
        read_depth(path)


def test_what_is_no_depth_is_named(tmp_path: Path) -> None:
    np.save(tmp_path / "cube.npy", np.zeros((2, 2, 3)))
    np.save(tmp_path / "text.npy", np.array([["a"]]))
    np.save(tmp_path / "object.npy", np.array([[{}]]), allow_pickle=True)
    put(tmp_path, "empty.npy", "empty.tif", "empty.png")
    for path in tmp_path.iterdir():
        with pytest.raises(DataError, match=path.name):
            read_depth(path)


def test_images_that_only_their_suffix_tells_apart_have_each_its_prediction(tmp_path: Path) -> None:
    put(tmp_path, "x.jpg.png", "x.png.png")
    assert told(matched(tmp_path, "x.jpg", "x.png"), tmp_path) == {"x.jpg": "x.jpg.png", "x.png": "x.png.png"}


def test_a_prediction_that_can_be_of_two_images_is_of_none_and_named(tmp_path: Path) -> None:
    put(tmp_path, "x.png", "y.png")
    found = matched(tmp_path, "x.jpg", "x.png", "y")
    assert told(found, tmp_path) == {"y": "y.png"}
    assert found.missing == ("x.jpg", "x.png")
    assert [path.name for path in found.extra] == ["x.png"]


def test_names_are_the_same_in_whatever_form_of_unicode(tmp_path: Path) -> None:
    put(tmp_path, "gru\u0308n.png")
    assert told(matched(tmp_path, "gr\u00fcn"), tmp_path) == {"gr\u00fcn": "gru\u0308n.png"}


def test_a_mask_of_0_and_255_is_no_prediction_unless_the_ground_truth_says_what_255_is(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 255]], np.uint8)).save(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"a\.png: its only value beside 0 is 255"):
        reader_of(None)(tmp_path / "a.png")
    assert len(reader_of(None, LabelValues(void=frozenset()))(tmp_path / "a.png")) == 1
    assert len(reader_of(None, LabelValues(void=frozenset({255})))(tmp_path / "a.png")) == 0
