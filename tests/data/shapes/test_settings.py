from __future__ import annotations

from dataclasses import fields, replace

import pytest

from upseg.data.shapes import CATEGORIES, STUFF, THINGS, Difficulty
from upseg.data.shapes.settings import EASY, HARD


def test_the_ends_of_the_scale():
    assert Difficulty.at(0.0) == EASY
    assert Difficulty.at(1.0) == HARD


def test_settings_lie_between_the_ends():
    half = Difficulty.at(0.5)
    for field in fields(Difficulty):
        for low, value, high in zip(*(_pair(getattr(d, field.name)) for d in (EASY, half, HARD)), strict=True):
            assert min(low, high) <= value <= max(low, high)
    assert half.grouped == pytest.approx((EASY.grouped + HARD.grouped) / 2)
    assert all(isinstance(count, int) for count in (*half.things, *half.stuff))


def _pair(value):
    return value if isinstance(value, tuple) else (value,)


@pytest.mark.parametrize("level", [-0.01, 1.01, float("nan")])
def test_a_level_outside_the_scale_is_named(level):
    with pytest.raises(ValueError, match=r"difficulty must be in \[0, 1\]"):
        Difficulty.at(level)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"noise": (0.2, 0.1)}, "noise must be at least 0"),
        ({"noise": (-0.1, 0.1)}, "noise must be at least 0"),
        ({"grouped": 1.5}, r"grouped must be in \[0, 1\]"),
        ({"stuff": (0, 2)}, "needs a background"),
        ({"size": (0.0, 0.1)}, "shapes a size"),
    ],
)
def test_settings_that_make_no_sense_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        replace(EASY, **change)


def test_categories_are_numbered_and_told_apart():
    assert [category.id for category in CATEGORIES] == list(range(1, 21))
    assert len({category.name for category in CATEGORIES}) == 20
    assert all(category.is_thing for category in THINGS.values())
    assert not any(category.is_thing for category in STUFF.values())
