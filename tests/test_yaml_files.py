from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from upseg.errors import UpsegError
from upseg.yaml_files import read_configuration

BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BOMB, "by its aliases"),
        ("a: " + "[" * 20_000, "nested more than 100 levels"),
        ("a: &a [*a]", "a part of"),
        ("[1, 2]", "must hold sections"),
        ("a: 2020-99-99", "cannot be read as YAML"),
        ("x" * (5 << 20), "more than 4,194,304 bytes"),
        ("a: !!python/object/apply:os.system [id]", "cannot be read as YAML"),
    ],
)
def test_hostile_files_get_one_line(text, message, tmp_path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UpsegError, match=message) as error:
        read_configuration(path)
    assert "\n" not in str(error.value)


def test_aliases_within_reason_are_read(tmp_path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("model: &m {a: [1, 2]}\ndata: *m\n", encoding="utf-8")
    assert read_configuration(path)["data"] == {"a": [1, 2]}


def test_a_pipe_does_not_hang(tmp_path) -> None:
    os.mkfifo(tmp_path / "recipe.yaml")
    with pytest.raises(UpsegError, match="not a regular file"):
        read_configuration(tmp_path / "recipe.yaml")


def test_a_bomb_takes_no_memory_in_the_command(tmp_path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(BOMB, encoding="utf-8")
    command = [sys.executable, "-m", "upseg.cli", "train", "-c", str(path), "-o", str(tmp_path / "run")]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1] / "src"), "OMP_NUM_THREADS": "1"}
    limits = lambda: resource.setrlimit(resource.RLIMIT_DATA, (2 << 30, 2 << 30))  # noqa: E731
    done = subprocess.run(command, env=environment, capture_output=True, text=True, preexec_fn=limits, timeout=120)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert "by its aliases" in done.stderr
