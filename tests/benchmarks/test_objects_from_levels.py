"""The parts of the benchmark: the best unions by trying all, maps of about as many segments, and the table's shares."""

from __future__ import annotations

import importlib.util
import json
import sys
from itertools import combinations
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from skimage import data

from upseg.hierarchy import Hierarchy
from upseg.methods.dynaseg import DynaSegSegmenter, DynaSegSettings

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """The benchmark as a module."""
    sys.path.insert(0, str(BENCHMARKS))
    try:
        spec = importlib.util.spec_from_file_location("objects_from_levels", BENCHMARKS / "objects_from_levels.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(BENCHMARKS))
    return module


def iou(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / (one | other).sum())


def test_the_best_union_of_a_flat_map_is_that_of_trying_all(script) -> None:
    rng = np.random.default_rng(3)
    for _ in range(20):
        labels = rng.integers(1, 7, (6, 8))
        mask = rng.random((6, 8)) < 0.4
        [found] = script.flat_reach(labels, [mask])
        for picks, best in zip(script.PICKS, found, strict=True):
            tried = [
                iou(np.isin(labels, chosen), mask)
                for count in range(1, picks + 1)
                for chosen in combinations(range(1, 7), count)
            ]
            assert best == pytest.approx(max(tried))


def photo() -> np.ndarray:
    return data.coffee()[100:200:2, 200:320:2]


def test_a_hierarchy_reaches_at_least_what_any_of_its_levels_does(script) -> None:
    hierarchy: Hierarchy = DynaSegSegmenter(DynaSegSettings(threads=1)).hierarchy(photo())
    rows, columns = np.mgrid[:50, :60]
    masks = [(rows - 25) ** 2 + (columns - 30) ** 2 < radius**2 for radius in (8, 18)]
    tree = script.tree_reach(hierarchy, masks)
    flat = script.best_of([script.flat_reach(hierarchy.at(detail), masks) for detail in (0.2, 0.6)])
    assert (np.array(tree) >= np.array(flat) - 1e-12).all()
    assert all(ious == sorted(ious) for ious in tree)  # more picks never reach less


def test_the_best_of_several_maps_is_taken_for_each_thing(script) -> None:
    assert script.best_of([[[0.1, 0.5]], [[0.3, 0.4]]]) == [[0.3, 0.5]]


def test_the_peers_make_maps_of_about_the_number_that_is_asked_for(script) -> None:
    counts = {name: make(12).max() for name, make in script.peers(photo()).items()}
    assert set(counts) == {"Felzenszwalb", "SLIC", "watershed"}
    assert all(6 <= count <= 24 for count in counts.values()), counts


def test_the_table_has_the_shares_of_things_that_are_reached(script, tmp_path, capsys) -> None:
    reached = {"one": [[0.4, 0.5, 0.6, 0.8], [0.2, 0.3, 0.9, 0.9]]}
    script.report(reached, {"one": 3.0}, 2, tmp_path)
    assert "| one " in capsys.readouterr().out
    [method] = json.loads((tmp_path / "objects_from_levels.json").read_text())["methods"].values()
    assert method["shares"] == [0.0, 0.5, 1.0, 1.0, 0.0, 0.0, 0.5, 1.0]
