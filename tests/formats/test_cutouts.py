import io
import zipfile

import numpy as np
import pytest
from PIL import Image

from tests.formats.strategies import labels_of
from upseg.errors import FormatError
from upseg.formats import write
from upseg.segmentation import Segmentation


def test_every_segment_is_a_transparent_png(tmp_path) -> None:
    segmentation = Segmentation.from_labels(labels_of("11.", "122"))
    image = np.random.default_rng(0).random((2, 3, 3)).astype(np.float32)
    with zipfile.ZipFile(write(segmentation, tmp_path / "a.cutouts.zip", image=image)) as archive:
        pictures = {name: np.asarray(Image.open(io.BytesIO(archive.read(name)))) for name in archive.namelist()}
    assert list(pictures) == ["1.png", "2.png"]
    np.testing.assert_array_equal(pictures["1.png"], segmentation.cutout(1, image))
    np.testing.assert_array_equal(pictures["2.png"], segmentation.cutout(2, image))
    with pytest.raises(FormatError, match="cutouts need the image"):
        segmentation.save(tmp_path / "b.cutouts.zip")


def test_a_path_that_ends_in_jpg_is_a_jpeg(tmp_path) -> None:
    segmentation = Segmentation.from_labels(np.ones((16, 16), int))
    path = write(segmentation, tmp_path / "a.overlay.jpg", image=np.zeros((16, 16, 3), np.float32))
    with Image.open(path) as picture:
        assert (picture.format, picture.size) == ("JPEG", (16, 16))
