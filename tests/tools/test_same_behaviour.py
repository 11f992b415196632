"""The comparison of two checkouts sees what changed, and nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from safetensors.torch import save_file

import upseg

_TOOLS = Path(__file__).parents[2] / "tools"


@pytest.fixture
def differences(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], dict[str, str]]:
    """Compares the folders `before` and `after`: the place of the difference by file."""
    monkeypatch.syspath_prepend(_TOOLS)
    from behaviour.differences import Side, compare

    def find() -> dict[str, str]:
        sides = [Side(tmp_path / name, tmp_path / f"checkout-{name}", tmp_path) for name in ("before", "after")]
        return {found.file: found.place for found in compare(*sides)[1]}

    return find


def _write(folder: Path, name: str, text: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text, encoding="utf-8")


def test_times_and_places_of_checkouts_are_no_difference(
    tmp_path: Path, differences: Callable[[], dict[str, str]]
) -> None:
    for side, seconds in (("before", 1.25), ("after", 30.0)):
        document = {"seconds": seconds, "location": f"{tmp_path}/checkout-{side}/src/upseg/nuclei"}
        _write(tmp_path / side, "01.out", json.dumps(document))
        _write(tmp_path / side, "02.out", f"1 image: 1 segmented, in {seconds:.1f} s; results in out\n")
        _write(tmp_path / side, "03.out", f"epoch 1/2: loss 4.49, {seconds:.1f} s\n")
        _write(tmp_path / side, "config.yaml", f"model:\n  class_path: upseg.{side}.task.EntityTask\n")
    assert differences() == {}


@pytest.mark.parametrize(
    ("name", "before", "after", "place"),
    [
        ("config.json", '{"a": {"old": 1, "b": 2}}', '{"a": {"new": 1, "b": 2}}', "a.old = 1 only before"),
        ("config.yaml", "class_path: upseg.a.Net", "class_path: upseg.a.Nets", "class_path"),
        ("metrics.csv", "step,loss\n0,4.5\n1,4.25\n", "step,loss\n0,4.5\n1,4.26\n", "line 3"),
        ("01.err", "failed: a.png\n", "failed: b.png\n", "line 1"),
        ("01.out", '{"seconds": 1.0, "segments": 3}', '{"seconds": 2.0, "segments": 4}', "segments: '3' -> '4'"),
        ("01.out", '{"a": 1, "b": 2}', '{"b": 2, "a": 1}', "the order of the names"),
        ("01.out", '{"a": 1}', '{"a":1}', "line 1"),
    ],
)
def test_a_change_in_a_text_is_named(
    tmp_path: Path, differences: Callable[[], dict[str, str]], name: str, before: str, after: str, place: str
) -> None:
    _write(tmp_path / "before", name, before)
    _write(tmp_path / "after", name, after)
    assert list(differences()) == [name]
    assert place in differences()[name]


def test_changed_pixels_weights_and_missing_files_are_named(
    tmp_path: Path, differences: Callable[[], dict[str, str]]
) -> None:
    for side, value in (("before", 7), ("after", 8)):
        _write(tmp_path / side, f"only-{side}.txt", "here")
        labels = np.full((4, 5), 7, np.uint8)
        labels[2, 3] = value
        Image.fromarray(labels).save(tmp_path / side / "labels.png")
        weights = {"head.weight": torch.tensor([1.0, float(value)]), "head.bias": torch.zeros(2)}
        save_file(weights, tmp_path / side / "model.safetensors")
        torch.save({"epoch": 1, "state_dict": weights}, tmp_path / side / "last.ckpt")
    found = differences()
    assert set(found) == {"only-before.txt", "only-after.txt", "labels.png", "model.safetensors", "last.ckpt"}
    assert found["only-before.txt"] == "only before"
    assert found["labels.png"] == "1 of 20 pixels, first (2, 3): 7 -> 8"
    assert found["model.safetensors"].startswith("head.weight: ")
    assert found["last.ckpt"].startswith("state_dict.head.weight: ")
    assert "bias" not in found["last.ckpt"]


def test_what_a_picture_says_beside_its_pixels_is_named(
    tmp_path: Path, differences: Callable[[], dict[str, str]]
) -> None:
    for side, detail in (("before", 0.5), ("after", 0.25)):
        (tmp_path / side).mkdir()
        written = PngInfo()
        written.add_text("upseg", json.dumps({"provenance": {"detail": detail}}))
        Image.fromarray(np.zeros((4, 5), np.uint8)).save(tmp_path / side / "labels.png", pnginfo=written)
    assert differences() == {"labels.png": "upseg.provenance.detail: '0.5' -> '0.25'"}


def test_checkpoints_of_one_content_are_the_same_whatever_their_file_was_called(
    tmp_path: Path, differences: Callable[[], dict[str, str]]
) -> None:
    for side in ("before", "after"):
        (tmp_path / side).mkdir()
        torch.save({"epoch": 1, "weight": torch.ones(3)}, tmp_path / side / f"{side}.partial")
        (tmp_path / side / f"{side}.partial").rename(tmp_path / side / "last.ckpt")
    assert differences() == {}


def _run_session(folder: Path, package: Path, commands: list[list[str]]) -> subprocess.CompletedProcess[str]:
    plan = {"package": str(package), "entry": "upseg.cli:main", "commands": commands}
    _write(folder, "commands.json", json.dumps(plan))
    command = [sys.executable, "-P", str(_TOOLS / "behaviour/session.py"), "commands.json"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


def test_a_session_keeps_what_each_command_says(tmp_path: Path) -> None:
    done = _run_session(tmp_path, Path(upseg.__file__).parent, [["--version"], ["segment", "nowhere.png"]])
    assert done.returncode == 0, done.stderr
    said = {path.name: path.read_text() for path in (tmp_path / "said").iterdir()}
    assert said["01.out"] == f"upseg {upseg.__version__}\n"
    assert (said["01.code"], said["02.code"]) == ("0\n", "2\n")
    assert said["02.err"] == "upseg: nowhere.png: no such file\n"


def test_a_session_refuses_sources_that_are_not_those_of_the_checkout(tmp_path: Path) -> None:
    done = _run_session(tmp_path, tmp_path / "other/src/upseg", [["--version"]])
    assert done.returncode == 97
    assert "not from" in done.stderr
    assert not (tmp_path / "said").exists()
