from __future__ import annotations

import sys
import time
from collections.abc import Callable

import numpy as np
import pytest

from tests.training.tiny import losses, recipe, rows, write
from upseg.cli import main
from upseg.commands import options
from upseg.models.registry import load_model
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
    # on a machine that is slow enough the steps have lines too
    first, epoch, last = [line for line in out.splitlines() if not line.startswith("step ")]
    assert first == "TinyTask, 117 parameters to train, 1 x cpu, precision 32-true -> runs/mine"
    assert epoch.startswith("epoch 1/1: train/loss ")
    assert last == "trained; checkpoints, pictures and numbers are in runs/mine"
    assert len(losses(tmp_path / "runs" / "mine")) == 2


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore:.*num_workers:UserWarning")
def test_the_last_line_says_how_to_use_what_was_learned_and_it_works(upseg_train, tmp_path) -> None:
    small = {"backbone": "mobilenetv3_small_050", "channels": 8, "dimensions": 4, "size": None, "scales": [1.0]}
    content = recipe()
    content["model"] = {
        "class_path": "upseg.methods.entity.task.EntityTask",
        "init_args": {"pretrained": False, "settings": small, "contrast_queries": 8, "contrast_negatives": 8},
    }
    content["data"]["init_args"]["targets"] = {"class_path": "upseg.methods.entity.targets.EntityTargets"}
    content["optimization"] = {"learning_rate": 1e-3}
    write(tmp_path / "mine.yaml", content)
    code, out, err = upseg_train("-c", "mine.yaml", "--trainer.max_epochs", "1", "-o", "runs/my own")
    assert (code, err) == (0, "")
    assert out.splitlines()[-1] == "use it: upseg segment PHOTO --model 'runs/my own'"
    model = load_model(tmp_path / "runs" / "my own", device="cpu")
    assert model.segment(np.zeros((16, 20, 3), np.uint8)).shape == (16, 20)


def test_the_minutes_that_are_given_are_those_of_the_whole_command(upseg_train, tmp_path) -> None:
    write(tmp_path / "mine.yaml", recipe())
    began = time.monotonic()
    code, out, _ = upseg_train("--trust", "-c", "mine.yaml", "--trainer.max_epochs", "-1", "--minutes", "0.1")
    assert code == 0
    assert time.monotonic() - began < 30  # of an endless training; 6 on a machine that does nothing else
    assert out.splitlines()[-1] == "trained; checkpoints, pictures and numbers are in runs/mine"
    steps = [step for _, step, _ in rows(tmp_path / "runs" / "mine", "train/loss")]
    validated = [step for _, step, _ in rows(tmp_path / "runs" / "mine", "val/recall")]
    assert validated[-1] == steps[-1]  # also where the clock ended it inside an epoch
    assert upseg_train("--trust", "-c", "mine.yaml", "-o", "other", "--minutes", "0")[0] == 2


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
    found = options.find_spec
    monkeypatch.setattr(options, "find_spec", lambda name: None if name == "omegaconf" else found(name))
    assert upseg_train("-c", "x") == (2, "", 'upseg: training needs omegaconf: pip install "upseg[train]"\n')
