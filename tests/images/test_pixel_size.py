"""The size of pixels: as people say it, and as OME and ImageJ note it."""

import logging

import numpy as np
import pytest
import tifffile
from PIL import Image

from upseg.images.pixel_size import PixelSize, read_pixel_size

PIXELS = np.zeros((4, 5), np.uint8)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("0.32um", (0.32, "um")),
        (" 320 nm ", (320.0, "nm")),
        ("1e-3 Millimeter", (0.001, "mm")),
        ("0.5µm", (0.5, "um")),
        (2.0, (2.0, "um")),
        ({"length": 3, "unit": "km"}, (3.0, "km")),
    ],
)
def test_lengths_are_understood(value, expected) -> None:
    assert PixelSize.of(value) == PixelSize(*expected)


@pytest.mark.parametrize("value", ["", "um", "0um", "-1um", "1 inch", "nan", "1e999um"])
def test_what_is_no_length_is_refused(value) -> None:
    with pytest.raises(ValueError, match="a pixel's size must be"):
        PixelSize.of(value)


def test_ome(tmp_path) -> None:
    sizes = {"PhysicalSizeX": 320, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 320, "PhysicalSizeYUnit": "nm"}
    tifffile.imwrite(tmp_path / "a.ome.tif", PIXELS, metadata={"axes": "YX", **sizes})
    assert read_pixel_size(tmp_path / "a.ome.tif") == PixelSize(320.0, "nm")
    tifffile.imwrite(tmp_path / "b.ome.tif", PIXELS, metadata={"axes": "YX", "PhysicalSizeX": 0.5})
    assert read_pixel_size(tmp_path / "b.ome.tif") == PixelSize(0.5, "um")


@pytest.mark.parametrize("unit", ["micron", "um", "\\u00B5m"])
def test_imagej(tmp_path, unit) -> None:
    tifffile.imwrite(tmp_path / "a.tif", PIXELS, imagej=True, resolution=(4.0, 4.0), metadata={"unit": unit})
    assert read_pixel_size(tmp_path / "a.tif") == PixelSize(0.25, "um")


def test_nothing_is_known(tmp_path) -> None:
    tifffile.imwrite(tmp_path / "plain.tif", PIXELS, resolution=(72, 72), resolutionunit="INCH")
    tifffile.imwrite(tmp_path / "pixels.tif", PIXELS, imagej=True, resolution=(1.0, 1.0), metadata={"unit": "pixel"})
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    (tmp_path / "cut.tif").write_bytes((tmp_path / "plain.tif").read_bytes()[:30])
    for name in ("plain.tif", "pixels.tif", "a.png", "cut.tif", "none.tif"):
        assert read_pixel_size(tmp_path / name) is None


def test_pixels_that_are_not_square_are_named(tmp_path, caplog) -> None:
    tifffile.imwrite(tmp_path / "a.tif", PIXELS, imagej=True, resolution=(4.0, 2.0), metadata={"unit": "um"})
    with caplog.at_level(logging.WARNING, "upseg"):
        assert read_pixel_size(tmp_path / "a.tif") is None
    assert "not square (0.25 by 0.5 um)" in caplog.text
