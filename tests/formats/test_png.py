from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from tests.formats.strategies import labels_of, many_segments
from upseg.errors import FormatError
from upseg.formats import read, write
from upseg.functional.label_maps import label_checksum
from upseg.segmentation import Segmentation


@pytest.mark.parametrize(("count", "dtype"), [(255, np.uint8), (256, np.uint16), (65_535, np.uint16)])
def test_bits_by_number_of_segments(tmp_path, count, dtype):
    labels = many_segments(count)
    path = write(Segmentation.from_labels(labels), tmp_path / "a.png")
    with Image.open(path) as image:
        pixels = np.asarray(image)
    assert pixels.dtype == dtype
    np.testing.assert_array_equal(pixels, labels)


def test_more_than_16_bits_is_refused(tmp_path):
    with pytest.raises(FormatError, match=r"at most 65,535 segments, got 65,536; use tif, npz or coco"):
        write(Segmentation.from_labels(many_segments(65_536)), tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []


def test_facts_are_in_a_text_chunk(tmp_path):
    path = write(Segmentation.from_labels(labels_of("12"), scores={2: 0.25}), tmp_path / "a.png")
    with Image.open(path) as image:
        facts = json.loads(image.text["upseg"])
    assert facts.pop("checksum") == label_checksum(labels_of("12"))
    assert facts == {"upseg": 1, "segments": 2, "provenance": {}, "scores": [None, 0.25]}


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_grey_png_of_another_program(tmp_path, dtype):
    labels = labels_of("77.", "3.9").astype(dtype)
    Image.fromarray(labels).save(tmp_path / "a.png")
    again = read(tmp_path / "a.png")
    np.testing.assert_array_equal(again.labels, labels_of("11.", "2.3"))
    assert again == Segmentation.from_labels(labels)


def test_black_and_white_png(tmp_path):
    Image.fromarray(np.array([[True, False], [False, True]])).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read(tmp_path / "a.png").labels, [[1, 0], [0, 1]])


def test_palette_png_as_in_voc(tmp_path):
    image = Image.fromarray(np.array([[255, 15, 15], [2, 0, 255]], np.uint8))
    image.putpalette([value for i in range(256) for value in (i, 0, 255 - i)])
    image.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read(tmp_path / "a.png").labels, [[0, 1, 1], [2, 0, 0]])


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_several_channels_are_refused(tmp_path, mode):
    Image.new(mode, (3, 2), "red").save(tmp_path / "a.png")
    with pytest.raises(FormatError, match=r"a\.png: cannot be read as a label PNG: a label map has one number"):
        read(tmp_path / "a.png")


def test_metadata_of_another_map_are_refused(tmp_path):
    text = PngImagePlugin.PngInfo()
    text.add_itxt("upseg", '{"upseg":1,"segments":2,"provenance":{}}')
    for labels, message in (("13", "ids must be 0..2"), ("11", "segment 2, which has no pixel")):
        Image.fromarray(labels_of(labels).astype(np.uint8)).save(tmp_path / "a.png", pnginfo=text)
        with pytest.raises(FormatError, match=message):
            read(tmp_path / "a.png")


def test_a_jpeg_with_the_wrong_name_is_refused(tmp_path):
    Image.new("L", (3, 2)).save(tmp_path / "a.png", format="JPEG")
    with pytest.raises(FormatError, match=r"a\.png: cannot be read as a label PNG"):
        read(tmp_path / "a.png")
