import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from tests.data.samples import Numbered
from upseg.data.dataset import Dataset
from upseg.data.depth_folder import DepthFolder, depth_file
from upseg.data.transforms import Augmentation
from upseg.errors import DataError
from upseg.formats.depth import write_depth_png
from upseg.predicted_depth import PredictedDepth
from upseg.segmentation import Category


class Named(Numbered):
    """Samples of `Numbered` with names in folders, and classes."""

    def __init__(self, count: int = 3, on_error: str = "raise") -> None:
        super().__init__("rooms/a", count, (), on_error)
        self._categories = (Category(1, "chair"),)


def write(folder: Path, name: str, values: np.ndarray, *, metric: bool = False) -> None:
    write_depth_png(PredictedDepth(values.astype(np.float32), metric), folder / f"{name}.png")


def slope(shape: tuple[int, int] = (12, 16)) -> np.ndarray:
    return np.linspace(0.25, 1, shape[0] * shape[1]).reshape(shape)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(3):
        write(tmp_path, f"rooms/a{number}", slope() / (number + 1))
    return tmp_path


def test_samples_get_their_depth_and_are_the_same_otherwise(folder: Path) -> None:
    whole = Named()
    dataset = DepthFolder(whole, folder)
    assert len(dataset) == 3
    assert list(dataset.names) == list(whole.names)
    assert dataset.categories == whole.categories
    for number, sample in enumerate(dataset):
        np.testing.assert_allclose(sample.depth, slope() / (number + 1), atol=1e-5)
        np.testing.assert_array_equal(sample.segment_map, whole[number].segment_map)
        np.testing.assert_array_equal(sample.image, whole[number].image)
        assert whole[number].depth is None


def test_depth_goes_through_transforms(folder: Path) -> None:
    sample = Augmentation((8, 8))(DepthFolder(Named(), folder)[0], seed=1)
    assert sample.depth is not None
    assert sample.depth.shape == (8, 8)


def test_millimetres_are_read_if_they_are_asked_for(tmp_path: Path) -> None:
    write(tmp_path, "rooms/a0", slope() * 10, metric=True)
    np.testing.assert_allclose(DepthFolder(Named(), tmp_path, "metric")[0].depth, slope() * 10, atol=6e-4)
    with pytest.raises(DataError, match=r"a0\.png: expected relative depth, but the file holds metric depth"):
        DepthFolder(Named(), tmp_path)[0]


def test_a_missing_file_is_an_error_unless_it_need_not_be_there(folder: Path) -> None:
    (folder / "rooms" / "a1.png").unlink()
    with pytest.raises(DataError, match=r"a1\.png: there is no such file with depth; .*rooms holds a0\.png, a2\.png"):
        DepthFolder(Named(), folder)[1]
    assert DepthFolder(Named(), folder, required=False)[1].depth is None
    with pytest.warns(UserWarning, match="skipped"):
        assert len(list(DepthFolder(Named(on_error="skip"), folder))) == 2


def test_broken_files_and_those_of_other_sizes_are_damaged_samples(folder: Path) -> None:
    write(folder, "rooms/a0", slope((6, 16)))
    (folder / "rooms" / "a1.png").write_bytes(b"no image")
    dataset = DepthFolder(Named(), folder)
    with pytest.raises(DataError, match=r"a0\.png: expected the depth of 12 x 16 pixels .*, got 6 x 16"):
        dataset[0]
    with pytest.raises(DataError, match=r"a1\.png"):
        dataset[1]


def test_the_folder_has_to_be_there(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    with pytest.raises(DataError, match=r"depth should be a folder with the depth of 3 samples.* holds images"):
        DepthFolder(Named(), tmp_path / "depth")


def test_it_can_be_sent_to_other_processes_and_images_can_wait(folder: Path) -> None:
    whole: Dataset = Named()
    whole.decode_images = False
    dataset = pickle.loads(pickle.dumps(DepthFolder(whole, str(folder))))
    assert dataset.decode_images is False
    assert dataset.subset(["rooms/a2"])[0].depth.shape == (12, 16)


@pytest.mark.parametrize("name", ["", "../a", "a/../../b", "/etc/a", "a\\b", "a/"])
def test_names_never_lead_out_of_the_folder(name: str) -> None:
    with pytest.raises(DataError, match=f"the sample name {json.dumps(name)}".replace("\\", ".").replace('"', "'")):
        depth_file(name)


def test_dots_in_names_are_no_suffix() -> None:
    assert str(depth_file("rooms/a.b")) == "rooms/a.b.png"
