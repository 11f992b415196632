"""What the settings of all methods keep: JSON can hold them, they do not change, and wrong values are named."""

import json
from dataclasses import FrozenInstanceError, asdict, dataclass
from typing import Any

import jaxtyping
import pytest

from upseg.errors import ModelError
from upseg.methods.baiseg.settings import BaisegSettings
from upseg.methods.dynaseg.class_settings import DynaSegClassesSettings
from upseg.methods.dynaseg.settings import DynaSegSettings
from upseg.methods.entity.extensions.cells.settings import CellSettings
from upseg.methods.entity.settings import EntitySettings
from upseg.methods.mask_rcnn.settings import MaskRcnnSettings
from upseg.methods.panoptic.settings import PanopticSettings
from upseg.settings import build_settings


@dataclass(frozen=True)
class Case:
    """Settings that differ from the defaults, and of which names what is said.

    Attributes:
        changed: Such settings.
        least: The names by the least value that is accepted; `free` goes with them.
        shares: What lies in [0, 1].
        optional: What may be None.
        misspelt: A choice that there is not, and those there are.
        free: What else has to be said for the least values to fit.
    """

    changed: Any
    least: dict[int, str]
    shares: str = ""
    optional: str = "threads"
    misspelt: tuple[str, str, str] | None = None
    free: Any = ()


CASES = {
    "baiseg": Case(
        BaisegSettings(semantic_width=None, size=416, flood="image", background=True, marker_ratio=0.8),
        {
            1: "width hidden contrast_module resolution semantic_width size max_pixels closing threads",
            0: "contrast_dimensions overlap dilations minimum_area boundary_depth",
        },
        shares="boundary_threshold minimum_score",
        optional="semantic_width size threads prominence distance_threshold",
        misspelt=("flood", "picture", "boundary, image"),
    ),
    "dynaseg": Case(
        DynaSegSettings(alpha=3.0, floor=4, seed=9),
        {1: "features clusters blocks floor crop working_pixels threads", 0: "steps weight_decay seed"},
        optional="alpha crop working_pixels detail threads",
        misspelt=("weighting", "sfs", "fsf, scf, fixed"),
    ),
    "dynaseg_classes": Case(
        DynaSegClassesSettings("cnn", clusters=20, size=None),
        {2: "clusters", 1: "features blocks size threads"},
        optional="size threads",
        misspelt=("extractor", "vgg", "cnn, resnet18-fpn, lite0-fpn"),
    ),
    "entity": Case(
        EntitySettings(size=None, scales=(1.0, 2.0), window=256, minimum_score=0.3),
        {
            2: "window positions",
            1: "channels dimensions size minimum_added_area threads",
            0: "overlap minimum_area minimum_thickness trim seed",
        },
        shares="minimum_score",
        optional="size window positions threads",
        misspelt=("background", "black", "unlabelled, void"),
    ),
    "cells": Case(
        CellSettings(diameter=30.0, flips=True),
        {64: "largest tile", 1: "passes threads", 0: "overlap border_weight smoothing minimum_area"},
        shares="foreground prominence minimum_score",
        free={"overlap": 0},
    ),
    "mask_rcnn": Case(
        MaskRcnnSettings(min_size=None, max_size=None, anchor_sizes=(8.0, 16.0, 32.0, 64.0, 128.0)),
        {
            1: "channels box_width mask_width mask_layers proposals max_detections"
            " min_size max_size threads minimum_area"
        },
        shares="minimum_score nms_threshold mask_threshold minimum_visible",
        optional="min_size max_size threads",
        free={"min_size": None},
    ),
    "panoptic": Case(
        PanopticSettings(
            patch=7,
            layers=(2, 4),
            heads=("instance", "depth"),
            encoding="bins",
            grid=(40, 60),
            maximum_depth=10.0,
            size=None,
        ),
        {1: "patch frequencies size threads"},
        shares="minimum_votes minimum_thing_area minimum_stuff_area minimum_score",
        optional="patch layers size threads maximum_depth",
        misspelt=("encoding", "bin", "positional, rgb, bins"),
    ),
}
LEAST = [(m, name, low) for m, case in CASES.items() for low, names in case.least.items() for name in names.split()]


def make(method: str, **values: Any) -> Any:
    return type(CASES[method].changed)(**values)


@pytest.mark.parametrize("method", CASES)
def test_json_can_hold_them(method: str) -> None:
    settings = CASES[method].changed
    assert settings != make(method)
    assert build_settings(type(settings), json.loads(json.dumps(asdict(settings), allow_nan=False))) == settings


@pytest.mark.parametrize("method", CASES)
def test_they_do_not_change(method: str) -> None:
    with pytest.raises(FrozenInstanceError):
        make(method).threads = 1


@pytest.mark.parametrize(("method", "name", "least"), LEAST)
def test_the_least_value_is_accepted_and_less_is_refused(method: str, name: str, least: int) -> None:
    free = dict(CASES[method].free)
    number = type(getattr(make(method), name))
    low, less = (number(least), number(least - 1)) if number is float else (least, least - 1)
    assert getattr(make(method, **{**free, name: low}), name) == least
    with pytest.raises(ValueError, match=rf"{name} must be at least {least}, got {less}"):
        make(method, **{**free, name: less})


@pytest.mark.parametrize(("method", "name"), [(m, name) for m, case in CASES.items() for name in case.shares.split()])
def test_shares_are_from_0_to_1(method: str, name: str) -> None:
    for share in (0.0, 1.0):
        assert getattr(make(method, **{name: share}), name) == share
    for wrong in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match=rf"{name} must be between 0 and 1, got {wrong}"):
            make(method, **{name: wrong})


@pytest.mark.parametrize(("method", "name"), [(m, name) for m, case in CASES.items() for name in case.optional.split()])
def test_what_may_be_none(method: str, name: str) -> None:
    assert getattr(make(method, **{name: None}), name) is None


@pytest.mark.parametrize("method", [method for method in CASES if hasattr(make(method), "backbone")])
def test_a_backbone_has_a_name(method: str) -> None:
    with pytest.raises(ValueError, match="backbone must be the name of a timm model, got an empty text"):
        make(method, backbone="")


@pytest.mark.parametrize("method", [method for method, case in CASES.items() if case.misspelt])
def test_a_misspelt_choice_is_refused(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name, value, choices = CASES[method].misspelt or ("", "", "")
    with pytest.raises(ModelError, match=f"the setting {name} must be one of {choices}, got '{value}'"):
        build_settings(type(CASES[method].changed), {name: value})
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # the tests' type checks would come first
    with pytest.raises(ValueError, match=f"{name} must be one of {choices}, got '{value}'"):
        make(method, **{name: value})
