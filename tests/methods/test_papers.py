"""Each row and each decision of every PAPER.md names a test or a benchmark that shows it, and there is such a one."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAPERS = sorted((ROOT / "src" / "upseg" / "methods").glob("*/PAPER.md"))
REFERENCE = re.compile(r"`((?:tests/|benchmarks/|extensions/|extraction/)?[\w/]*\.py)(?:::([\w:]+))?`")
UNPROVEN = {"Everything from here on is not in the paper."}
"""Items that claim nothing."""


def items(text: str) -> Iterator[str]:
    """The numbered and dotted items with all their lines, and the rows of the tables of equations."""
    found: list[str] = []
    in_equations = False
    for line in [*text.splitlines(), "#"]:
        if line.startswith("   ") or (found and found[0].startswith("- ") and line.startswith("  ")):
            found.append(line)
            continue
        if found:
            yield "\n".join(found)
        starts = re.match(r"\d+\. |- ", line) or (in_equations and re.match(r"\| (\d+|\(.*?\)) \|", line))
        found = [line] if starts else []
        if line.startswith("#"):
            in_equations = line == "## Equations"


@cache
def names_in(path: Path) -> frozenset[str]:
    """The tests of a file: `test_x`, `TestY` and `TestY::test_z`."""
    names: set[str] = set()
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            names |= {f"{node.name}::{inner.name}" for inner in node.body if isinstance(inner, ast.FunctionDef)}
    return frozenset(names)


def shown_by(item: str, method: str) -> list[str]:
    """What an item is shown by, of what there is."""
    found = []
    for file, name in REFERENCE.findall(item):
        path = ROOT / file if file.startswith(("tests/", "benchmarks/")) else ROOT / "tests" / "methods" / method / file
        shows = path.is_file() and (path.name.startswith("test_") or path.parent.name == "benchmarks")
        if shows and (not name or name in names_in(path)):
            found.append(f"{file}::{name}")
    return found


@pytest.mark.parametrize("paper", PAPERS, ids=lambda path: path.parent.name)
def test_each_item_says_what_shows_it(paper: Path) -> None:
    claims = [item for item in items(paper.read_text("utf-8")) if item.removeprefix("- ") not in UNPROVEN]
    assert len(claims) >= 9
    assert [item[:80] for item in claims if not shown_by(item, paper.parent.name)] == []


@pytest.mark.parametrize("paper", PAPERS, ids=lambda path: path.parent.name)
def test_what_is_named_as_a_test_is_there(paper: Path) -> None:
    named = re.findall(r"`(?:[\w/]*/)?test_\w+\.py(?:::[\w:]+)?`", text := paper.read_text("utf-8"))
    assert len(named) == len(re.findall(r"`[^`]*test_\w+\.py[^`]*`", text))
    assert [name for name in named if not shown_by(name, paper.parent.name)] == []


def test_what_shows_nothing_is_noticed() -> None:
    text = "## Equations\n\n| number | x |\n|---|---|\n| 1 | `network.py` |\n\n## Decisions\n\n1. **A.**\n   b\n2. c\n"
    assert list(items(text)) == ["| 1 | `network.py` |", "1. **A.**\n   b", "2. c"]
    for item in ("1. x [`test_fit.py::test_no_such`]", "1. x [`test_no.py`]", "1. x [`fit.py`]", "1. x"):
        assert shown_by(item, "dynaseg") == []
    assert shown_by("1. x [`test_fit.py::TestCrops`, `benchmarks/photos.py`]", "dynaseg") == [
        "test_fit.py::TestCrops",
        "benchmarks/photos.py::",
    ]
