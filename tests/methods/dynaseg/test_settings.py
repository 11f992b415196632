"""The settings: the paper's preset is the paper's, and wrong values are named."""

import json
from dataclasses import asdict, fields
from typing import Any, get_args, get_type_hints

import jaxtyping
import pytest

from upseg.errors import ModelError
from upseg.methods.dynaseg.equations import WEIGHTINGS
from upseg.methods.dynaseg.settings import PAPER_ALPHA, PRESETS, DynaSegSettings
from upseg.settings import build_settings


def test_the_paper_preset_is_the_setting_of_the_paper() -> None:
    settings = DynaSegSettings.preset("paper")
    assert (settings.extractor, settings.blocks, settings.features, settings.clusters) == ("cnn", 3, 100, 100)
    assert (settings.steps, settings.learning_rate, settings.momentum) == (1000, 0.1, 0.9)
    assert (settings.crop, settings.precision, settings.working_pixels) == (None, "float32", None)
    assert (settings.grouping, settings.weighting, settings.floor) == ("labels", "fsf", "silhouette")


@pytest.mark.parametrize(("weighting", "alpha"), [("fsf", 15), ("scf", 50), ("fixed", 5)])
def test_alpha_is_that_of_the_weighting_unless_it_is_given(weighting: str, alpha: float) -> None:
    assert DynaSegSettings.preset("paper", weighting=weighting).balance == alpha
    assert DynaSegSettings(weighting=weighting, alpha=2.5).balance == 2.5


def test_there_is_an_alpha_and_a_choice_for_each_weighting() -> None:
    assert PAPER_ALPHA.keys() == WEIGHTINGS.keys() == set(get_args(get_type_hints(DynaSegSettings)["weighting"]))


def test_the_default_preset_is_what_the_class_gives() -> None:
    assert DynaSegSettings.preset() == DynaSegSettings.preset("default") == DynaSegSettings() == PRESETS["default"]


def test_a_preset_with_changes_differs_in_just_these() -> None:
    changed = DynaSegSettings.preset("paper", seed=4, steps=7)
    differing = {f.name for f in fields(changed) if getattr(changed, f.name) != getattr(PRESETS["paper"], f.name)}
    assert differing == {"seed", "steps"}
    assert (changed.seed, changed.steps) == (4, 7)


def test_an_unknown_preset_is_named_with_those_there_are() -> None:
    with pytest.raises(ValueError, match="the presets are default, paper, resnet, got 'papper'"):
        DynaSegSettings.preset("papper")


def test_labels_are_those_of_a_fitted_network() -> None:
    with pytest.raises(ValueError, match=r"grouping=labels .* steps=30"):
        DynaSegSettings.preset(grouping="labels")


def test_the_preset_resnet_is_the_papers_with_its_other_extractor() -> None:
    assert DynaSegSettings.preset("resnet") == DynaSegSettings.preset("paper", extractor="resnet18-fpn")


@pytest.mark.parametrize("preset", PRESETS)
def test_json_can_hold_them(preset: str) -> None:
    settings = DynaSegSettings.preset(preset, alpha=3.0, floor=4, seed=9)
    assert DynaSegSettings(**json.loads(json.dumps(asdict(settings), allow_nan=False))) == settings


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"learning_rate": 0.0}, "learning_rate must be above 0 and momentum in .*got 0.0 and 0.9"),
        ({"learning_rate": float("nan")}, "learning_rate must be above 0"),
        ({"momentum": 1.0}, "momentum in .* and 1.0"),
        ({"momentum": -0.1}, "momentum in .* and -0.1"),
        ({"weight_decay": float("nan")}, "weight_decay must be at least 0, got nan"),
        ({"alpha": 0.0}, "alpha must be above 0, got 0.0"),
        ({"alpha": float("nan")}, "alpha must be above 0, got nan"),
        ({"detail": -0.01}, "detail must be between 0 .* and 1 .*, got -0.01"),
        ({"detail": 1.01}, "detail must be between"),
        ({"detail": float("nan")}, "detail must be between"),
        ({"detail": 0.3, "grouping": "labels"}, "detail chooses a level of the region hierarchy"),
        ({"pretrained": True}, "belong to the extractor resnet18-fpn, but it is cnn"),
        ({"weights": "resnet18.safetensors"}, "belong to the extractor resnet18-fpn"),
        (
            {"extractor": "resnet18-fpn", "pretrained": True, "weights": "resnet18.safetensors"},
            "either pretrained or weights, not both",
        ),
    ],
)
def test_wrong_values_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DynaSegSettings(**values)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"extractor": "vgg"}, "extractor must be one of cnn, resnet18-fpn, got 'vgg'"),
        ({"precision": "float16"}, "precision must be one of bfloat16, float32, got 'float16'"),
        ({"grouping": "label"}, "grouping must be one of hierarchy, labels, got 'label'"),
        ({"floor": "silhuette"}, "floor must be a number or silhouette, got 'silhuette'"),
    ],
)
def test_misspelt_choices_are_refused(values: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # the tests' type checks would come first
    with pytest.raises(ValueError, match=message):
        DynaSegSettings(**values)


def test_detail_with_the_paper_preset_says_what_to_do() -> None:
    with pytest.raises(ValueError, match="use the preset default, or grouping=hierarchy"):
        DynaSegSettings.preset("paper", detail=0.2)
    assert DynaSegSettings.preset("paper", detail=0.2, grouping="hierarchy").detail == 0.2


@pytest.mark.parametrize("detail", [0.0, 1.0, None])
def test_the_ends_of_detail_are_allowed(detail: float | None) -> None:
    assert DynaSegSettings(detail=detail).detail == detail


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"steps": "ten"}, "the setting steps must be a whole number, got 'ten'"),
        ({"floor": "three"}, "the setting floor must be one of silhouette or a whole number, got 'three'"),
        ({"extractor": "vgg"}, "the setting extractor must be one of cnn, resnet18-fpn, got 'vgg'"),
        ({"step": 3}, r"no setting 'step' \(did you mean steps\?\)"),
        ({"detail": 2}, "detail must be between 0"),
    ],
)
def test_wrong_values_by_name_are_one_clear_error(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        build_settings(DynaSegSettings, values)


def test_values_by_name_reach_the_settings() -> None:
    built = build_settings(DynaSegSettings, {"detail": 1, "crop": None, "floor": 5}, preset="default")
    assert built == DynaSegSettings(detail=1.0, crop=None, floor=5)


@pytest.mark.parametrize(("old", "expected"), [(True, "imagenet"), ("false", "colour")])
def test_the_former_setting_imagenet_is_understood(old: object, expected: str) -> None:
    assert build_settings(DynaSegSettings, {"imagenet": old}).compare_by == expected


def test_a_resnet_is_pretrained_unless_it_has_weights_or_is_told_otherwise() -> None:
    cases = ({}, {"weights": "resnet18.safetensors"}, {"pretrained": False})
    resnets = [DynaSegSettings.preset("paper", extractor="resnet18-fpn", **changes) for changes in cases]
    assert [settings.downloads_weights for settings in resnets] == [True, False, False]
    assert not DynaSegSettings.preset("paper").downloads_weights
