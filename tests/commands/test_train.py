from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from tests.training.tiny import losses, recipe, write
from upseg.cli import main
from upseg.commands import train as command
from upseg.training.recipes import recipes


@pytest.fixture
def upseg_train(monkeypatch, capsys, tmp_path) -> Callable[..., tuple[int, str, str]]:
    """Runs `upseg train` in an empty folder and returns its exit code, standard output and standard error."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["upseg", "train", *arguments])
        with pytest.raises(SystemExit) as end:
            main()
        captured = capsys.readouterr()
        return end.value.code or 0, captured.out, captured.err

    return run


def test_one_command_trains_into_a_folder_called_like_the_recipe(upseg_train, tmp_path) -> None:
    write(tmp_path / "mine.yaml", recipe())
    code, out, err = upseg_train("--trust", "-c", "mine.yaml", "--trainer.max_epochs", "1", "--data.batch_size=8")
    assert (code, err) == (0, "")
    first, epoch, last = out.splitlines()
    assert first == "TinyTask, 117 parameters to train, 1 x cpu, precision 32-true -> runs/mine"
    assert epoch.startswith("epoch 1/1: train/loss ")
    assert last == "trained; checkpoints, pictures and numbers are in runs/mine"
    assert len(losses(tmp_path / "runs" / "mine")) == 2


def test_the_recipes_are_listed(upseg_train, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    code, out, _ = upseg_train("--list")
    assert code == 0
    assert all(name in out for name in recipes())


def test_all_settings_can_be_printed(upseg_train, tmp_path) -> None:
    write(tmp_path / "mine.yaml", recipe())
    code, out, _ = upseg_train("--trust", "-c", "mine.yaml", "--print_config")
    assert code == 0
    assert "accumulate_grad_batches: 1" in out
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "name a recipe with --config, or a run to go on with: --resume --output FOLDER"),
        (("--resume",), "name a recipe with --config, or a run to go on with: --resume --output FOLDER"),
        (("--resume", "-o", "nowhere"), "there is no training to resume in nowhere"),
        (("-c", "mine.yaml", "--resume"), "there is no training to resume in runs/mine"),
        (("-c", "nowhere.yaml"), "there is no file and no recipe 'nowhere.yaml'"),
        (("-c", "mine.yaml", "--trainer.max_epoch", "3"), "did you mean trainer.max_epochs?"),
        (("-c", "mine.yaml", "--trainer.max_epochs"), "max_epochs"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(upseg_train, tmp_path, arguments, message) -> None:
    write(tmp_path / "mine.yaml", recipe())
    code, out, err = upseg_train("--trust", *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("upseg: ")
    assert message in err
    assert err.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_without_the_extra_it_says_what_to_install(upseg_train, monkeypatch) -> None:
    found = command.find_spec
    monkeypatch.setattr(command, "find_spec", lambda name: None if name == "omegaconf" else found(name))
    assert upseg_train("-c", "x") == (2, "", 'upseg: training needs omegaconf: pip install "upseg[train]"\n')
