"""What holds for every accumulator."""

from __future__ import annotations

import copy
import math

import pytest

from tests.metrics.cases import CASES
from upseg.metrics import Accumulator, CellMatching, ClassAgnostic, RegionSweep

EVERY = pytest.mark.parametrize("name", CASES)


def test_every_accumulator_is_tried_here() -> None:
    assert {type(accumulator) for accumulator, _ in CASES.values()} == set(Accumulator.__subclasses__())


@EVERY
def test_merged_is_the_same_as_one_pass_and_nothing_else_changes(name: str) -> None:
    accumulator, draw = CASES[name]
    whole, first, second, empty = (copy.deepcopy(accumulator) for _ in range(4))
    for seed in range(4):
        whole.update(*draw(seed))
        (first, second)[seed % 2].update(*draw(seed))
    alone = second.compute()
    first.merge(second)
    first.merge(empty)
    assert first.compute() == pytest.approx(whole.compute(), nan_ok=True)
    assert {c: pytest.approx(row) for c, row in first.per_class().items()} == whole.per_class()
    assert second.compute() == pytest.approx(alone, nan_ok=True)


@EVERY
def test_nothing_seen_is_nan(name: str) -> None:
    accumulator = copy.deepcopy(CASES[name][0])
    assert accumulator.compute().keys()
    assert all(math.isnan(value) for value in accumulator.compute().values())
    assert accumulator.per_class() == {}


@pytest.mark.parametrize("other", [ClassAgnostic(0.05), CellMatching(), RegionSweep(2)])
def test_merging_another_type_or_other_settings_is_refused(other: Accumulator) -> None:
    with pytest.raises(ValueError, match="same settings"):
        ClassAgnostic(0.02).merge(other)
    with pytest.raises(ValueError, match="same settings"):
        RegionSweep(3).merge(other)
