"""`upseg segment --planes`: stacks plane by plane, objects through planes."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from typer.testing import CliRunner

from upseg.batch.run import segment_files
from upseg.cli import app
from upseg.errors import UpsegError
from upseg.formats import read


def balls() -> np.ndarray:
    """Two bright balls over five planes, the second in the last three only; (Z, Y, X) of 8 bits."""
    z, y, x = np.mgrid[:5, :40, :50]
    stack = np.full(z.shape, 20, np.uint8)
    stack[(x - 12) ** 2 + (y - 14) ** 2 + 4 * (z - 1) ** 2 < 90] = 220
    stack[((x - 36) ** 2 + (y - 25) ** 2 + 4 * (z - 4) ** 2 < 90) & (z > 1)] = 220
    return stack


class Bright:
    """Sees connected bright pixels."""

    def segment(self, image: np.ndarray):
        from upseg import Segmentation
        from upseg.functional.label_maps import connected_components

        return Segmentation.from_labels(connected_components((image[..., 0] > 0.5).astype(np.int32)))


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    tifffile.imwrite(tmp_path / "balls.tif", balls(), photometric="minisblack", metadata={"axes": "ZYX"})
    return tmp_path / "balls.tif"


@pytest.fixture(autouse=True)
def bright(monkeypatch) -> None:
    monkeypatch.setattr("upseg.models.registry.Model.load", lambda self, device: Bright())
    monkeypatch.setattr("upseg.models.methods.Method.reports_progress", False)


def test_objects_have_one_id_through_all_planes(stack: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    (result,) = segment_files([stack], output, formats=("tif", "tracks"), planes="all").results
    assert (result.status, result.segments) == ("done", 2)
    labels = tifffile.imread(output / "balls.tif")
    assert labels.dtype == np.uint32
    assert np.array_equal(labels > 0, balls() > 100)
    assert [np.unique(plane[plane > 0]).tolist() for plane in labels] == [[1], [1], [1, 2], [1, 2], [1, 2]][
        : len(labels)
    ]
    assert (output / "balls.tracks.txt").read_text() == "1 0 4 0\n2 2 4 0\n"
    assert segment_files([stack], output, formats=("tif", "tracks"), planes="all").results[0].status == "skipped"
    again = segment_files([stack], output, formats=("tif", "tracks"), planes="2-3").results[0]
    assert (again.status, tifffile.imread(output / "balls.tif").shape) == ("replaced", (2, 40, 50))


def test_the_maximum_of_all_planes_is_an_image_like_any_other(stack: Path, tmp_path: Path) -> None:
    (result,) = segment_files([stack], tmp_path / "out", formats=("png", "overlay"), planes="max-projection").results
    assert result.segments == 2
    found = read(tmp_path / "out" / "balls.png")
    assert np.array_equal(found.labels > 0, balls().max(0) > 100)
    assert found.provenance["planes"] == "max-projection"


def test_the_command_line_writes_the_stack_and_its_tracks(stack: Path, tmp_path: Path) -> None:
    given = ["segment", str(stack), "-o", str(tmp_path / "out"), "--planes", "all", "--link", "0.9", "-q"]
    assert CliRunner().invoke(app, given).exit_code == 0
    lines = (tmp_path / "out" / "balls.tracks.txt").read_text().splitlines()
    assert len(lines) > 2  # caps of a ball overlap less than that


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"planes": "some"}, "planes must be all"),
        ({"planes": "all", "formats": ("png",)}, "png holds one plane only"),
        ({"planes": "all", "formats": ("tracks",)}, "add tif"),
        ({"formats": ("tracks",)}, "tracks are of several planes"),
        ({"planes": "all", "memory": 10**10, "formats": ("tif",)}, "single planes"),
    ],
)
def test_what_makes_no_sense_is_refused(stack: Path, tmp_path: Path, options: dict, message: str) -> None:
    with pytest.raises(UpsegError, match=message):
        segment_files([stack], tmp_path / "out", **options)


def test_planes_that_are_not_there_are_named(stack: Path, tmp_path: Path) -> None:
    (result,) = segment_files([stack], tmp_path / "out", formats=("tif",), planes="3-5").results
    assert "planes 3-5 were asked for, but the file has only 0 to 4" in str(result.error)
