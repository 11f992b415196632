"""The same losses: after a kill, with several processes, and with batches put together from smaller ones."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.training.tiny import losses, recipe, rows, train, write
from upseg.training.cli import Training

ROOT = Path(__file__).parents[2]


def upseg_train(folder: Path, content: dict, *options: str) -> subprocess.CompletedProcess[str]:
    """`upseg train` in processes of its own."""
    configuration = write(folder.with_suffix(".yaml"), content)
    command = [sys.executable, "-m", "upseg.cli", "train", "--trust"]
    command += ["-c", str(configuration), "-o", str(folder), *options]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join((str(ROOT / "src"), str(ROOT))), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)


@pytest.mark.slow
def test_a_killed_training_goes_on_as_if_nothing_had_happened(tmp_path) -> None:
    train(tmp_path / "whole", recipe(noise=0.5))
    killed = upseg_train(tmp_path / "killed", recipe(noise=0.5, kill_at=6))
    assert killed.returncode == -signal.SIGKILL
    assert len(losses(tmp_path / "killed")) == 6  # two steps beyond the checkpoint of the first epoch
    train(tmp_path / "killed", recipe(noise=0.5), resume=True)
    for column in ("train/loss", "val/recall", "learning_rate"):
        assert rows(tmp_path / "killed", column) == rows(tmp_path / "whole", column)


def test_a_run_that_never_came_to_a_checkpoint_starts_anew(tmp_path, capsys) -> None:
    configuration = write(tmp_path / "recipe.yaml", recipe(stop_at=2))
    training = Training([configuration], [], output=tmp_path / "run", trust=True)
    with pytest.raises(KeyboardInterrupt):
        training.run()
    resumed = train(tmp_path / "run", recipe(), "--trainer.max_epochs=1", resume=True)
    assert resumed.checkpoint is None
    assert "from the beginning: there is no checkpoint yet" in capsys.readouterr().out
    assert [row[:2] for row in rows(tmp_path / "run", "train/loss")] == [(0, step) for step in range(4)]


def test_a_finished_training_can_be_made_longer_from_its_folder_alone(tmp_path, monkeypatch) -> None:
    from upseg.cli import main

    train(tmp_path / "whole", recipe(noise=0.5), "--trainer.max_epochs=2")
    train(tmp_path / "longer", recipe(noise=0.5), "--trainer.max_epochs=1")
    arguments = ["upseg", "train", "--resume", "--trust", "-o", str(tmp_path / "longer"), "--trainer.max_epochs", "2"]
    monkeypatch.setattr(sys, "argv", arguments)
    with pytest.raises(SystemExit) as end:
        main()
    assert not end.value.code
    assert rows(tmp_path / "longer", "train/loss") == rows(tmp_path / "whole", "train/loss")


def test_two_batches_accumulated_are_one_of_twice_the_size(tmp_path) -> None:
    content = recipe()
    train(tmp_path / "large", content, "--data.batch_size=8", "--trainer.max_epochs=2")
    train(tmp_path / "small", content, "--trainer.accumulate_grad_batches=2", "--trainer.max_epochs=2")
    # the table has the second half of each of the small batches' pairs: compare what was learned
    large, small = (rows(tmp_path / name, "val/recall") for name in ("large", "small"))
    assert [row[:2] for row in large] == [row[:2] for row in small]
    assert [value for *_, value in small] == pytest.approx([value for *_, value in large], rel=1e-5)


@pytest.mark.slow
def test_two_processes_learn_what_one_does_with_batches_of_twice_the_size(tmp_path) -> None:
    train(tmp_path / "one", recipe(), "--data.batch_size=8")
    done = upseg_train(tmp_path / "two", recipe(), "--trainer.devices=2", "--trainer.strategy=ddp")
    assert done.returncode == 0, done.stderr
    assert "2 x cpu" in done.stdout
    assert done.stdout.count("trained;") == 1
    for column in ("train/loss", "val/recall"):
        one, two = (rows(tmp_path / name, column) for name in ("one", "two"))
        assert [row[:2] for row in two] == [row[:2] for row in one]
        assert [value for *_, value in two] == pytest.approx([value for *_, value in one], rel=1e-5)
