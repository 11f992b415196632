"""The settings: the defaults are the paper's, and wrong values are named; what all settings share is tested for all."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from upseg.errors import ModelError
from upseg.methods.baiseg.settings import BaisegSettings
from upseg.models.folders import ModelConfig
from upseg.models.registry import build_model
from upseg.settings import build_settings


def test_the_defaults_are_those_of_the_paper() -> None:
    settings = BaisegSettings()
    assert (settings.backbone, settings.cascade, settings.hidden) == ("hrnet_w48", 4, 128)
    assert (settings.fusion, settings.attention, settings.refine) == (True, True, True)
    assert (settings.contrast_dimensions, settings.contrast_module) == (1, 2)
    assert settings.closing == 5


def test_the_preset_paper_is_its_appendix_over_what_a_model_was_trained_with(tmp_path: Path) -> None:
    stored = asdict(BaisegSettings(minimum_area=7, marker_ratio=0.8))
    config = ModelConfig("baiseg", stored)
    paper = build_model("m", config, tmp_path, {"preset": "paper"}).settings
    assert paper == BaisegSettings(minimum_area=7, marker_ratio=0.8, dilations=2, distance_threshold=0.5, flood="image")
    assert build_model("m", config, tmp_path, {"preset": "paper", "dilations": 1}).settings.dilations == 1
    assert build_model("m", config, tmp_path, {"preset": "default"}).settings == BaisegSettings(**stored)
    with pytest.raises(ModelError, match="the presets of baiseg are default, paper, got 'papre'"):
        build_model("m", config, tmp_path, {"preset": "papre"})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"cascade": 0}, "cascade must be at least 1, got 0"),
        ({"cascade": 1}, "contrast_module must be one of the 1 fusion modules, got 2"),
        ({"resolution": 6, "semantic_resolution": 12}, "resolution must be a power of 2, got 6"),
        ({"semantic_resolution": 6}, r"semantic_resolution must be a multiple of resolution \(4\), got 6"),
        ({"semantic_resolution": 0}, "semantic_resolution must be at least 1, got 0"),
        ({"tile": 31, "overlap": 0}, "tile must be at least 32, got 31"),
        ({"tile": 64, "overlap": 64}, r"overlap must be less than tile \(64\), got 64"),
        ({"marker_ratio": 0.0}, "marker_ratio must be above 0 and at most 1, got 0.0"),
        ({"marker_ratio": 1.1}, "marker_ratio must be above 0 and at most 1, got 1.1"),
        ({"marker_ratio": float("nan")}, "marker_ratio must be"),
        ({"prominence": 0.0}, "prominence must be above 0, got 0.0"),
        ({"prominence": 1.0, "distance_threshold": 0.5}, "both say what is a marker"),
        ({"closing": 4}, "closing must be odd, got 4"),
    ],
)
def test_wrong_values_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BaisegSettings(**values)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"refined": True}, r"no setting 'refined' \(did you mean refine\?\)"),
        ({"marker_ratio": 2}, "marker_ratio must be above 0 and at most 1, got 2.0"),
    ],
)
def test_wrong_values_by_name_are_one_clear_error(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        build_settings(BaisegSettings, values)
