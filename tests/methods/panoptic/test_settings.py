"""The settings: the defaults are the paper's, and wrong values are named; what all settings share is tested for all."""

from typing import Any

import pytest

from upseg.errors import ModelError
from upseg.methods.panoptic.settings import PanopticSettings
from upseg.settings import build_settings


def test_the_defaults_are_those_of_the_paper() -> None:
    settings = PanopticSettings()
    assert (settings.backbone, settings.patch, settings.layers) == ("vit_base_patch14_dinov2", None, None)
    assert (settings.encoding, settings.frequencies) == ("positional", 4)
    assert settings.heads == ("semantic", "instance")
    assert settings.size == 840


@pytest.mark.parametrize(
    "heads",
    [("instance",), ("semantic",), ("semantic", "depth"), ("instance", "depth"), ("semantic", "instance", "depth")],
)
def test_any_heads_that_give_segments(heads: tuple[str, ...]) -> None:
    assert PanopticSettings(heads=heads).heads == heads


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"heads": ()}, "heads must be semantic, instance or both, and depth if wanted, got none"),
        ({"heads": ("depth",)}, "heads must be semantic, instance or both, and depth if wanted, got depth"),
        ({"heads": ("semantic", "boxes")}, "heads must be semantic, .* got semantic, boxes"),
        ({"heads": ("instance", "semantic")}, "listed once each in the order semantic, instance, depth"),
        ({"heads": ("instance", "instance")}, "listed once each in the order semantic, instance, depth"),
        ({"maximum_depth": 10.0}, "maximum_depth must be above 0 metres, and given only with the head depth"),
        ({"maximum_depth": 0.0, "heads": ("instance", "depth")}, "maximum_depth must be above 0 metres"),
        ({"maximum_depth": float("inf"), "heads": ("instance", "depth")}, "maximum_depth must be above 0 metres"),
        ({"layers": ()}, r"layers must be growing numbers from 1, got \(\)"),
        ({"layers": (0, 3)}, "layers must be growing numbers from 1"),
        ({"layers": (3, 3)}, "layers must be growing numbers from 1"),
        ({"decoder_channels": ()}, "decoder_channels must be one or more numbers from 1"),
        ({"decoder_channels": (8, 0)}, "decoder_channels must be one or more numbers from 1"),
        ({"grid": (80, 1)}, "grid must have at least 2 rows and 2 columns"),
        ({"suppression_radius": -1.0}, "suppression_radius must be finite and at least 0, got -1.0"),
        ({"suppression_radius": float("inf")}, "suppression_radius must be finite"),
        ({"suppression_radius": float("nan")}, "suppression_radius must be finite"),
    ],
)
def test_wrong_values_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PanopticSettings(**values)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"head": ["semantic"]}, r"no setting 'head' \(did you mean heads\?\)"),
        ({"grid": [80]}, "the setting grid must be"),
        ({"minimum_score": 2}, "minimum_score must be between 0 and 1, got 2.0"),
    ],
)
def test_wrong_values_by_name_are_one_clear_error(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        build_settings(PanopticSettings, values)
