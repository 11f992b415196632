"""The settings: the defaults are torchvision's, and wrong values are named."""

from typing import Any

import pytest

from upseg.errors import ModelError
from upseg.methods.mask_rcnn.settings import MaskRcnnSettings
from upseg.settings import build_settings


def test_the_defaults_are_those_of_torchvision() -> None:
    settings = MaskRcnnSettings()
    assert (settings.channels, settings.box_width, settings.mask_width, settings.mask_layers) == (256, 1024, 256, 4)
    assert settings.anchor_sizes == (32, 64, 128, 256, 512)
    assert (settings.min_size, settings.max_size, settings.proposals) == (800, 1333, 1000)
    assert (settings.nms_threshold, settings.max_detections) == (0.5, 100)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"anchor_sizes": (8.0, 16.0)}, r"anchor_sizes must be 5 numbers of at least 1 pixel, .* got \(8.0, 16.0\)"),
        ({"anchor_sizes": (0.5, 1.0, 2.0, 4.0, 8.0)}, "anchor_sizes must be 5 numbers of at least 1 pixel"),
        ({"anchor_sizes": (8.0, 16.0, float("nan"), 64.0, 128.0)}, "anchor_sizes must be 5 numbers"),
        ({"anchor_sizes": (8.0, 16.0, 32.0, 64.0, float("inf"))}, "anchor_sizes must be 5 numbers"),
        ({"anchor_ratios": ()}, r"anchor_ratios must be one or more numbers above 0, got \(\)"),
        ({"anchor_ratios": (1.0, 0.0)}, "anchor_ratios must be one or more numbers above 0"),
        ({"min_size": 800, "max_size": 640}, r"min_size must be at most max_size \(640\), got 800"),
    ],
)
def test_wrong_values_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MaskRcnnSettings(**values)


def test_wrong_values_by_name_are_one_clear_error() -> None:
    with pytest.raises(ModelError, match=r"no setting 'anchor_size' \(did you mean anchor_sizes\?\)"):
        build_settings(MaskRcnnSettings, {"anchor_size": 3})
