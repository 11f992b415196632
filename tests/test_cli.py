import json
import os
import pty
import resource
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import upseg
from tests.batch.segmenters import TEST_METHODS
from upseg.cli import main
from upseg.formats import FORMATS
from upseg.models import registry as models
from upseg.segmentation import Segmentation

ROOT = Path(__file__).parents[1]
ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join((str(ROOT / "src"), str(ROOT)))}
COMMAND = [sys.executable, "-m", "tests.batch.command_line"]


@pytest.fixture
def upseg_command(monkeypatch, capsys) -> Callable[..., tuple[int, str, str]]:
    """Runs a command in this process and returns its exit code, standard output and standard error."""
    for name, method in TEST_METHODS.items():
        monkeypatch.setitem(models.METHODS, name, method)

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["upseg", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        captured = capsys.readouterr()
        code = end.value.code
        return (code if isinstance(code, int) else 0), captured.out, captured.err

    return run


@pytest.fixture
def segment(upseg_command, tmp_path, monkeypatch) -> Callable[..., tuple[int, str, str]]:
    """`upseg segment` with the threshold method, in a folder with two images."""
    for number, name in enumerate(("a.png", "b.jpg")):
        pixels = np.random.default_rng(number).integers(0, 256, (6, 8, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: upseg_command("segment", "-m", "threshold", "--device", "cpu", *arguments)


def test_the_shortest_command_writes_a_label_map_and_a_picture(segment, tmp_path) -> None:
    code, out, err = segment("a.png")
    assert (code, err) == (0, "")
    assert sorted(path.name for path in (tmp_path / "upseg-out").glob("[!.]*")) == ["a.overlay.png", "a.png"]
    assert "a.png: " in out
    assert "-> upseg-out/a.png, upseg-out/a.overlay.png" in out
    assert "1 image: 1 segmented, in " in out
    assert "results in upseg-out" in out


def test_formats_are_written_at_once_and_overlay_is_added(segment, tmp_path) -> None:
    code, _, _ = segment("a.png", "b.jpg", "-o", "out", "--format", "coco", "-f", "npz", "--overlay")
    names = sorted(path.name for path in (tmp_path / "out").glob("[!.]*"))
    assert code == 0
    assert names == ["a.json", "a.npz", "a.overlay.png", "b.json", "b.npz", "b.overlay.png"]


def test_depth_comes_beside_the_other_files(segment, tmp_path) -> None:
    files = ["a.depth-picture.png", "a.depth.png", "a.overlay.png", "a.png"]
    assert segment("a.png", "-m", "deep", "--depth")[0] == 0
    assert sorted(path.name for path in (tmp_path / "upseg-out").glob("[!.]*")) == files
    assert "1 already done" in segment("a.png", "-m", "deep", "--depth")[1]
    assert segment("a.png", "-m", "deep", "--depth", "-f", "npz", "-o", "out")[0] == 0
    assert sorted(path.name for path in (tmp_path / "out").glob("[!.]*")) == [*files[:2], "a.npz"]


def test_a_second_run_says_what_it_skipped_and_what_it_replaced(segment) -> None:
    segment("a.png")
    assert "2 images: 1 segmented, 1 already done" in segment("a.png", "b.jpg")[1]
    assert "1 image: 1 segmented again (older results replaced)" in segment("a.png", "--seed", 3)[1]


def test_settings_reach_the_method(segment, tmp_path) -> None:
    options = ("--preset", "coarse", "--detail", "0.25", "--seed", "7", "--set", "connected=false")
    assert segment("a.png", "-o", "out", *options)[0] == 0
    result = Segmentation.load(tmp_path / "out" / "a.png")
    assert len(result) == 2
    assert result.provenance["seed"] == 7


def test_json_is_one_document_and_nothing_else(segment, tmp_path) -> None:
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    code, out, err = segment("a.png", "broken.png", "-f", "png", "--json")
    document = json.loads(out)
    assert code == 1
    assert document["counts"] == {"done": 1, "replaced": 0, "skipped": 0, "failed": 1}
    good, bad = document["images"]
    assert good["input"] == "a.png"
    assert good["outputs"] == ["upseg-out/a.png"]
    assert good["status"] == "done"
    assert good["segments"] == len(Segmentation.load(tmp_path / "upseg-out" / "a.png"))
    assert good["seconds"] >= 0
    assert good["error"] is None
    assert bad["status"] == "failed"
    assert bad["error"].startswith("broken.png: ")
    assert err == f"failed: {bad['error']}\n"


def test_failures_are_named_and_the_rest_is_done(segment, tmp_path) -> None:
    (tmp_path / "line\nbreak.png").write_text("no image")
    Image.new("RGB", (2, 2), (255, 0, 255)).save(tmp_path / "bug.png")
    code, out, err = segment(".", "missing.png", "--quiet")
    assert code == 1
    assert out == ""
    assert sorted(err.splitlines()) == [
        "failed: 'line\\nbreak.png': this is not an image that upseg reads (PNG, JPEG, WebP, BMP, TIFF or GIF)",
        "failed: bug.png: unexpected RuntimeError: a bug in the method",
        "failed: missing.png: no such file",
    ]
    assert (tmp_path / "upseg-out" / "b.png").exists()
    assert "Traceback" in segment(".", "--debug")[2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("missing.png",), "missing.png: no such file"),
        (("*.gif",), "no image matches this pattern"),
        (("empty",), "empty: no image in this folder"),
        (("a.png", "-m", "treshold"), "did you mean threshold"),
        (("a.png", "--set", "level=3"), "no setting 'level' (did you mean levels?); the settings are levels"),
        (("a.png", "--set", "levels=many"), "levels must be a whole number"),
        (("a.png", "--preset", "fine"), "the presets are default, coarse"),
        (("a.png", "-f", "gif"), "no format 'gif'; the formats are png, tif"),
        (("a.png", "--depth"), "the model threshold predicts no depth; take one that does"),
        (("a.png", "--channels", "0,1"), "one number, or three with commas"),
        (("a.png", "--channels", "red"), "one number, or three with commas"),
        (("a.png", "--device", "abacus"), "device 'abacus' cannot be used"),
        (("a.png", "-o", "."), "is an image to segment; write somewhere else"),
        (("a.png", "-o", "b.jpg/out"), "cannot write to the folder"),
        (("a.png", "--workers", "0"), "--workers"),
        ((), "paths"),
    ],
)
def test_wrong_usage_is_one_clear_message_and_exit_code_2(segment, tmp_path, arguments, message) -> None:
    (tmp_path / "empty").mkdir()
    code, out, err = segment(*arguments)
    assert code == 2
    assert out == ""
    assert message in err.replace("\n", " ").lower() or message in err
    assert "Traceback" not in err


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="a folder that not even root can write to")
def test_a_folder_that_cannot_be_written_is_one_clear_message(segment) -> None:
    code, _, err = segment("a.png", "-o", "/proc/out")
    assert code == 2
    assert err.startswith("upseg: cannot write to the folder /proc/out (")


def test_channels_page_and_limit_reach_the_reader(segment) -> None:
    assert segment("a.png", "--channels", "2,1,0", "--page", "0", "--max-pixels", "48")[0] == 0
    code, _, err = segment("a.png", "--channels", "9", "-o", "out")
    assert code == 1
    assert "only 0 to 2" in err
    assert "over the limit of 47" in segment("a.png", "--max-pixels", "47", "-o", "out")[2]


def test_overwrite_allows_to_replace_other_files(segment, tmp_path) -> None:
    (tmp_path / "upseg-out").mkdir()
    (tmp_path / "upseg-out" / "b.png").write_text("mine")
    code, _, err = segment("b.jpg")
    assert code == 1
    assert "(--overwrite)" in err
    assert segment("b.jpg", "--overwrite")[0] == 0


def test_models_are_listed_for_people_and_machines(upseg_command) -> None:
    code, out, _ = upseg_command("models")
    assert code == 0
    assert "dynaseg" in out
    rows = json.loads(upseg_command("models", "--json")[1])["models"]
    assert {"name": "dynaseg", "method": "dynaseg"}.items() <= rows[0].items()
    assert rows[0]["location"] == "built in (upseg.methods.dynaseg)"
    assert "learned" not in {row["name"] for row in rows}  # nothing without weights can be used by name


def test_the_version_is_that_of_the_package(upseg_command) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert upseg.__version__ == project["version"]
    assert upseg_command("--version") == (0, f"upseg {project['version']}\n", "")
    assert project["scripts"]["upseg"] == "upseg.cli:main"


@pytest.mark.parametrize("arguments", [("--help",), ("segment", "--help"), ("segment", "-h"), ("models", "-h")])
def test_help_is_there(upseg_command, arguments) -> None:
    code, out, _ = upseg_command(*arguments)
    assert code == 0
    assert "Usage" in out


def test_the_help_names_every_format(upseg_command, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    out = upseg_command("segment", "--help")[1]
    assert all(name in out for name in FORMATS)


def test_a_full_disk_is_named_and_leaves_no_half_files(tmp_path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (100, 100, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "large.png")
    Image.new("L", (9, 9)).save(tmp_path / "small.png")
    options = ("-o", str(tmp_path / "out"), "-m", "threshold", "--device", "cpu", "-f", "png")
    done = subprocess.run(
        [*COMMAND, "segment", str(tmp_path), *options],
        cwd=ROOT,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000)),
    )
    assert done.returncode == 1
    assert f"failed: {tmp_path / 'large.png'}: the result cannot be written to {tmp_path / 'out'} (" in done.stderr
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [".upseg-journal.jsonl", "small.png"]


def on_terminal(*arguments: str) -> str:
    """What a command prints on standard error if that is a terminal; standard output is none."""
    ours, theirs = pty.openpty()
    environment = ENVIRONMENT | {"TERM": "xterm", "COLUMNS": "120"}
    process = subprocess.Popen(
        [*COMMAND, *arguments], cwd=ROOT, env=environment, stdin=theirs, stdout=subprocess.DEVNULL, stderr=theirs
    )
    os.close(theirs)
    shown = b""
    try:
        while chunk := os.read(ours, 65536):
            shown += chunk
    except OSError:
        pass  # the other side is closed
    os.close(ours)
    assert process.wait() == 0, shown.decode()
    return shown.decode()


def test_progress_is_drawn_on_a_terminal_and_nowhere_else(tmp_path) -> None:
    for number in range(2):
        Image.new("L", (8, 8), number).save(tmp_path / f"{number}.png")
    common = ("segment", str(tmp_path), "-m", "threshold", "--device", "cpu", "--set", "delay=2.6")
    shown = on_terminal(*common, "-o", str(tmp_path / "out"))
    assert "images" in shown
    assert "1/2" in shown
    assert "s/image" in shown
    assert "this image" in shown  # after two seconds, with steps
    assert "3/4" in shown
    quiet = on_terminal(*common, "-o", str(tmp_path / "out2"), "--quiet", "--set", "delay=0")
    assert quiet == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ("compare", "{long}", "a.png"),
        ("split", "{long}", "-o", "o", "--model", "distance"),
        ("convert", "folder:{long}", "--to", "coco", "-o", "o"),
        ("data", "check", "folder", "{long}"),
        ("evaluate", "cells", "-p", ".", "-t", "folder:{long}"),
        ("export-model", "{long}", "o"),
        ("segment", "a.png", "-o", "o", "--model", "{long}"),
    ],
)
def test_a_name_that_no_file_can_have_is_said_in_one_line(arguments, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    Image.new("L", (8, 8), 1).save("a.png")
    long = 300 * "y"
    monkeypatch.setattr(sys, "argv", ["upseg", *(argument.format(long=long) for argument in arguments)])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 1
    assert told[0].startswith("upseg: ")
    assert long in told[0]
