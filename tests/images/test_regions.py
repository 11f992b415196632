"""A region has the very values that it has in the image read at once."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from upseg.errors import ImageError
from upseg.images.pixel_size import PixelSize
from upseg.images.reading import read_image
from upseg.images.regions import RgbRegions, open_regions, sampled
from upseg.images.tiff_regions import TiffRegions

RNG = np.random.default_rng(0)
GREY = RNG.integers(100, 4000, (75, 91)).astype(np.uint16)
COLOUR = RNG.integers(0, 256, (75, 91, 3)).astype(np.uint8)
REGIONS = ((slice(0, 75), slice(0, 91)), (slice(13, 50), slice(31, 33)), (slice(74, 75), slice(90, 91)))

STORED: dict[str, tuple[np.ndarray, dict[str, Any]]] = {
    "tiles of colours": (COLOUR, {"tile": (16, 32), "compression": "zlib", "photometric": "rgb"}),
    "tiles with a predictor": (GREY, {"tile": (32, 16), "compression": "lzw", "predictor": 2}),
    "strips": (GREY, {"rowsperstrip": 7, "compression": "zlib"}),
    "as it is": (COLOUR, {"photometric": "rgb"}),
    "as it is, big-endian": (GREY, {"byteorder": ">"}),
    "planes of colours": (
        COLOUR.transpose(2, 0, 1),
        {"planarconfig": "separate", "tile": (16, 16), "photometric": "rgb", "compression": "zlib"},
    ),
    "white is zero": (COLOUR[..., 0], {"photometric": "miniswhite", "tile": (16, 16)}),
    "opacity": (
        np.dstack((COLOUR, COLOUR[..., 1])),
        {"photometric": "rgb", "extrasamples": ["unassalpha"], "tile": (16, 16)},
    ),
    "floats": (GREY.astype(np.float32) - 900, {"tile": (16, 16), "compression": "zlib"}),
}


def write(path: Path, image: np.ndarray, **options: Any) -> Path:
    with tifffile.TiffWriter(path, byteorder=options.pop("byteorder", None)) as file:
        file.write(image, **options)
    return path


@pytest.mark.parametrize("normalize", ["auto", "none", "minmax", "3,97"])
@pytest.mark.parametrize("kind", STORED)
def test_regions_of_every_kind_of_storage(tmp_path, kind, normalize, monkeypatch) -> None:
    monkeypatch.setattr("upseg.images.regions._BLOCK", 40)
    monkeypatch.setattr("upseg.images.normalization._MOST_SAMPLED", 1000)  # every third row and column
    image, options = STORED[kind]
    path = write(tmp_path / "a.tif", image, **options)
    whole = read_image(path, normalize=normalize)
    regions = RgbRegions(open_regions(path), normalize)
    for rows, columns in REGIONS:
        np.testing.assert_array_equal(regions.read(rows, columns), whole[rows, columns])
    np.testing.assert_array_equal(sampled(regions, 7), whole[::7, ::7])


@pytest.mark.parametrize(
    "options", [{"imagej": True, "metadata": {"axes": "ZYX"}}, {"tile": (16, 16), "photometric": "minisblack"}]
)
def test_planes_and_channels(tmp_path, options) -> None:
    stack = RNG.integers(0, 60000, (4, 75, 91)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", stack, **options)
    read = RgbRegions(open_regions(tmp_path / "a.tif", page=2)).read(slice(5, 30), slice(7, 90))
    np.testing.assert_array_equal(read, read_image(tmp_path / "a.tif", page=2)[5:30, 7:90])
    chosen = RgbRegions(open_regions(tmp_path / "a.tif", channels=(3, 0, 1)))
    whole = read_image(tmp_path / "a.tif", channels=(3, 0, 1))
    np.testing.assert_array_equal(chosen.read(slice(5, 30), slice(7, 90)), whole[5:30, 7:90])
    with pytest.raises(ImageError, match="holds 4 planes"):
        open_regions(tmp_path / "a.tif")


def test_levels_of_a_pyramid_and_the_pixel_size(tmp_path) -> None:
    metadata = {"axes": "YXS", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}
    with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=True) as file:
        file.write(COLOUR, subifds=2, tile=(16, 16), photometric="rgb", metadata=metadata)
        for factor in (2, 4):
            file.write(COLOUR[::factor, ::factor], subfiletype=1, tile=(16, 16), photometric="rgb")
    regions = open_regions(tmp_path / "a.ome.tif")
    assert regions.levels == ((75, 91), (38, 46), (19, 23))
    assert regions.pixel_size == PixelSize(0.5, "um")
    assert regions.chunk == (16, 16)
    level = regions.read(slice(3, 19), slice(0, 20), level=2).values
    np.testing.assert_array_equal(level, COLOUR[::4, ::4][3:19, :20])


def test_a_slide_as_aperio_writes_it(tmp_path) -> None:
    smooth = np.repeat(np.repeat(COLOUR[:40, :40], 8, 0), 8, 1)
    text = "Aperio Image Library v1\n320x320 [0,0 320x320] (64x64) JPEG/RGB Q=90|AppMag = 20|MPP = 0.4990"
    options = {"photometric": "rgb", "tile": (64, 64), "compression": "jpeg", "compressionargs": {"level": 95}}
    with tifffile.TiffWriter(tmp_path / "a.svs") as file:
        file.write(smooth, description=text, metadata=None, **options)
        file.write(smooth[::4, ::4], metadata=None, **options)
    regions = open_regions(tmp_path / "a.svs")
    assert regions.pixel_size == PixelSize(0.499, "um")
    found = RgbRegions(regions).read(slice(100, 230), slice(7, 300))
    assert np.abs(found - smooth[100:230, 7:300] / 255).mean() < 0.05


def test_only_the_tiles_of_a_region_are_decoded_and_few_are_kept(tmp_path, monkeypatch) -> None:
    path = write(tmp_path / "a.tif", COLOUR, tile=(16, 16), compression="zlib", photometric="rgb")
    regions = TiffRegions(path)
    regions.read(slice(0, 17), slice(0, 16))
    assert [number for _, number in regions._kept] == [0, 6]
    monkeypatch.setattr("upseg.images.tiff_regions._MOST_KEPT", 3 * 16 * 16 * 3)
    regions.read(slice(0, 75), slice(0, 91))
    assert [number for _, number in regions._kept] == [27, 28, 29]


def test_what_has_no_regions_is_refused(tmp_path) -> None:
    tifffile.imwrite(tmp_path / "turned.tif", COLOUR, photometric="rgb", extratags=[(274, "H", 1, 6, True)])
    with pytest.raises(ImageError, match=r"turned\.tif: the image is not stored upright"):
        open_regions(tmp_path / "turned.tif")
    tifffile.imwrite(tmp_path / "palette.tif", COLOUR[..., 0], photometric="palette", colormap=np.zeros((3, 256), "u2"))
    with pytest.raises(ImageError, match="colours of the kind PALETTE"):
        open_regions(tmp_path / "palette.tif")
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(ImageError, match="OME-Zarr and TIFF"):
        open_regions(tmp_path / "a.png")
    with pytest.raises(ImageError, match=r"none\.tif: cannot be read"):
        open_regions(tmp_path / "none.tif")
    with pytest.raises(ImageError, match="not an image"):
        open_regions(tmp_path)


def test_floats_that_are_no_numbers_are_refused(tmp_path) -> None:
    image = GREY.astype(np.float32)
    image[70, 3] = np.nan
    path = write(tmp_path / "a.tif", image, tile=(16, 16))
    with pytest.raises(ImageError, match="not a number"):
        RgbRegions(open_regions(path)).read(slice(0, 5), slice(0, 5))
