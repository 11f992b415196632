"""Modules that are imported without being run, until something of them is used."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from upseg.lazy import DeferredModules


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "big_package").mkdir()
    (tmp_path / "big_package" / "__init__.py").write_text("from . import seldom, often")
    (tmp_path / "big_package" / "seldom.py").write_text("import sys\nsys.seldom_used = True\nvalue = 3")
    (tmp_path / "big_package" / "often.py").write_text("value = 4")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "seldom_used", False, raising=False)
    yield tmp_path
    for name in [name for name in sys.modules if name.partition(".")[0] == "big_package"]:
        del sys.modules[name]


def load(monkeypatch: pytest.MonkeyPatch, *, when: bool):
    finder = DeferredModules(["big_package.seldom"], lambda: when)
    monkeypatch.setattr(sys, "meta_path", [finder, *sys.meta_path])
    return importlib.import_module("big_package")


def was_run() -> bool:
    return bool(vars(sys)["seldom_used"])


@pytest.mark.usefixtures("modules")
def test_a_deferred_module_is_run_when_something_of_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    package = load(monkeypatch, when=True)
    assert package.often.value == 4
    importlib.import_module("big_package.seldom")  # once more
    assert not was_run()
    assert package.seldom.value == 3
    assert was_run()
    with pytest.raises(AttributeError, match="no attribute 'other'"):
        package.seldom.other  # noqa: B018


@pytest.mark.usefixtures("modules")
def test_nothing_is_deferred_where_it_must_not(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(monkeypatch, when=False).seldom.value == 3
    assert was_run()
