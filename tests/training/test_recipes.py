from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from upseg.errors import UpsegError
from upseg.training import recipes as module
from upseg.training.cli import Training
from upseg.training.recipes import describe, find_recipe, name_of, recipes

ROOT = Path(__file__).parents[2]


def test_every_file_in_configs_is_a_recipe_and_says_what_it_trains() -> None:
    assert recipes() == {
        f"{path.parent.name}/{path.stem}": path for path in sorted((ROOT / "configs").glob("*/*.yaml"))
    }
    assert recipes()
    for name, path in recipes().items():
        assert len(describe(path)) > 10, f"{name} must begin with a comment"


def test_the_package_takes_the_recipes_along() -> None:
    targets = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["hatch"]["build"]["targets"]
    assert targets["wheel"]["force-include"] == {"configs": "upseg/configs"}
    assert "configs" in targets["sdist"]["include"]


def test_an_installed_package_has_them_inside(tmp_path, monkeypatch) -> None:
    (tmp_path / "configs" / "entity").mkdir(parents=True)
    (tmp_path / "configs" / "entity" / "mine.yaml").write_text("# Mine. And more.\nmodel:\n")
    monkeypatch.setattr(module, "_PACKAGE", tmp_path)
    assert recipes() == {"entity/mine": tmp_path / "configs" / "entity" / "mine.yaml"}
    assert describe(recipes()["entity/mine"]) == "Mine"


def test_a_file_has_precedence_over_a_recipe_of_its_name(tmp_path, monkeypatch) -> None:
    name, path = next(iter(recipes().items()))
    monkeypatch.chdir(tmp_path)
    assert find_recipe(name) == path
    assert name_of(path) == name
    Path(name).parent.mkdir()
    Path(name).write_text("model:")
    assert find_recipe(name) == Path(name)
    assert name_of(Path("mine.yaml")) == "mine"


def test_a_name_that_there_is_not_is_an_error_with_the_nearest() -> None:
    name = next(iter(recipes()))
    with pytest.raises(UpsegError, match=rf"no recipe '{name}x' \(did you mean {name}\?\); the recipes are {name}"):
        find_recipe(f"{name}x")


class Read(Training):
    """Reads and checks a configuration, and makes nothing from it."""

    def instantiate_classes(self) -> None:
        """Nothing."""

    def after_instantiate_classes(self) -> None:
        """Nothing."""


@pytest.mark.parametrize("name", recipes())
def test_every_recipe_fits_the_classes_that_it_names(name, tmp_path) -> None:
    training = Read([find_recipe(name)], ["--data_root", str(tmp_path)], output=tmp_path / "run")
    method = "mask_rcnn" if "maskrcnn" in name else name.partition("/")[0]  # lies with the method it learns from
    assert training.config.model.class_path.startswith(f"upseg.methods.{method}.")
    assert training.config.checkpoint.monitor is not None
