"""Results of single images on disk, so that an interrupted run goes on where it was."""

from __future__ import annotations

import ast
import hashlib
import inspect
import json
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import upseg

from . import fits, methods
from .methods import Method

# what decides a label map and its scores; a change of code, not of comments, makes old results void
_SHARED_SOURCES = (
    "functional/label_maps.py",
    "metrics/accumulator.py",
    "functional/contingency.py",
    "metrics/covering.py",
    "metrics/rand_index.py",
    "metrics/region_iou.py",
    "metrics/region_sweep.py",
    "metrics/variation_of_information.py",
)
_PACKAGES = ("numpy", "scikit-image", "scikit-learn", "scipy", "torch")


class Cache:
    """The results of one method, one JSON file for each image.

    Args:
        folder: Of the reports; the cache is below it, and git ignores it.
        method: Its family, settings and sweep, and the code behind them, are the key.
        measure: What makes a result of a label map; its code is part of the key.
        purpose: Anything else that decides the results.
    """

    def __init__(self, folder: Path, method: Method, measure: Callable[..., Any], purpose: str = "") -> None:
        root = folder / "cache"
        self.folder = root / f"{method.family}-{_fingerprint(method, measure, purpose)}"
        self.folder.mkdir(parents=True, exist_ok=True)
        (root / ".gitignore").write_text("*\n")

    def __contains__(self, name: str) -> bool:
        return self._path(name).exists()

    def read(self, name: str) -> Any:
        """The result for the image of this name."""
        return json.loads(self._path(name).read_text())

    def write(self, name: str, result: Any) -> None:
        """Keep a result; whole or not at all."""
        partial = self._path(name).with_suffix(".partial")
        partial.write_text(json.dumps(result))
        partial.replace(self._path(name))

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.json"


def _fingerprint(method: Method, measure: Callable[..., Any], purpose: str) -> str:
    facts = {
        "family": method.family,
        "settings": dict(method.settings),
        "sweep": [dict(changes) for changes in method.sweep],
        "purpose": purpose,
        "packages": {package: version(package) for package in _PACKAGES},
        "code": [_code(source) for source in _sources(method)],
        "measure": _code(inspect.getsource(measure)),
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def _sources(method: Method) -> Iterator[str]:
    package = Path(upseg.__file__).parent
    files = [package / name for name in _SHARED_SOURCES]
    if method.family.startswith("dynaseg"):
        # settings.py only holds defaults; a method's settings are spelled out
        files += [path for path in sorted((package / "methods/dynaseg").glob("*.py")) if path.name != "settings.py"]
        yield inspect.getsource(fits)
    yield inspect.getsource(methods)
    yield from (path.read_text() for path in files)


def _code(source: str) -> str:
    """A program without its comments, docstrings and layout."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            kept = [s for s in body if not (isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant))]
            node.body = kept  # type: ignore[attr-defined]
    return ast.dump(tree)
