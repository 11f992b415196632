"""The settings: the defaults are the paper's, wrong values are named, JSON can hold them."""

import json
from dataclasses import FrozenInstanceError, asdict
from pathlib import Path
from typing import Any

import jaxtyping
import pytest

from upseg.errors import ModelError
from upseg.methods.entity.settings import EntitySettings
from upseg.models.folders import ModelConfig
from upseg.models.registry import build_model
from upseg.settings import build_settings


def test_the_defaults_are_those_of_the_paper() -> None:
    settings = EntitySettings()
    assert (settings.backbone, settings.channels, settings.dimensions) == ("convnext_base", 256, 128)
    assert (settings.background, settings.bandwidth) == ("unlabelled", 45.0)
    assert (settings.size, settings.scales) == (384, (1.0, 1.5, 2.0, 3.0))
    assert (settings.connected, settings.window, settings.minimum_area) == (False, None, 0)


def test_json_can_hold_them() -> None:
    settings = EntitySettings(size=None, scales=(1.0, 2.0), window=256, minimum_score=0.3)
    assert build_settings(EntitySettings, json.loads(json.dumps(asdict(settings), allow_nan=False))) == settings


def test_they_do_not_change() -> None:
    with pytest.raises(FrozenInstanceError):
        EntitySettings().seed = 1  # type: ignore[misc]


LEAST = {
    "channels": 1,
    "dimensions": 1,
    "size": 1,
    "overlap": 0,
    "window": 2,
    "minimum_area": 0,
    "minimum_added_area": 1,
    "threads": 1,
    "seed": 0,
}


@pytest.mark.parametrize("name", LEAST)
def test_the_least_value_is_accepted_and_less_is_refused(name: str) -> None:
    least = LEAST[name]
    assert getattr(EntitySettings(**{name: least}), name) == least
    with pytest.raises(ValueError, match=rf"{name} must be at least {least}, got {least - 1}"):
        EntitySettings(**{name: least - 1})


@pytest.mark.parametrize("name", ["size", "window", "threads"])
def test_what_may_be_none(name: str) -> None:
    assert getattr(EntitySettings(**{name: None}), name) is None


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"tile": 0, "overlap": 0}, "tile must be at least 1, got 0"),
        ({"tile": 64, "overlap": 64}, "overlap must be less than tile, got 64 and 64"),
        ({"bandwidth": 0.0}, "bandwidth must be above 0 and at most 90 degrees, got 0.0"),
        ({"bandwidth": 90.5}, "bandwidth must be above 0 and at most 90 degrees, got 90.5"),
        ({"bandwidth": float("nan")}, "bandwidth must be"),
        ({"minimum_score": -0.1}, "minimum_score must be between 0 and 1, got -0.1"),
        ({"minimum_score": 1.1}, "minimum_score must be between 0 and 1, got 1.1"),
        ({"minimum_score": float("nan")}, "minimum_score must be"),
        ({"memory": 0.0}, "memory must be above 0 GiB, got 0.0"),
        ({"memory": float("inf")}, "memory must be above 0 GiB"),
        ({"memory": float("nan")}, "memory must be above 0 GiB"),
        ({"scales": ()}, r"scales must be one or more growing numbers above 0, got \(\)"),
        ({"scales": (0.0, 1.0)}, "scales must be one or more growing"),
        ({"scales": (1.0, 1.0)}, "scales must be one or more growing"),
        ({"scales": (2.0, 1.0)}, "scales must be one or more growing"),
        ({"scales": (1.0, float("nan"))}, "scales must be one or more growing"),
        ({"scales": (1.0, float("inf"))}, "scales must be one or more growing"),
        ({"backbone": ""}, "backbone must be the name of a timm model"),
    ],
)
def test_wrong_values_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EntitySettings(**values)


def test_a_misspelt_background_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # the tests' type checks would come first
    with pytest.raises(ValueError, match="background must be one of unlabelled, void, got 'black'"):
        EntitySettings(background="black")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"bandwith": 3}, r"no setting 'bandwith' \(did you mean bandwidth\?\)"),
        ({"background": "black"}, "the setting background must be one of unlabelled, void, got 'black'"),
        ({"scales": [1, "two"]}, "the setting scales must be"),
        ({"bandwidth": 120}, "bandwidth must be above 0 and at most 90 degrees, got 120.0"),
    ],
)
def test_wrong_values_by_name_are_one_clear_error(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        build_settings(EntitySettings, values)


def test_the_most_pixels_are_those_whose_features_fit() -> None:
    assert EntitySettings(memory=1.0, dimensions=128).max_pixels == 2**30 // (4 * 128)
    assert EntitySettings(memory=1e-9).max_pixels == 1


def test_what_a_model_was_trained_with_cannot_be_changed(tmp_path: Path) -> None:
    """A model whose background has no line of its own would take some object's for it."""
    for stored, asked in (({}, "void"), ({"background": "void"}, "unlabelled")):
        config = ModelConfig("entity", stored)
        with pytest.raises(ModelError, match=f"for this model, which was trained with it; '{asked}' would make its"):
            build_model("m", config, tmp_path, {"background": asked})
    same = build_model("m", ModelConfig("entity", {"background": "void"}), tmp_path, {"background": "void", "trim": 1})
    assert (same.settings.background, same.settings.trim) == ("void", 1)
