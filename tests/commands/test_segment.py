"""Options of `upseg segment` about what becomes of the segments, and standard input and output."""

import csv
import io
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tests.batch.segmenters import TEST_METHODS
from upseg.cli import main
from upseg.models import registry
from upseg.segmentation import Segmentation


@pytest.fixture
def command(monkeypatch, tmp_path, capfdbinary):
    for name, method in TEST_METHODS.items():
        monkeypatch.setitem(registry.METHODS, name, method)
    pixels = np.zeros((12, 20, 3), np.uint8)
    pixels[2:6, 3:9] = 255  # 24 pixels
    pixels[8:10, 12:15] = 255  # 6 pixels
    Image.fromarray(pixels).save(tmp_path / "a.png")
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object, model: str = "threshold") -> tuple[int, bytes, str]:
        monkeypatch.setattr(sys, "argv", ["upseg", "segment", "-m", model, "--device", "cpu", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        captured = capfdbinary.readouterr()
        return (end.value.code or 0), captured.out, captured.err.decode()

    return run


def give_input(monkeypatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


@pytest.mark.parametrize(
    ("options", "areas"),
    [
        ((), [210, 24, 6]),
        (("--min-area", 10), [210, 24]),
        (("--max-area", 100, "--min-area", 7), [24]),
        (("--clear-border",), [24, 6]),
    ],
)
def test_segments_can_be_left_out(command, tmp_path, options, areas) -> None:
    assert command("a.png", "-f", "npz", *options)[0] == 0
    assert [segment.area for segment in Segmentation.load(tmp_path / "upseg-out" / "a.npz")] == areas


def test_other_options_do_the_image_again(command) -> None:
    command("a.png", "-f", "npz")
    assert b"already done" in command("a.png", "-f", "npz")[1]
    assert b"segmented again" in command("a.png", "-f", "npz", "--min-area", 10)[1]


def test_measurements_and_a_summary(command, tmp_path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "summary.png")
    options = ("-f", "csv", "--pixel-size", "0.5um", "--clear-border")
    assert command("a.png", "summary.png", *options)[0] == 0
    out = tmp_path / "upseg-out"
    with (out / "a.csv").open() as file:
        assert [row["area_um2"] for row in csv.DictReader(file)] == ["6", "1.5"]
    assert (out / "summary.png.csv").exists()  # the summary of all has the shorter name
    with (out / "summary.csv").open() as file:
        assert {row["image"]: row["segments"] for row in csv.DictReader(file)} == {"a.png": "2", "summary.png": "0"}
    (out / "summary.csv").unlink()
    assert b"2 already done" in command("a.png", "summary.png", *options)[1]
    assert (out / "summary.csv").exists()


def test_levels_of_one_fit(command, tmp_path) -> None:
    assert command("a.png", "--levels", 3, model="dynaseg")[0] == 0
    names = sorted(path.name for path in (tmp_path / "upseg-out").glob("[!.]*"))
    assert names == ["a.levels.tif", "a.overlay.png", "a.png"]
    assert command("a.png", "--levels", 3, "-f", "hierarchy", "-o", "b", model="dynaseg")[0] == 0
    assert [path.name for path in (tmp_path / "b").glob("[!.]*")] == ["a.hierarchy.geojson"]


@pytest.mark.parametrize("options", [{"model": "threshold"}, {"model": "dynaseg", "more": ("--preset", "paper")}])
def test_methods_of_one_level_say_so_before_they_begin(command, tmp_path, options) -> None:
    code, _, err = command("a.png", "--levels", 3, *options.get("more", ()), model=options["model"])
    assert code == 2
    assert "finds one level only" in err
    assert not (tmp_path / "upseg-out").exists()


def test_verbose_says_what_is_done(command) -> None:
    _, _, err = command("a.png", "-f", "png", "-v")
    assert "INFO: a.png: 3 segments after" in err
    assert "INFO: a.png: writing upseg-out/a.png" in err
    assert command("a.png", "-f", "png", "--overwrite", "--seed", 2)[2] == ""


class TestPipes:
    def test_from_input_to_output(self, command, tmp_path, monkeypatch) -> None:
        give_input(monkeypatch, (tmp_path / "a.png").read_bytes())
        code, out, err = command("-", "-o", "-", "--min-area", 10)
        assert (code, err) == (0, "")
        (tmp_path / "b.png").write_bytes(out)
        assert [segment.area for segment in Segmentation.load(tmp_path / "b.png")] == [210, 24]
        assert not (tmp_path / "upseg-out").exists()

    def test_from_input_to_a_folder(self, command, tmp_path, monkeypatch) -> None:
        give_input(monkeypatch, (tmp_path / "a.png").read_bytes())
        assert command("-", "-f", "geojson")[0] == 0
        assert len(Segmentation.load(tmp_path / "upseg-out" / "stdin.geojson")) == 3

    def test_from_a_file_to_output(self, command) -> None:
        assert command("a.png", "-o", "-", "-f", "svg")[1].startswith(b"<svg ")

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("-", "a.png"), "there must be one image, got 2"),
            (("a.png", "-o", "-", "-f", "png", "-f", "svg"), "one format of one file, got png, svg"),
            (("a.png", "-o", "-", "-f", "panoptic"), "one format of one file"),
            (("-",), "upseg: standard input: this is not an image"),
        ],
    )
    def test_wrong_usage(self, command, monkeypatch, arguments, message) -> None:
        give_input(monkeypatch, b"no image at all")
        code, _, err = command(*arguments)
        assert code == 2
        assert message in err


def test_the_package_is_a_program() -> None:
    done = subprocess.run([sys.executable, "-m", "upseg", "--version"], capture_output=True, text=True)
    assert done.stdout.startswith("upseg ")


def test_snapshots_are_drawn_beside_the_results(command, tmp_path) -> None:
    options = ("--set", "steps=3", "--set", "clusters=6", "--set", "features=6", "--snapshots", 2, "-o", "out")
    code, out, _ = command("a.png", *options, model="dynaseg")
    assert code == 0
    assert b"a.snapshots.jpg" in out
    with Image.open(tmp_path / "out" / "a.snapshots.jpg") as strip:
        assert strip.width > 3 * 20
    assert (tmp_path / "out" / "a.png").exists()


def test_pictures_alone_leave_the_segments_out_and_what_a_method_does_not_draw_is_refused(command, tmp_path) -> None:
    options = ("--set", "steps=2", "--set", "clusters=6", "--set", "features=6", "-f", "snapshots", "-o", "out")
    assert command("a.png", *options, model="dynaseg")[0] == 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.snapshots.jpg"]
    code, _, error = command("a.png", "-f", "features", "-o", "other", model="dynaseg")
    assert code == 2
    assert "dynaseg is a model of dynaseg, whose pictures are snapshots, not features" in error
    code, _, error = command("a.png", "-f", "snapshots", "-o", "out", model="dynaseg")  # nothing is fitted
    assert code == 1
    assert "snapshots are of a fit, and steps is 0" in error
