"""Recipes and runs from before loss weights had their name."""

from pathlib import Path

import pytest

from tests.training.tiny import recipe, write
from upseg.training.cli import Training
from upseg.training.old_names import arguments_of_today
from upseg.training.recipes import find_recipe

OLD = """\
model:
  class_path: upseg.methods.entity.task.EntityTask
  init_args: {average: 1e-1, weights: {contrast: 2.0}, pretrained: false}   # weights: of the losses
data: {weights: [1]}
"""


def test_the_old_name_is_replaced_in_the_model_alone(tmp_path) -> None:
    path = tmp_path / "old.yaml"
    path.write_text(OLD, encoding="utf-8")
    options = ["--model.weights.segment=2", "--model.init_args.weights", "null", "--data.weights=3", "--model.width=1"]
    assert arguments_of_today([path], options) == [
        f"--config={OLD.replace('weights: {', 'loss_weights: {')}",
        "--model.loss_weights.segment=2",
        "--model.init_args.loss_weights",
        "null",
        "--data.weights=3",
        "--model.width=1",
    ]


def test_what_is_of_today_or_of_somebody_elses_model_is_left_alone(tmp_path) -> None:
    content = recipe(weights={"a": 1})
    other = write(tmp_path / "other.yaml", content)
    assert arguments_of_today([other], ["--model.weights=3"]) == [f"--config={other}", "--model.weights=3"]
    today = find_recipe("entity/dsb2018")
    assert arguments_of_today([today], []) == [f"--config={today}"]


@pytest.mark.parametrize("where", ["file", "option"])
def test_an_old_recipe_is_the_same_training(tmp_path: Path, where: str) -> None:
    content = recipe(pretrained=False, settings={"backbone": "resnet10t", "channels": 8})
    content["model"]["class_path"] = "upseg.methods.entity.task.EntityTask"
    content["optimization"] = {"learning_rate": 1e-3}
    if where == "file":
        content["model"]["init_args"]["weights"] = {"contrast": 3.0}
    options = [] if where == "file" else ["--model.init_args.weights.contrast=3.0"]
    training = Training([write(tmp_path / "recipe.yaml", content)], options, output=tmp_path / "run")
    weights = training.model.loss_weights
    assert (weights.contrast, weights.attraction) == (3.0, 1.0)
