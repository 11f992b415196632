"""Ranges of the numbers in settings and weights of losses; one that is outside raises an error that names it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from functools import cache
from types import MappingProxyType
from typing import Any, Literal, get_args, get_origin, get_type_hints

MOST_ENTRIES = 256
"""Of a setting that is a list."""


MOST: Mapping[str, int] = MappingProxyType(
    {
        **dict.fromkeys(("threads",), 1024),
        **dict.fromkeys(("channels", "width", "hidden", "semantic_width", "box_width", "mask_width"), 4096),
        **dict.fromkeys(("decoder_channels", "features", "dimensions", "contrast_dimensions", "grid"), 4096),
        **dict.fromkeys(("blocks", "cascade", "mask_layers", "frequencies", "layers"), 256),
        **dict.fromkeys(("size", "min_size", "max_size", "resolution", "semantic_resolution", "patch"), 16_384),
        **dict.fromkeys(("clusters", "floor", "proposals", "max_detections", "positions", "closing"), 65_536),
        **dict.fromkeys(("tile", "overlap", "window", "crop", "dilations", "trim", "minimum_thickness"), 1 << 20),
        **dict.fromkeys(("steps", "scales", "anchor_sizes"), 10_000_000),
        **dict.fromkeys(("working_pixels", "max_pixels", "minimum_area", "minimum_added_area"), 1 << 40),
        **dict.fromkeys(("memory",), 1 << 16),
        **dict.fromkeys(("seed",), (1 << 63) - 1),
    }
)
"""What no setting of that name sensibly exceeds, whatever the method: models come from elsewhere, and a number too
large takes all memory, or ends the process in a library, before anything can be said about it."""


LEAST: Mapping[str, int] = MappingProxyType(
    {
        **dict.fromkeys(("channels", "width", "hidden", "semantic_width", "box_width", "mask_width", "features"), 1),
        **dict.fromkeys(("dimensions", "blocks", "cascade", "contrast_module", "mask_layers", "frequencies"), 1),
        **dict.fromkeys(("size", "min_size", "max_size", "resolution", "semantic_resolution", "patch", "crop"), 1),
        **dict.fromkeys(("clusters", "floor", "proposals", "max_detections", "closing", "tile", "passes"), 1),
        **dict.fromkeys(("working_pixels", "max_pixels", "minimum_added_area", "threads"), 1),
        **dict.fromkeys(("positions", "window"), 2),
        **dict.fromkeys(("contrast_dimensions", "overlap", "dilations", "steps", "trim", "minimum_thickness"), 0),
        **dict.fromkeys(("minimum_area", "weight_decay", "border_weight", "boundary_depth", "smoothing", "seed"), 0),
    }
)
"""What a setting of that name must be at least, where the method says nothing else."""


def check_ranges(settings: Any, *, shares: Iterable[str] = (), **least: int) -> None:
    """What the settings of all methods are checked for, by their names and types.

    Args:
        settings: A dataclass.
        shares: Which must be in [0, 1].
        **least: What some must be at least, other than `LEAST` has it.

    Raises:
        ValueError: If one is less, or is not one of its choices, or there is no name of a backbone.
    """
    for name, choices in _choices(settings.__class__).items():
        if getattr(settings, name) not in choices:
            raise ValueError(f"{name} must be one of {', '.join(choices)}, got {getattr(settings, name)!r}")
    names = settings.__dataclass_fields__
    check_least(settings, {name: low for name, low in {**LEAST, **least}.items() if name in names})
    if "backbone" in names and not settings.backbone:
        raise ValueError("backbone must be the name of a timm model, got an empty text")
    check_shares(settings, shares)


@cache
def _choices(kind: type) -> dict[str, tuple[str, ...]]:
    hints = get_type_hints(kind)
    return {name: get_args(annotation) for name, annotation in hints.items() if get_origin(annotation) is Literal}


def check_most(settings: Mapping[str, Any]) -> None:
    """Numbers, and each number of tuples, must be finite and at most what `MOST` says of their name.

    Raises:
        ValueError: If one is larger.
    """
    for name, value in settings.items():
        numbers = value if isinstance(value, list | tuple) else (value,)
        if len(numbers) > MOST_ENTRIES:
            raise ValueError(f"{name} must have at most {MOST_ENTRIES} entries, got {len(numbers)}")
        for number in numbers:
            if isinstance(number, bool) or not isinstance(number, int | float):
                continue
            if isinstance(number, float) and not math.isfinite(number):
                raise ValueError(f"{name} must be finite, got {number}")
            most = MOST.get(name, MOST["seed"])
            if abs(number) > most:
                raise ValueError(f"{name} must be at most {most}, got {_short(number)}")


def _short(number: int | float) -> str:
    """A number in a few characters; Python refuses to write out very long ones."""
    return str(number) if abs(number) < 10**30 else "one of more than 30 digits"


def check_least(settings: Any, least: Mapping[str, int | float]) -> None:
    """Attributes of an object must be numbers of at least so much, by name; None, texts and tuples pass.

    Raises:
        ValueError: If one is less, or no number.
    """
    for name, low in least.items():
        value = getattr(settings, name)
        if value is not None and not isinstance(value, str | tuple) and not value >= low:
            raise ValueError(f"{name} must be at least {low}, got {value}")


def check_shares(settings: Any, names: Iterable[str]) -> None:
    """Attributes must be numbers in [0, 1].

    Raises:
        ValueError: If one is outside.
    """
    for name in names:
        value = getattr(settings, name)
        if not 0 <= value <= 1:
            raise ValueError(f"{name} must be between 0 and 1, got {value}")


def check_loss_weights(weights: Any, names: Iterable[str]) -> None:
    """Attributes must be finite numbers of at least 0.

    Raises:
        ValueError: If one is outside.
    """
    for name in names:
        value = getattr(weights, name)
        if not 0 <= value < math.inf:
            raise ValueError(f"the weight {name} must be a finite number of at least 0, got {value}")
