"""The settings: the defaults are the paper's, and wrong values are named; what all settings share is tested for all."""

from pathlib import Path
from typing import Any

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


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"tile": 0, "overlap": 0}, "tile must be at least 1, got 0"),
        ({"tile": 64, "overlap": 64}, "overlap must be less than tile, got 64 and 64"),
        ({"bandwidth": 0.0}, "bandwidth must be above 0 and at most 90 degrees, got 0.0"),
        ({"bandwidth": 90.5}, "bandwidth must be above 0 and at most 90 degrees, got 90.5"),
        ({"bandwidth": float("nan")}, "bandwidth must be"),
        ({"memory": 0.0}, "memory must be above 0 GiB, got 0.0"),
        ({"memory": float("inf")}, "memory must be above 0 GiB"),
        ({"memory": float("nan")}, "memory must be above 0 GiB"),
        ({"scales": ()}, r"scales must be one or more growing numbers above 0, got \(\)"),
        ({"scales": (0.0, 1.0)}, "scales must be one or more growing"),
        ({"scales": (1.0, 1.0)}, "scales must be one or more growing"),
        ({"scales": (2.0, 1.0)}, "scales must be one or more growing"),
        ({"scales": (1.0, float("nan"))}, "scales must be one or more growing"),
        ({"scales": (1.0, float("inf"))}, "scales must be one or more growing"),
    ],
)
def test_wrong_values_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EntitySettings(**values)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"bandwith": 3}, r"no setting 'bandwith' \(did you mean bandwidth\?\)"),
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
