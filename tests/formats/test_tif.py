from __future__ import annotations

import numpy as np
import pytest
import tifffile

from tests.formats.strategies import labels_of
from upseg.errors import FormatError
from upseg.formats import read, write
from upseg.segmentation import Segmentation


def test_page_is_32_bit_deflate(tmp_path):
    labels = labels_of("1122", "3.22")
    path = write(Segmentation.from_labels(labels), tmp_path / "a.tif")
    with tifffile.TiffFile(path) as file:
        (page,) = file.pages
        assert page.dtype == np.uint32
        assert page.compression == tifffile.COMPRESSION.ADOBE_DEFLATE
        assert not {"DateTime", "Software"} & {tag.name for tag in page.tags}
        np.testing.assert_array_equal(page.asarray(), labels)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.uint32, np.int32, np.uint64, bool])
def test_tiff_of_another_program(tmp_path, dtype):
    labels = labels_of("1.", ".1").astype(dtype)
    tifffile.imwrite(tmp_path / "a.tiff", labels, description="made elsewhere")
    again = read(tmp_path / "a.tiff")
    np.testing.assert_array_equal(again.labels, [[1, 0], [0, 1]])
    assert dict(again.provenance) == {}


def test_palette_tiff(tmp_path):
    colormap = np.zeros((3, 256), np.uint16)
    labels = labels_of("52", ".5").astype(np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", labels, photometric="palette", colormap=colormap)
    np.testing.assert_array_equal(read(tmp_path / "a.tif").labels, labels_of("12", ".1"))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.full((2, 3), 0.5, np.float32), "holds whole numbers"),
        (np.arange(18, dtype=np.uint8).reshape(2, 3, 3), "one number for each pixel"),
        (np.zeros((4, 20, 30), np.uint8), "is one page, this file has 4"),
    ],
)
def test_what_is_no_label_map(tmp_path, array, message):
    tifffile.imwrite(
        tmp_path / "a.tif", array, photometric="rgb" if array.shape[-1:] == (3,) and array.ndim == 3 else "minisblack"
    )
    with pytest.raises(FormatError, match=message):
        read(tmp_path / "a.tif")
