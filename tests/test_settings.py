from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import pytest

from tests.batch.segmenters import ThresholdSettings
from upseg.errors import ModelError
from upseg.settings import build_settings, check_settings, parse_assignments


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("levels=3", {"levels": 3}),
        (" levels = 3 ", {"levels": 3}),
        ("delay=2", {"delay": 2.0}),
        ("delay=1e-3", {"delay": 0.001}),
        ("delay=.5", {"delay": 0.5}),
        ("note=.5", {"note": ".5"}),
        ("connected=false", {"connected": False}),
        ("weighting=green", {"weighting": "green"}),
        ("limits=[1, 2.5]", {"limits": (1.0, 2.5)}),
        ("limits=null", {"limits": None}),
        ("note=a=b", {"note": "a=b"}),
        ("note=3", {"note": "3"}),
    ],
)
def test_texts_become_values_of_the_settings_types(text, expected) -> None:
    values = parse_assignments([text], ThresholdSettings)
    assert values == expected
    assert [type(value) for value in values.values()] == [type(value) for value in expected.values()]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("levels", r"key=value, got 'levels'"),
        ("=3", r"key=value, got '=3'"),
        ("level=3", r"no setting 'level' \(did you mean levels\?\); the settings are levels, delay, seed"),
        ("zzz=3", r"no setting 'zzz'; the settings are levels"),
        ("levels=3.5", r"levels must be a whole number, got 3.5"),
        ("levels=.5", r"levels must be a whole number, got .\.5.$"),
        ("levels=true", r"levels must be a whole number, got True"),
        ("delay=fast", r"delay must be a number, got 'fast'"),
        ("connected=1", r"connected must be true or false, got 1"),
        ("weighting=red", r"weighting must be one of equal, green, got 'red'"),
        ("limits=[true]", r"limits must be tuple.* or null"),
    ],
)
def test_a_setting_that_does_not_exist_or_fit_is_named_with_what_would(text, message) -> None:
    with pytest.raises(ModelError, match=message):
        parse_assignments([text], ThresholdSettings)


def test_values_from_a_file_are_checked_alike() -> None:
    assert check_settings({"limits": [1, 2], "delay": 1}, ThresholdSettings) == {"limits": (1.0, 2.0), "delay": 1.0}
    with pytest.raises(ModelError, match="levels must be a whole number, got '3'"):
        check_settings({"levels": "3"}, ThresholdSettings)


def test_presets_are_starting_points() -> None:
    assert build_settings(ThresholdSettings, {}) == ThresholdSettings()
    assert build_settings(ThresholdSettings, {"seed": 3}, preset="coarse") == ThresholdSettings(levels=2, seed=3)
    with pytest.raises(ModelError, match="no preset 'fine'; the presets are default, coarse"):
        build_settings(ThresholdSettings, {}, preset="fine")


def test_what_the_settings_themselves_refuse_is_passed_on() -> None:
    with pytest.raises(ModelError, match="levels must be at least 1, got 0"):
        build_settings(ThresholdSettings, {"levels": 0})


@dataclass(frozen=True)
class Plain:
    size: tuple[int, int]
    kind: Literal["a", 1] = "a"
    note: str | None = None


def test_settings_without_presets_work_and_must_be_complete() -> None:
    assert build_settings(Plain, {"size": [1, 2]}, preset="default") == Plain((1, 2))
    assert build_settings(Plain, {"size": (1, 2), "kind": 1}).kind == 1
    with pytest.raises(ModelError, match="the settings size must be given"):
        build_settings(Plain, {})
    with pytest.raises(ModelError, match="has no presets, but 'paper'"):
        build_settings(Plain, {"size": [1, 2]}, preset="paper")
    with pytest.raises(ModelError, match="size must be tuple"):
        build_settings(Plain, {"size": [1, 2, 3]})


def test_settings_must_be_a_dataclass() -> None:
    with pytest.raises(TypeError, match="must be a dataclass"):
        build_settings(dict, {"a": 1})


@dataclass(frozen=True)
class RenamedSettings:
    heads: tuple[str, ...] = ("semantic",)
    seed: int = 0
    renamed: ClassVar[Mapping[str, str]] = {"tasks": "heads"}


def test_settings_are_taken_by_their_former_names_too() -> None:
    assert parse_assignments(['tasks=["depth"]', "seed=2"], RenamedSettings) == {"heads": ("depth",), "seed": 2}
    assert build_settings(RenamedSettings, {"tasks": ["depth"]}) == RenamedSettings(("depth",))
    with pytest.raises(ModelError, match=r"the setting heads must be tuple.*, got 3"):
        check_settings({"tasks": 3}, RenamedSettings)
    with pytest.raises(ModelError, match=r"no setting 'task'.*; the settings are heads, seed"):
        check_settings({"task": ["depth"]}, RenamedSettings)


def test_a_setting_is_not_given_by_both_of_its_names() -> None:
    with pytest.raises(ModelError, match="the setting tasks is now called heads, but both are given"):
        build_settings(RenamedSettings, {"tasks": ["depth"], "heads": ["depth"]})
