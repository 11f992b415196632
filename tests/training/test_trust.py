"""Recipes from elsewhere run no code."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from tests.training.tiny import recipe, write
from upseg.errors import UpsegError
from upseg.training.cli import Training
from upseg.training.recipes import recipes
from upseg.training.trust import check_names, is_allowed

EVIL = "import pathlib\npathlib.Path({mark!r}).touch()\nclass Evil:\n    def __init__(self, **kwargs): pass\n"


def ours() -> dict[str, Any]:
    """A recipe that names nothing but upseg's code."""
    content = recipe()
    content["model"] = {
        "class_path": "upseg.methods.entity.task.EntityTask",
        "init_args": {"settings": {"backbone": "resnet10t"}, "pretrained": False},
    }
    content["optimization"] = {"learning_rate": 0.001}
    content["data"]["init_args"]["targets"] = {"class_path": "upseg.methods.entity.targets.EntityTargets"}
    return content


@pytest.fixture
def evil(tmp_path, monkeypatch) -> Path:
    """A module that leaves a mark when it is imported."""
    mark = tmp_path / "mark"
    (tmp_path / "evil_module.py").write_text(EVIL.format(mark=str(mark)), encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "evil_module", raising=False)
    return mark


def hostile(kind: str) -> tuple[dict[str, Any], list[str]]:
    content = ours()
    data = content["data"]["init_args"]
    options: list[str] = []
    match kind:
        case "model":
            content["model"] = {"class_path": "evil_module.Evil"}
        case "targets":
            data["targets"] = {"class_path": "evil_module.Evil"}
        case "nested":
            data["train"][0]["dataset"]["dict_kwargs"] = {"x": [{"class_path": "evil_module.Evil"}]}
        case "text":
            data["targets"] = "evil_module.Evil"
        case "callback":
            content["trainer"]["callbacks"] = [
                {
                    "class_path": "lightning.pytorch.callbacks.LambdaCallback",
                    "init_args": {"on_fit_start": "evil_module.Evil"},
                }
            ]
        case "option":
            options = ["--data.targets", "evil_module.Evil"]
    return content, options


@pytest.mark.parametrize("kind", ["model", "targets", "nested", "text", "callback", "option"])
def test_code_from_elsewhere_is_refused_before_it_is_imported(kind, evil, tmp_path) -> None:
    content, options = hostile(kind)
    with pytest.raises(UpsegError, match=r"may not run 'evil_module\.Evil'.*--trust") as refused:
        Training([write(tmp_path / "recipe.yaml", content)], options, output=tmp_path / "run")
    assert "\n" not in str(refused.value)
    assert not evil.exists()


@pytest.mark.parametrize(
    "name", ["torch.load", "os.system", "upseg.files.os.system", "upseg.training.cli.Path", "upseg.cli.main"]
)
@pytest.mark.parametrize("as_text", [False, True])
def test_callables_of_other_libraries_are_refused_also_where_upseg_imports_them(name, as_text, tmp_path) -> None:
    content = ours()
    content["data"]["init_args"]["targets"] = name if as_text else {"class_path": name}
    with pytest.raises(UpsegError, match="may not run"):
        Training([write(tmp_path / "recipe.yaml", content)], [], output=tmp_path / "run")


def test_trust_lifts_it(evil, tmp_path) -> None:
    content, _ = hostile("targets")
    with pytest.raises(UpsegError) as error:  # what the module has is no target builder
        Training([write(tmp_path / "recipe.yaml", content)], [], output=tmp_path / "run", trust=True)
    assert "may not run" not in str(error.value)
    assert evil.exists()


def test_a_run_folder_is_obeyed_no_more_than_a_recipe(evil, tmp_path, monkeypatch, capsys) -> None:
    from upseg.cli import main

    (tmp_path / "run").mkdir()
    write(tmp_path / "run" / "config.yaml", hostile("targets")[0])
    monkeypatch.setattr(sys, "argv", ["upseg", "train", "--resume", "-o", str(tmp_path / "run")])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    assert "may not run 'evil_module.Evil'" in capsys.readouterr().err
    assert not evil.exists()


def test_what_upseg_optimisers_callbacks_and_loggers_need_is_allowed(tmp_path) -> None:
    content = ours()
    content["trainer"] |= {
        "callbacks": [{"class_path": "lightning.pytorch.callbacks.EarlyStopping", "init_args": {"monitor": "x"}}],
        "logger": {"class_path": "lightning.pytorch.loggers.CSVLogger", "init_args": {"save_dir": str(tmp_path)}},
    }
    training = Training([write(tmp_path / "recipe.yaml", content)], [], output=tmp_path / "run")
    assert type(training.trainer.loggers[0]).__name__ == "CSVLogger"
    assert is_allowed("torch.optim.AdamW")
    assert not is_allowed("upseg.datatheft.X")


def test_the_recipes_of_the_package_need_no_trust() -> None:
    import yaml

    for path in recipes().values():
        check_names(yaml.safe_load(path.read_text(encoding="utf-8")), str(path))


@pytest.mark.parametrize("text", ["${oc.env:UPSEG_SECRET}", "a${ oc.env : UPSEG_SECRET}", "${${x}:UPSEG_SECRET}"])
def test_the_environment_stays_out_of_a_run(text, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("UPSEG_SECRET", "hidden")
    content = ours() | {"output": text}
    with pytest.raises(UpsegError, match=r"may not compute .*--trust") as refused:
        Training([write(tmp_path / "recipe.yaml", content)], [], output=tmp_path / "run")
    assert "\n" not in str(refused.value)
    assert "hidden" not in str(refused.value)


def test_with_trust_the_environment_is_read(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("UPSEG_SECRET", "hidden")
    content = ours() | {"output": str(tmp_path / "${oc.env:UPSEG_SECRET}")}
    training = Training([write(tmp_path / "recipe.yaml", content)], [], output=tmp_path / "run", trust=True)
    assert training.output == tmp_path / "hidden"


def test_an_option_does_not_read_the_environment_either(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("UPSEG_SECRET", "hidden")
    options = ["--output", str(tmp_path / "${oc.env:UPSEG_SECRET}")]
    with pytest.raises(UpsegError, match="may not compute") as refused:
        Training([write(tmp_path / "recipe.yaml", ours())], options, output=tmp_path / "run")
    assert "hidden" not in str(refused.value)


def test_values_of_the_recipe_itself_are_taken_over() -> None:
    check_names({"a": "${data_root}/x: ${b}", "b": "$5: {x}"}, "recipe.yaml")
