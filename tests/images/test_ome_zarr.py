import numpy as np
import pytest

from tests.images.zarr_files import write_ome_zarr, zarr
from upseg.batch.inputs import find_images
from upseg.errors import ImageError
from upseg.images.pixel_size import PixelSize
from upseg.images.reading import read_image
from upseg.images.regions import RgbRegions, noted_pixel_size, open_regions

RNG = np.random.default_rng(0)
STACK = RNG.integers(100, 900, (2, 3, 37, 41)).astype(np.uint16)  # z, c, y, x


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_regions_are_those_of_the_image_read_at_once(tmp_path, version) -> None:
    path = write_ome_zarr(tmp_path / "a.zarr", STACK, "zcyx", version=version)
    whole = read_image(path, page=1)
    np.testing.assert_allclose(whole, read_image(STACK[1].transpose(1, 2, 0)))
    rows, columns = slice(9, 33), slice(0, 20)
    np.testing.assert_array_equal(RgbRegions(open_regions(path, page=1)).read(rows, columns), whole[rows, columns])


def test_levels_channels_and_pixel_size(tmp_path) -> None:
    path = write_ome_zarr(tmp_path / "a.zarr", STACK, "zcyx", unit="micrometer", scale=0.25)
    regions = open_regions(path, channels=(2,), page=0)
    assert regions.levels == ((37, 41), (19, 21))
    assert regions.pixel_size == PixelSize(0.25, "um")
    assert noted_pixel_size(path) == PixelSize(0.25, "um")
    coarse = regions.read(slice(0, 19), slice(0, 21), level=1)
    np.testing.assert_array_equal(coarse.values[..., 0], STACK[0, 2, ::2, ::2])


def test_what_is_missing_is_said(tmp_path) -> None:
    path = write_ome_zarr(tmp_path / "a.zarr", STACK, "zcyx")
    with pytest.raises(ImageError, match=r"a\.zarr: this image holds 2 planes"):
        open_regions(path)
    with pytest.raises(ImageError, match="page 2 was asked for, but the image has only 0 to 1"):
        open_regions(path, page=2)
    with pytest.raises(ImageError, match=r"channels .7. were asked for"):
        RgbRegions(open_regions(path, channels=(7,), page=0))
    with pytest.raises(ImageError, match="over the limit of 100;"):
        read_image(path, page=0, max_pixels=100)
    (tmp_path / "empty.zarr").mkdir()
    with pytest.raises(ImageError, match="no image of OME-Zarr"):
        open_regions(tmp_path / "empty.zarr")


def test_an_image_in_a_series_of_images_is_found(tmp_path) -> None:
    zarr.open_group(str(tmp_path / "a.zarr"), mode="w", zarr_format=2)
    write_ome_zarr(tmp_path / "a.zarr" / "0", STACK[0, 0])
    assert open_regions(tmp_path / "a.zarr").levels[0] == (37, 41)


def test_folders_of_zarr_are_inputs_and_are_not_searched(tmp_path) -> None:
    write_ome_zarr(tmp_path / "in" / "a.zarr", STACK[0, 0])
    (tmp_path / "in" / "a.zarr" / "thumbnail.png").touch()
    for argument in (tmp_path / "in", tmp_path / "in" / "a.zarr", tmp_path / "in" / "*.zarr"):
        (found,) = find_images([argument], tmp_path / "out", lambda _: False)
        assert (found.path, str(found.key)) == (tmp_path / "in" / "a.zarr", "a")
