"""Several runs that share a folder of results do every image once."""

from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from upseg.batch.run import segment_files
from upseg.cli import app
from upseg.errors import UpsegError

SETTINGS = {"compare_by": "colour"}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(7):
        Image.new("RGB", (12, 9), (30 * number, 20, 200)).save(folder / f"{number}.png")
    Image.new("RGB", (12, 9)).save(folder / "0.bmp")  # so that both keep their whole names
    return folder


def test_every_image_is_done_by_one_of_the_shards(photos: Path, tmp_path: Path) -> None:
    output, seen = tmp_path / "out", []
    for part in (1, 2, 3):
        found = segment_files([photos], output, settings=SETTINGS, formats=("png", "csv"), shard=(part, 3))
        assert {result.status for result in found.results} == {"done"}
        seen.append([result.input.name for result in found.results])
    assert seen == [["0.bmp", "2.png", "5.png"], ["0.png", "3.png", "6.png"], ["1.png", "4.png"]]
    names = {path.name for path in output.glob("*.png")}
    assert names == {"0.bmp.png", "0.png.png", *(f"{number}.png" for number in range(1, 7))}
    assert len((output / "summary.2-of-3.csv").read_text().splitlines()) == 1 + 3
    whole = segment_files([photos], output, settings=SETTINGS, formats=("png",))
    assert [result.status for result in whole.results] == ["skipped"] * 8


@pytest.mark.parametrize("shard", [(0, 3), (4, 3), (1, 0)])
def test_there_is_no_such_shard(photos: Path, tmp_path: Path, shard: tuple[int, int]) -> None:
    with pytest.raises(UpsegError, match="a shard is i of n"):
        segment_files([photos], tmp_path / "out", shard=shard)


def test_the_command_line_says_how_shards_are_named(photos: Path, tmp_path: Path) -> None:
    found = CliRunner().invoke(app, ["segment", str(photos), "-o", str(tmp_path / "out"), "--shard", "3of10"])
    assert "--shard must be I/N" in str(found.exception)
