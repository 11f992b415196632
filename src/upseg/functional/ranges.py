"""Ranges of the numbers in settings and weights of losses; one that is outside raises an error that names it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any


def check_least(settings: Any, least: Mapping[str, int | float]) -> None:
    """Attributes must be numbers of at least so much; None and texts stand for a choice, and pass.

    Args:
        settings: An object with these attributes.
        least: The bound of each, by name.

    Raises:
        ValueError: If one is less, or no number.
    """
    for name, low in least.items():
        value = getattr(settings, name)
        if value is not None and not isinstance(value, str) and not value >= low:
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
