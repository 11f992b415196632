"""Every example in a docstring is run, and every public function and class has one."""

from __future__ import annotations

import ast
import doctest
import inspect
from importlib import import_module
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src"
PUBLIC = ("upseg", "upseg.data", "upseg.formats", "upseg.metrics")


def examples_of(path: Path) -> list[tuple[str, str, int]]:
    """Name, docstring and line of everything in a file whose docstring has an example.

    The docstrings are read from the source, because the shape checks of the tests wrap the functions.
    """
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
    nodes = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, documented)]
    found = [(getattr(node, "name", "module"), ast.get_docstring(node), node) for node in nodes]
    return [(name, text, node.body[0].lineno) for name, text, node in found if text and ">>>" in text]


EXAMPLES = {
    f"{path.relative_to(SOURCE).with_suffix('').as_posix()}:{name}": (path, text, line)
    for path in sorted(SOURCE.rglob("*.py"))
    for name, text, line in examples_of(path)
}


@pytest.mark.parametrize("example", EXAMPLES)
def test_examples_are_true(example: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, text, line = EXAMPLES[example]
    module = ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")
    monkeypatch.chdir(tmp_path)
    test = doctest.DocTestParser().get_doctest(text, dict(vars(import_module(module))), example, str(path), line)
    report: list[str] = []
    results = doctest.DocTestRunner().run(test, out=report.append)
    assert results.attempted > 0
    assert not results.failed, "".join(report)


@pytest.mark.parametrize("package", PUBLIC)
def test_public_functions_and_classes_have_an_example(package: str) -> None:
    module = import_module(package)
    public = {name: getattr(module, name) for name in module.__all__}
    assert set(module.__all__) <= set(dir(module))
    assert [
        name
        for name, value in public.items()
        if (inspect.isroutine(value) or inspect.isclass(value)) and ">>>" not in (value.__doc__ or "")
    ] == []
