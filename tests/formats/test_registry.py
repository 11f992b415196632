"""Choosing a format by name or suffix; broken files; files that appear whole or not at all."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.formats.strategies import labels_of
from upseg.errors import FormatError
from upseg.formats import FORMATS, formats_that_need, output_paths, read, write
from upseg.hierarchy import Hierarchy, MergeTree
from upseg.predicted_depth import PredictedDepth
from upseg.segmentation import Category, Segmentation

READABLE = sorted(name for name, form in FORMATS.items() if form.read)
SEGMENTATION = Segmentation.from_labels(
    labels_of("1122.", "1322.", "11224"), scores={1: 0.5}, categories={2: Category(7, "cat")}, parents={3: 1}
)
IMAGE = np.zeros((3, 5, 3), np.float32)
TREE = MergeTree(2, np.array([[0, 1]]), np.array([0.5]))
WITH_LEVELS = Segmentation.from_hierarchy(Hierarchy(labels_of("11122", "11122", "11122"), TREE, 1.0), 1.0)
DEPTH = PredictedDepth(np.ones((3, 5), np.float32), is_metric=True)


def assert_about(error, *paths):
    """The message names one of the files, and is not that of a failed type check of our own."""
    assert any(str(path) in str(error) for path in paths)
    assert "Type-check" not in str(error)


def test_table_of_formats():
    assert {name: form.suffix for name, form in FORMATS.items()} == {
        "png": ".png",
        "tif": ".tif",
        "coco": ".json",
        "panoptic": ".panoptic.json",
        "geojson": ".geojson",
        "labelme": ".labelme.json",
        "imagej": ".roi.zip",
        "svg": ".svg",
        "npz": ".npz",
        "overlay": ".overlay.png",
        "overlay-jpg": ".overlay.jpg",
        "csv": ".csv",
        "cutouts": ".cutouts.zip",
        "levels": ".levels.tif",
        "hierarchy": ".hierarchy.geojson",
        "hierarchy-coco": ".hierarchy.json",
        "depth": ".depth.png",
    }
    assert all(form.name == name and form.description for name, form in FORMATS.items())


@pytest.mark.parametrize(
    ("file_name", "beginning"),
    [
        ("a.png", b"\x89PNG"),
        ("a.b.PNG", b"\x89PNG"),
        ("a.tiff", b"II*\0"),
        ("a.json", b'{"info"'),
        ("a.panoptic.json", b'{"info"'),
        ("a.geojson", b'{"type":"FeatureCollection"'),
        ("a.svg", b"<svg "),
        ("a.npz", b"PK"),
        (".json", b'{"info"'),
    ],
)
def test_suffix_chooses_the_format(tmp_path, file_name, beginning):
    path = SEGMENTATION.save(tmp_path / file_name)
    assert path == tmp_path / file_name
    assert path.read_bytes().startswith(beginning)
    assert Segmentation.load(path) == SEGMENTATION


def test_format_can_be_named(tmp_path):
    path = write(SEGMENTATION, tmp_path / "labels.dat", format="tif")
    assert path.read_bytes().startswith(b"II*\0")
    assert read(path, format="tif") == SEGMENTATION


def test_either_file_of_a_panoptic_pair_can_be_named(tmp_path):
    assert write(SEGMENTATION, tmp_path / "a.panoptic.png") == tmp_path / "a.panoptic.json"
    assert read(tmp_path / "a.panoptic.png") == read(tmp_path / "a.panoptic.json") == SEGMENTATION


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_output_paths_are_the_files_made(tmp_path, name):
    expected = output_paths(tmp_path / "deep" / "photo.v1", name)
    assert write(WITH_LEVELS, expected[0], image=IMAGE, depth=DEPTH, levels=2) == expected[0]
    assert sorted(expected) == sorted((tmp_path / "deep").iterdir())
    assert expected[0].name == "photo.v1" + FORMATS[name].suffix


def test_unknown_suffix_and_unknown_name(tmp_path):
    with pytest.raises(FormatError, match=r"result\.xyz: the name must end in one of .*\.geojson"):
        write(SEGMENTATION, tmp_path / "result.xyz")
    with pytest.raises(FormatError, match="there is no format 'jpeg'; the formats are png, tif"):
        read(tmp_path / "result.png", format="jpeg")
    with pytest.raises(FormatError, match="there is no format 'jpeg'"):
        output_paths(tmp_path / "result", "jpeg")


def test_formats_say_what_they_need_beside_the_segments():
    assert formats_that_need("image", FORMATS) == ["overlay", "overlay-jpg", "csv", "cutouts"]
    assert formats_that_need("levels", FORMATS) == ["levels", "hierarchy", "hierarchy-coco"]
    assert formats_that_need("depth", ["depth", "png", "jpeg"]) == ["depth"]


def test_overlay_needs_the_image_and_cannot_be_read(tmp_path):
    path = tmp_path / "a.overlay.png"
    with pytest.raises(FormatError, match="needs the image"):
        SEGMENTATION.save(path)
    write(SEGMENTATION, path, image=IMAGE, depth=DEPTH)
    with pytest.raises(FormatError, match="cannot be had back from the format overlay"):
        read(path)


def test_a_map_without_pixels_is_refused(tmp_path):
    with pytest.raises(FormatError, match="nothing to write"):
        write(Segmentation(np.zeros((0, 3), np.int32), ()), tmp_path / "a.png")


@pytest.mark.parametrize("name", READABLE)
def test_missing_file(tmp_path, name):
    path = output_paths(tmp_path / "nothing", name)[0]
    with pytest.raises(FormatError, match="no such file") as caught:
        read(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("name", READABLE)
@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.7])
def test_truncated_file(tmp_path, name, share):
    for path in output_paths(tmp_path / "result", name):
        write(SEGMENTATION, output_paths(tmp_path / "result", name)[0])
        content = path.read_bytes()
        path.write_bytes(content[: int(share * len(content))])
        with pytest.raises(FormatError) as caught:
            read(path)
        assert_about(caught.value, path)


@pytest.mark.parametrize("name", READABLE)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_byte_gives_one_clear_error_or_a_valid_result(tmp_path, name, data):
    paths = output_paths(tmp_path / "result", name)
    write(SEGMENTATION, paths[0])
    damaged = data.draw(st.sampled_from(paths))
    content = bytearray(damaged.read_bytes())
    position = data.draw(st.integers(0, len(content) - 1))
    content[position] = data.draw(st.integers(0, 255))
    damaged.write_bytes(content)
    try:
        assert isinstance(read(paths[0]), Segmentation)
    except FormatError as error:
        assert_about(error, damaged, paths[0])


@pytest.mark.parametrize("name", READABLE)
@pytest.mark.parametrize("content", [b"", b"\0" * 100, b"[]", b"{}", b"null", b"<svg></svg>", b"not a result file"])
def test_other_content(tmp_path, name, content):
    path = output_paths(tmp_path / "result", name)[0]
    path.write_bytes(content)
    with pytest.raises(FormatError) as caught:
        read(path)
    assert_about(caught.value, path)


@pytest.mark.parametrize("name", sorted(FORMATS))
@pytest.mark.parametrize("interruption", [RuntimeError, KeyboardInterrupt])
def test_an_interrupted_write_leaves_no_trace(tmp_path, name, interruption, monkeypatch):
    paths = output_paths(tmp_path / "out" / "result", name)
    write(WITH_LEVELS, paths[0], image=IMAGE, depth=DEPTH)
    before = [path.read_bytes() for path in paths]
    other = replace(Segmentation.from_labels(labels_of("1.12.", ".1122", "11224")), hierarchy=WITH_LEVELS.hierarchy)

    def interrupt(file_descriptor: int) -> None:
        raise interruption

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(interruption):
        write(other, paths[0], image=IMAGE, depth=DEPTH)
    assert [path.read_bytes() for path in paths] == before
    fresh = output_paths(tmp_path / "new" / "result", name)
    with pytest.raises(interruption):
        write(other, fresh[0], image=IMAGE, depth=DEPTH)
    assert sorted((tmp_path / "out").iterdir()) == sorted(paths)
    assert list((tmp_path / "new").iterdir()) == []


def test_a_file_of_cellpose_is_refused_with_the_reason(tmp_path):
    np.save(tmp_path / "a_seg.npy", {"masks": np.zeros((2, 2))}, allow_pickle=True)
    with pytest.raises(FormatError, match="pickles, which can run code"):
        Segmentation.load(tmp_path / "a_seg.npy")
