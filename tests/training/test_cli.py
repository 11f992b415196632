from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from PIL import Image

from tests.training.tiny import TinyTask, losses, recipe, rows, train, write
from upseg.data.shapes import CATEGORIES
from upseg.errors import DataError, UpsegError
from upseg.training.cli import Training, _last_line

SCENES = "upseg.data.shapes.ShapeScenes"


def opened(folder: Path, content: dict[str, Any], *options: str, resume: bool = False) -> Training:
    return Training([write(folder / "recipe.yaml", content)], options, output=folder / "run", resume=resume, trust=True)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """The folder of a run of three epochs."""
    folder = tmp_path_factory.mktemp("training") / "run"
    train(folder, recipe())
    return folder


def test_a_run_leaves_checkpoints_pictures_numbers_and_its_configuration(run) -> None:
    assert {path.name for path in (run / "checkpoints").iterdir()} == {"last.ckpt", "best.ckpt"}
    assert [path.name for path in sorted((run / "pictures").iterdir())] == [f"epoch-{n:04d}-0-00.png" for n in range(3)]
    with Image.open(run / "pictures" / "epoch-0000-0-00.png") as picture:
        assert picture.size == (20, 16)
    assert len([path for path in run.iterdir() if path.name.startswith("events.out.tfevents.")]) == 1
    assert {path.name for path in run.iterdir() if not path.name.startswith("events.")} == {
        "checkpoints",
        "pictures",
        "config.yaml",
        "metrics.csv",
    }


def test_the_table_has_the_loss_of_each_step_and_the_scores_of_each_validation(run) -> None:
    assert [row[:2] for row in rows(run, "train/loss")] == [(step // 4, step) for step in range(12)]
    assert [row[:2] for row in rows(run, "val/recall")] == [(0, 3), (1, 7), (2, 11)]
    assert {value for *_, value in rows(run, "learning_rate")} == {0.05}
    assert losses(run)[-1] < losses(run)[0]


def test_tensorboard_has_the_same_numbers_and_the_pictures(run) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run))
    events.Reload()
    assert [event.value for event in events.Scalars("train/loss")] == pytest.approx(losses(run), rel=1e-6)
    assert [image.step for image in events.Images("validation/0-00")] == [4, 8, 12]


def test_the_saved_configuration_has_every_value_and_repeats_the_run(run, tmp_path) -> None:
    saved = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
    assert saved["model"]["init_args"] == {"width": 4, "noise": 0.0, "kill_at": None, "stop_at": None}
    assert saved["data"]["init_args"]["transform"]["init_args"]["colour"] == 0.4
    assert saved["trainer"]["max_epochs"] == 3
    assert saved["seed_everything"] == 5
    train(tmp_path / "again", {**saved, "output": str(tmp_path / "again")})
    assert losses(tmp_path / "again") == losses(run)


def test_another_seed_is_another_training(run, tmp_path) -> None:
    training = opened(tmp_path, recipe(), "--seed_everything", "6")
    assert training.datamodule.seed == 6
    first = next(iter(training.datamodule.train_dataloader()))
    other = opened(tmp_path, recipe())
    assert other.datamodule.seed == 5
    assert not torch.equal(first.images, next(iter(other.datamodule.train_dataloader())).images)
    assert not torch.equal(training.model.layers[0].weight, other.model.layers[0].weight)


def test_options_win_over_the_recipe_and_later_recipes_over_earlier(tmp_path) -> None:
    second = write(tmp_path / "second.yaml", {"trainer": {"max_epochs": 7, "min_epochs": 2}})
    first = write(tmp_path / "first.yaml", recipe())
    training = Training(
        [first, second], ["--trainer.max_epochs=9", "--model.width", "3"], output=tmp_path / "run", trust=True
    )
    assert (training.trainer.max_epochs, training.trainer.min_epochs) == (9, 2)
    assert training.model.layers[0].out_channels == 3


def data_from(place: str, **options: Any) -> dict[str, Any]:
    content = recipe()
    dataset: dict[str, Any] = {
        "class_path": "upseg.data.sources.open_dataset",
        "init_args": {"source": "folder", "path": place, "split": "train"},
    }
    if options:
        dataset["dict_kwargs"] = options
    content["data"]["init_args"]["train"] = [{"dataset": dataset, "weight": 2}]
    return content


@pytest.fixture
def folder_of_images(tmp_path) -> Path:
    for kind in ("images", "labels"):
        (tmp_path / "mine" / "train" / kind).mkdir(parents=True)
        Image.new("L", (20, 16), 3).save(tmp_path / "mine" / "train" / kind / "a.png")
    return tmp_path / "mine"


def test_the_place_of_the_data_is_one_option(tmp_path, folder_of_images) -> None:
    training = opened(tmp_path, data_from("${data_root}"), "--data_root", str(folder_of_images))
    [source] = training.datamodule.samples.sources
    assert (len(source.dataset), source.weight) == (1, 2.0)
    assert training.config.data.init_args.train[0].dataset.init_args.path == str(folder_of_images)


def test_the_place_of_the_data_must_be_given_and_exist(tmp_path) -> None:
    with pytest.raises(UpsegError, match=r"recipe\.yaml needs the place of the data: --data_root FOLDER"):
        opened(tmp_path, data_from("${data_root}"))
    with pytest.raises(UpsegError, match=r"nowhere should hold images/ beside labels/, .*but it does not exist"):
        opened(tmp_path, data_from("${data_root}"), "--data_root", str(tmp_path / "nowhere"))


def test_options_of_a_data_set_by_name_are_checked(tmp_path, folder_of_images) -> None:
    with pytest.raises(UpsegError, match=r"folder: there is no setting 'anotations' \(did you mean annotations\?\)"):
        opened(tmp_path, data_from(str(folder_of_images), anotations="labels"))


def changed(change: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    content = recipe()
    change(content)
    return content


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda c: c["trainer"].update(max_epoch=3),
            "there is no option 'trainer.max_epoch' (did you mean trainer.max_epochs?)",
        ),
        (
            lambda c: c.update(chekpoint={"monitor": "x"}),
            "there is no option 'chekpoint.monitor' (did you mean checkpoint.monitor?)",
        ),
        (
            lambda c: c["model"]["init_args"].update(widht=3),
            "(tests.training.tiny.TinyTask): there is no option 'widht' (did you mean width?); there are width, noise",
        ),
        (
            lambda c: c["data"]["init_args"]["train"][0]["dataset"]["init_args"].update(lenght=3),
            "train > dataset (upseg.data.shapes.ShapeScenes): there is no option 'lenght' (did you mean length?)",
        ),
        (
            lambda c: c["data"]["init_args"]["train"][0].update(wieght=3),
            "data > train (upseg.data.mixing.WeightedDataset): there is no option 'wieght' (did you mean weight?)",
        ),
        (
            lambda c: c["data"]["init_args"].update(train=[{"dataset": {"class_path": SCENES, "length": 3}}]),
            "options of a class belong under its init_args",
        ),
        (
            lambda c: c["model"].update(class_path="tests.training.tiny.TinyTusk"),
            "module 'tests.training.tiny' has no attribute 'TinyTusk' (did you mean TinyTask?)",
        ),
        (lambda c: c["model"].update(class_path="nowhere.Task"), "No module named 'nowhere'"),
        (lambda c: c["model"]["init_args"].update(width="wide"), "Expected int. Got value: wide"),
        (lambda c: c["trainer"].update(max_epochs="many"), "trainer.max_epochs: Expected int, got many"),
        (lambda c: c["checkpoint"].update(mode="most"), "checkpoint.mode: Expected one of 'max', 'min'"),
        (lambda c: c["pictures"].update(count=-1), "the number of pictures must be at least 0, got -1"),
        (lambda c: c["data"]["init_args"].update(seed=3), "the seed of the data is seed_everything"),
        (lambda c: c["data"]["init_args"].update(workers="${cores}"), "'cores' not found"),
        (lambda c: c["trainer"].update(devices="9x"), "trainer: `devices` selected with `CPUAccelerator`"),
        (lambda c: c.pop("data"), "data must be given: a class_path such as upseg.training.data.MixedDataModule"),
        (lambda c: c.pop("model"), "the following arguments are required: model"),
        (lambda c: c["model"].update(class_path="tests.training.tiny.WithoutOptimiser"), "optimization must be given"),
        (
            lambda c: c.update(optimization={"learning_rate": 0.1, "layer_decay": 0.5}),
            "layer_decay needs a timm backbone",
        ),
        (lambda c: c.update(optimization={"learning_rate": -1.0}), "learning_rate must be positive, got -1.0"),
    ],
)
def test_a_wrong_configuration_is_one_line_that_says_where_and_what(tmp_path, change, message) -> None:
    with pytest.raises(UpsegError) as caught:
        opened(tmp_path, changed(change))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--trainer.max_epoch", "3"], "did you mean trainer.max_epochs?"),
        (["--modle.width", "3"], "there is no option 'modle.width' (did you mean model.width?)"),
        (["--data.seed", "3"], "the seed of the data is --seed_everything"),
        (["--seed_everything", "true"], "seed_everything: Expected int"),
        (["more"], "unrecognized arguments: more"),
    ],
)
def test_so_is_a_wrong_option(tmp_path, options, message) -> None:
    with pytest.raises(UpsegError) as caught:
        opened(tmp_path, recipe(), *options)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_bug_in_a_method_is_no_mistake_of_the_user(tmp_path, monkeypatch) -> None:
    def broken(self: TinyTask, **options: Any) -> None:
        raise KeyError("a bug")

    monkeypatch.setattr(TinyTask, "__init__", broken)
    with pytest.raises(ValueError, match="a bug"):  # not an UpsegError: the trace is shown
        opened(tmp_path, recipe())


@pytest.mark.parametrize(
    ("text", "message"),
    [("a: b: c", "cannot be read as YAML"), ("", "must hold sections such as model"), ("- 3", "got list")],
)
def test_a_file_that_is_no_configuration_is_refused(tmp_path, text, message) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UpsegError, match=message):
        Training([path], [], output=tmp_path / "run", trust=True)


def test_a_folder_with_a_run_is_not_written_into(run, tmp_path) -> None:
    with pytest.raises(UpsegError, match="holds a training already; continue it with --resume, or name another"):
        opened(tmp_path, recipe(), "--output", str(run))
    with pytest.raises(UpsegError, match="there is no training to resume in"):
        opened(tmp_path, recipe(), resume=True)


def test_a_metric_that_is_not_logged_is_named_with_those_that_are(tmp_path) -> None:
    training = opened(tmp_path, recipe(), "--checkpoint.monitor", "val/recal")
    with pytest.raises(ValueError, match=r"monitor is 'val/recal', which is not logged; .*train/loss, val/recall"):
        training.run()


def test_an_error_of_the_data_in_the_middle_is_one_line(tmp_path, monkeypatch) -> None:
    def broken(self: TinyTask, batch: Any, index: int) -> None:
        raise DataError("image 7 is damaged")

    monkeypatch.setattr(TinyTask, "training_step", broken)
    with pytest.raises(UpsegError, match=r"^the training stopped: image 7 is damaged$") as caught:
        opened(tmp_path, recipe()).run()
    assert isinstance(caught.value.__cause__, DataError)


def test_the_recipe_can_say_how_to_optimise(tmp_path, capsys) -> None:
    content = recipe()
    content["model"] = {"class_path": "tests.training.tiny.WithoutOptimiser"}
    content["optimization"] = {"learning_rate": 0.1, "optimizer": "sgd", "warm_up": 0.25, "weight_decay": 0.0}
    train(tmp_path / "run", content)
    rates = [value for *_, value in rows(tmp_path / "run", "learning_rate")]
    assert rates[:4] == pytest.approx([0.025, 0.05, 0.075, 0.1])  # 3 of 12 steps warm up
    assert rates[-1] == pytest.approx(0)


def test_the_recipe_wins_over_the_optimiser_of_the_method(tmp_path, monkeypatch) -> None:
    training = opened(tmp_path, recipe(), "--optimization.learning_rate", "0.7", "--optimization.schedule=constant")
    monkeypatch.setattr(type(training.trainer), "estimated_stepping_batches", 5)
    training.model.trainer = training.trainer
    configured = training.model.configure_optimizers()
    assert isinstance(configured["optimizer"], torch.optim.AdamW)
    assert {group["lr"] for group in configured["optimizer"].param_groups} == {0.7}


def test_an_effective_batch_gathers_gradients(tmp_path) -> None:
    content = recipe()
    size = content["data"]["init_args"]["batch_size"]
    content["data"]["init_args"]["effective_batch"] = 3 * size
    assert opened(tmp_path, content).trainer.accumulate_grad_batches == 3
    with pytest.raises(UpsegError, match=r"asks for 3 batches in a step, trainer\.accumulate_grad_batches for 2"):
        opened(tmp_path, content, "--trainer.accumulate_grad_batches=2")


def test_a_method_that_needs_classes_gets_those_of_the_data(tmp_path) -> None:
    content = recipe()
    content["model"] = {"class_path": "tests.training.tiny.WithClasses"}
    assert opened(tmp_path, content).model.categories == CATEGORIES


def test_ctrl_c_ends_cleanly_and_says_how_to_go_on(tmp_path, monkeypatch, capsys) -> None:
    from upseg.cli import main

    configuration = write(tmp_path / "recipe.yaml", recipe(stop_at=6))
    output = tmp_path / "run"
    monkeypatch.setattr(sys, "argv", ["upseg", "train", "--trust", "-c", str(configuration), "-o", str(output)])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 130
    assert capsys.readouterr().err == f"upseg: stopped; the same command with --resume goes on from {output}\n"
    assert (output / "checkpoints" / "last.ckpt").exists()


def test_a_training_without_a_step_is_no_success(tmp_path) -> None:
    with pytest.raises(UpsegError, match="the training made no step, so nothing was learned"):
        opened(tmp_path, recipe(), "--trainer.max_epochs", "0").run()


def test_what_a_worker_says_becomes_one_line() -> None:
    told = (
        "Caught DataError in DataLoader worker process 0.\nOriginal Traceback:\n  x\nupseg.errors.DataError: a is cut\n"
    )
    assert _last_line(told) == "a is cut"
    assert _last_line("a\nb") == "a b"
