"""What is written band by band is what is written of the whole map."""

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile

from upseg import Segmentation
from upseg.errors import FormatError
from upseg.formats import read, write
from upseg.formats.banded import BANDED_FORMATS, write_banded
from upseg.images.pixel_size import PixelSize
from upseg.images.regions import noted_pixel_size
from upseg.segmentation.banded import BandedSegmentation, number_canonically

LABELS = np.kron(np.random.default_rng(0).integers(0, 60, (23, 31)), np.ones((5, 5), int)).astype(np.int32)
FACTS = {"method": "by hand", "pixel_size": PixelSize(0.25, "um").as_json()}


@pytest.fixture(autouse=True)
def small_bands(monkeypatch) -> None:
    monkeypatch.setattr("upseg.segmentation.banded._BAND_PIXELS", 9 * LABELS.shape[1])


@pytest.fixture
def banded() -> BandedSegmentation:
    scores = np.linspace(0, 1, 70)  # some numbers do not occur
    return number_canonically(LABELS.shape, lambda rows: LABELS[rows], len(scores), FACTS, scores)


@pytest.fixture
def whole() -> Segmentation:
    scores = dict(enumerate(np.linspace(0, 1, 70).tolist()))
    return Segmentation.from_labels(LABELS, scores=scores, provenance=FACTS)


def test_ids_are_canonical_and_facts_are_those_of_the_whole_map(banded, whole) -> None:
    assert np.array_equal(np.concatenate([banded.labels_at(rows) for rows in banded.bands()]), whole.labels)
    assert banded.areas.tolist() == [segment.area for segment in whole]
    assert banded.scores.tolist() == [segment.score for segment in whole]
    assert banded.first_rows.tolist() == [segment.bbox[0] for segment in whole]
    assert banded.last_rows.tolist() == [segment.bbox[2] - 1 for segment in whole]


@pytest.mark.parametrize("form", ["tif", "geojson"])
def test_files_are_read_back_as_the_whole_ones(tmp_path, banded, whole, form) -> None:
    path = write_banded(banded, tmp_path / f"a.{form}", form)
    assert read(path) == whole
    assert read(path).provenance == FACTS


@pytest.mark.parametrize("most", [0, 30 * LABELS.shape[1], 10**9])  # all, some and none are traced over all bands
def test_geojson_has_the_same_features(tmp_path, banded, whole, monkeypatch, most) -> None:
    monkeypatch.setattr("upseg.formats.banded._MOST_TRACED", most)
    ours, other = (
        json.loads(path.read_text())
        for path in (write_banded(banded, tmp_path / "a.geojson", "geojson"), write(whole, tmp_path / "b.geojson"))
    )
    assert ours["features"] == other["features"]


def test_tiff_is_big_and_in_tiles(tmp_path, banded) -> None:
    with tifffile.TiffFile(write_banded(banded, tmp_path / "a.tif", "tif")) as file:
        assert file.is_bigtiff
        assert file.pages.first.is_tiled


def test_ome_zarr_has_a_pyramid_scores_and_the_pixel_size(tmp_path, banded, whole, monkeypatch) -> None:
    zarr = pytest.importorskip("zarr", reason="OME-Zarr needs the extra `big`")
    monkeypatch.setattr("upseg.formats.banded._COARSEST", 50)
    monkeypatch.setattr("upseg.formats.banded._CHUNK", 16)
    path = tmp_path / "a.ome.zarr"
    for _ in range(2):  # the second replaces the first
        write_banded(banded, path, "ome-zarr")
    group = zarr.open_group(str(path), mode="r")
    for number, step in enumerate((1, 2, 4)):
        np.testing.assert_array_equal(group[str(number)][:], whole.labels[::step, ::step])
    assert group.attrs["image-label"]["properties"][3] == {"label-value": 4, "score": whole[4].score}
    assert group.attrs["multiscales"][0]["datasets"][2]["coordinateTransformations"][0]["scale"] == [1, 1]
    assert noted_pixel_size(path) == PixelSize(0.25, "um")
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.ome.zarr"]


@pytest.mark.parametrize("form", sorted(set(BANDED_FORMATS) - {"ome-zarr"}))
def test_no_segment_at_all(tmp_path, form) -> None:
    empty = number_canonically((30, 20), lambda rows: np.zeros((rows.stop - rows.start, 20), np.int32), 1, {})
    path = write_banded(empty, tmp_path / f"a.{form}", form)
    assert (len(read(path)), read(path).shape) == (0, (30, 20))


def test_other_formats_need_the_whole_map(tmp_path: Path, banded) -> None:
    with pytest.raises(FormatError, match="png needs the whole label map in memory"):
        write_banded(banded, tmp_path / "a.png", "png")
