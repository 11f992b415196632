"""Block by block the answer is that of the whole image in memory."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from upseg.errors import ModelError
from upseg.functional.resizing import resize_image
from upseg.images.rescaling import RescaledRegions
from upseg.methods.entity.extensions.cells import CellSegmenter, CellSettings, slides
from upseg.methods.entity.extensions.cells.network import CellMaps
from upseg.segmentation import Segmentation

BLOCK = 48


class Smooth(nn.Module):
    """Sees what is bright at each pixel and around it; counts how often it is asked, and may stop the program."""

    def __init__(self, stop_after: int | None = None) -> None:
        super().__init__()
        self.training, self.looks, self.stop_after = False, 0, stop_after

    def forward(self, images: torch.Tensor) -> CellMaps:
        if self.looks == self.stop_after:
            raise KeyboardInterrupt
        self.looks += 1
        grey = images.mean(1, keepdim=True)
        smooth = F.avg_pool2d(F.avg_pool2d(grey, 5, 1, 2, count_include_pad=False), 3, 1, 1)[:, 0]
        maps = (20 * (smooth - 0.4), 8 * (smooth - 0.9), 6 * (smooth - 0.7), torch.zeros_like(smooth))
        return CellMaps(*maps)


class Array:
    """An image in memory as one of which regions are read."""

    def __init__(self, image: np.ndarray) -> None:
        self.image, self.shape = image, image.shape[:2]

    def read(self, rows: slice, columns: slice) -> np.ndarray:
        return self.image[rows, columns]


def crowd(height: int = 190, width: int = 223, seed: int = 0) -> np.ndarray:
    """Spots, many of them touching."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    image = np.full((height, width), 0.1, np.float32)
    for _ in range(height * width // 130):
        r, c, radius = rng.uniform(0, height), rng.uniform(0, width), rng.uniform(3, 6)
        distance = np.hypot(rows - r, (columns - c) * rng.uniform(0.8, 1.2))
        image = np.maximum(image, np.clip(1.2 - distance / radius, 0, 1) * np.float32(rng.uniform(0.7, 1)))
    return np.repeat((image + rng.normal(0, 0.02, image.shape)).clip(0, 1).astype(np.float32)[..., None], 3, 2)


def settings(**values: object) -> CellSettings:
    given = {"diameter": 9.0, "canonical": 9.0, "tile": 96, "overlap": 32, "minimum_area": 0.1, "minimum_score": 0.6}
    return CellSettings(**{**given, **values})  # type: ignore[arg-type]


def in_blocks(image: np.ndarray, chosen: CellSettings, folder: Path, network: nn.Module | None = None) -> Segmentation:
    segmenter = CellSegmenter(chosen, network=network or Smooth())
    found = segmenter.segment_in_blocks(Array(image), folder, "key", 10**12)
    labels = np.concatenate([found.labels_at(rows) for rows in found.bands()])
    scores = dict(enumerate(found.scores.tolist(), start=1))
    result = Segmentation.from_labels(labels, scores=scores, provenance=found.provenance)
    assert np.array_equal(result.labels, labels)  # canonical already
    assert [s.area for s in result] == found.areas.tolist()
    assert [s.bbox[0] for s in result] == found.first_rows.tolist()
    assert [s.bbox[2] - 1 for s in result] == found.last_rows.tolist()
    return result


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch) -> None:
    monkeypatch.setattr("upseg.methods.entity.extensions.cells.segmenter.block_sizes", lambda *_: (BLOCK, 300))
    monkeypatch.setattr("upseg.segmentation.banded._BAND_PIXELS", 5000)
    monkeypatch.setattr(slides, "RIM", 4.0)  # blocks of 48 with rims of 36


@pytest.mark.parametrize("options", [{}, {"stretch": False}, {"tile": 512}, {"flips": True}, {"smoothing": 0.0}])
def test_it_is_the_answer_of_one_piece_to_the_last_bit(tmp_path, options) -> None:
    image = crowd()
    whole = CellSegmenter(settings(**options), network=Smooth()).segment(image)
    assert len(whole) > 100
    assert in_blocks(image, settings(**options), tmp_path / "work") == whole


@pytest.mark.parametrize("diameter", [6.0, 14.5])
def test_at_another_scale_it_differs_by_no_more_than_rounding(tmp_path, diameter, monkeypatch) -> None:
    image = crowd()
    whole = CellSegmenter(settings(diameter=diameter), network=Smooth()).segment(image)
    found = in_blocks(image, settings(diameter=diameter), tmp_path / "work")
    assert len(found) == len(whole) > 20
    assert (found.labels != whole.labels).mean() < 1e-3
    monkeypatch.setattr("upseg.methods.entity.extensions.cells.segmenter.block_sizes", lambda *_: (1000, 1000))
    assert in_blocks(image, settings(diameter=diameter), tmp_path / "one block") == found


def test_an_object_larger_than_the_rim_is_not_cut(tmp_path) -> None:
    image = np.full((190, 223, 3), 0.1, np.float32)
    image[20:160, 90:110] = 0.9
    image[30:40, 10:200] = 0.9
    whole = CellSegmenter(settings(prominence=0.9), network=Smooth()).segment(image)
    assert len(whole) == 1
    assert in_blocks(image, settings(prominence=0.9), tmp_path / "work") == whole


def test_what_was_stopped_goes_on_where_it_was(tmp_path) -> None:
    image, complete = crowd(), Smooth()
    expected = in_blocks(image, settings(), tmp_path / "complete", complete)
    for stop_after in (1, 2, 3):
        with pytest.raises(KeyboardInterrupt):
            in_blocks(image, settings(), tmp_path / "work", Smooth(stop_after))
    rest = Smooth()
    assert in_blocks(image, settings(), tmp_path / "work", rest) == expected
    assert rest.looks == complete.looks - 6
    again = Smooth()
    assert in_blocks(image, settings(), tmp_path / "work", again) == expected
    assert again.looks == 0


def test_another_image_in_the_same_folder_begins_anew(tmp_path) -> None:
    segmenter = CellSegmenter(settings(), network=Smooth())
    first = segmenter.segment_in_blocks(Array(crowd(seed=1)), tmp_path / "work", "first", 10**12)
    found = in_blocks(crowd(seed=2), settings(), tmp_path / "work")
    assert found == CellSegmenter(settings(), network=Smooth()).segment(crowd(seed=2))
    assert len(first) != len(found)


def test_tiles_that_no_block_needs_any_more_are_deleted(tmp_path) -> None:
    in_blocks(crowd(1200, 100), settings(), tmp_path / "work")
    grid = slides.grid_of((1200, 100), settings())
    assert 0 < len(list((tmp_path / "work").glob("tile-*"))) < len(grid)


def test_how_large_objects_are_is_found_in_parts_of_the_image(tmp_path) -> None:
    class Sized(Smooth):
        def forward(self, images: torch.Tensor) -> CellMaps:
            maps = super().forward(images)
            return CellMaps(maps.foreground, maps.border, maps.distance, torch.full_like(maps.size, np.log(0.9)))

    image = crowd()
    image[:100] = 0.1  # nothing is there
    found = in_blocks(image, settings(diameter="auto", largest=64), tmp_path / "work", Sized())
    assert found.provenance["diameter"] == 9  # 0.9 of it is near enough
    dark = in_blocks(np.zeros((200, 80, 3), np.float32), settings(diameter="auto"), tmp_path / "dark", Sized())
    assert (len(dark), dark.shape) == (0, (200, 80))


@pytest.mark.parametrize(
    ("image", "shape"),
    [(crowd(), (64, 50)), (crowd(), (190, 223)), (crowd(), (301, 340)), (crowd(40, 9000), (48, 10_999))],
)
def test_regions_at_another_size(image, shape) -> None:
    whole = resize_image(torch.from_numpy(image).permute(2, 0, 1)[None], shape)[0].permute(1, 2, 0).numpy()
    rescaled = RescaledRegions(Array(image), shape)
    every = rescaled.read(slice(0, shape[0]), slice(0, shape[1]))
    np.testing.assert_allclose(every, whole, atol=1e-6)
    for rows, columns in ((slice(3, 40), slice(40, 50)), (slice(shape[0] - 1, shape[0]), slice(0, 1))):
        assert np.array_equal(rescaled.read(rows, columns), every[rows, columns])


def test_blocks_grow_with_memory_and_too_little_is_refused() -> None:
    gigabyte = 10**9
    assert slides.block_sizes(100 * gigabyte, 18.0)[0] == 2048
    block, widest = slides.block_sizes(2 * gigabyte, 18.0)
    assert 512 <= block <= slides.block_sizes(4 * gigabyte, 18.0)[0]
    assert widest >= slides.RIM * 18
    with pytest.raises(ModelError, match=r"at least \d\.\d GB"):
        slides.block_sizes(gigabyte, 18.0)
