"""The notebooks run from top to bottom, cell by cell as in Jupyter, with less training."""

from __future__ import annotations

import ast
import json
import os
import re
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))
SHORT = "MINUTES = 0.3"  # in place of what people are told to take


def cells(path: Path, kind: str) -> list[str]:
    content = json.loads(path.read_text(encoding="utf-8"))
    assert content["nbformat"] == 4
    return ["".join(cell["source"]) for cell in content["cells"] if cell["cell_type"] == kind]


def run_cell(source: str, names: dict[str, Any]) -> Any:
    """Run a cell; the value of its last expression, if it ends with one."""
    tree = ast.parse(source)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "a cell", "exec"), names)
    return None if last is None else eval(compile(ast.Expression(last.value), "a cell", "eval"), names)


@pytest.mark.slow
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
@pytest.mark.filterwarnings("ignore:FigureCanvasAgg is non-interactive:UserWarning")
def test_a_notebook_runs_from_top_to_bottom(notebook, tmp_path, monkeypatch) -> None:
    mpl.use("Agg")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]))
    names: dict[str, Any] = {"__name__": "__main__"}
    shown = [
        run_cell(re.sub(r"^MINUTES = .*$", SHORT, source, flags=re.M), names) for source in cells(notebook, "code")
    ]
    mpl.pyplot.close("all")
    assert "<img" in shown[0]._repr_html_()


def test_there_are_two_and_they_are_kept_without_outputs() -> None:
    assert [path.stem for path in NOTEBOOKS] == ["nuclei", "photos"]
    for path in NOTEBOOKS:
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            assert not cell.get("outputs"), f"{path.name}: clear the outputs"
            assert cell.get("execution_count") is None
        assert cells(path, "markdown")[0].startswith("# ")
