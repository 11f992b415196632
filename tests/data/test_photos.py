"""Images without ground truth."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from upseg.data.photos import PhotoFolder
from upseg.errors import DataError


def test_every_image_below_the_folder_is_a_sample_without_segments(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    Image.fromarray(np.full((3, 5, 3), 51, np.uint8)).save(tmp_path / "a.png")
    Image.fromarray(np.zeros((4, 2, 3), np.uint8)).save(tmp_path / "b" / "c.jpg")
    dataset = PhotoFolder(tmp_path)
    assert list(dataset.names) == ["a", "b/c"]
    assert [sample.shape for sample in dataset] == [(3, 5), (4, 2)]
    assert (dataset[0].segments, dataset.categories) == ((), ())
    np.testing.assert_allclose(dataset[0].image, 0.2)


def test_damaged_images_and_empty_folders(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="should hold images"):
        PhotoFolder(tmp_path)
    (tmp_path / "a.png").write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"a\.png"):
        PhotoFolder(tmp_path)[0]
    with pytest.warns(UserWarning, match="skipped"):
        assert PhotoFolder(tmp_path, on_error="skip").read(0) is None
