"""How hard made-up scenes are, and which classes they have."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from upseg.segmentation import Category

Range = tuple[float, float]

_THING_NAMES = ("ellipse", "polygon", "star", "ring", "curve", "blob", "crescent", "cross", "creature", "cell")
_STUFF_NAMES = ("plain", "stripes", "checks", "dots", "clouds", "mosaic", "bricks", "ripples", "grain", "wood")

THINGS = {name: Category(number, name, True) for number, name in enumerate(_THING_NAMES, start=1)}
"""The classes of countable shapes, told apart by their outline."""

STUFF = {name: Category(number, name, False) for number, name in enumerate(_STUFF_NAMES, start=len(_THING_NAMES) + 1)}
"""The classes of background, told apart by their texture."""

CATEGORIES = (*THINGS.values(), *STUFF.values())
"""All classes in order of id, 1 to 20."""


@dataclass(frozen=True, slots=True)
class Difficulty:
    """What makes a scene easy or hard. Each pair is a range from which a scene, or a shape in it, draws its own value.

    Attributes:
        things: How many shapes are planned; those that would hide another one too much are not drawn.
        stuff: How many background regions are laid over each other; those with one texture are one segment.
        size: Radius of a shape in middle distance, as a share of the square root of the image's area.
        thickness: Width of the thin parts (strokes, limbs, rims), as a share of the shape's radius; never thinner than
            1.6 pixels.
        grouped: Probability that a shape stands in a group of its class: touching, packed like cells, or in rows.
        occlusion: The largest share of a shape that others may hide.
        contrast: Euclidean distance in RGB between a shape's colour and the mean of what lies behind it.
        texture: Amplitude of the textures, in RGB.
        camouflage: Probability that a shape has the texture that one of the background's regions has.
        lighting: Strength of shading, shadows, haze and uneven light, 0 to 1.
        blur: Standard deviation in pixels of an image of 128 x 128; larger images have more in proportion.
        noise: Standard deviation of the noise at every pixel, in RGB.
    """

    things: tuple[int, int]
    stuff: tuple[int, int]
    size: Range
    thickness: Range
    grouped: float
    occlusion: float
    contrast: Range
    texture: Range
    camouflage: float
    lighting: float
    blur: Range
    noise: Range

    def __post_init__(self) -> None:
        for name in (field.name for field in fields(self)):
            value = getattr(self, name)
            low, high = value if isinstance(value, tuple) else (value, value)
            if not 0 <= low <= high:
                raise ValueError(f"{name} must be at least 0 and a range must not end before it begins, got {value}")
        for name in ("grouped", "occlusion", "camouflage", "lighting"):
            if getattr(self, name) > 1:
                raise ValueError(f"{name} must be in [0, 1], got {getattr(self, name)}")
        if self.stuff[0] < 1 or self.size[0] <= 0:
            raise ValueError(f"a scene needs a background and shapes a size, got stuff={self.stuff}, size={self.size}")

    @classmethod
    def at(cls, level: float) -> Difficulty:
        """The setting at a level from 0 (few large clear shapes) to 1 (crowded, faint, noisy).

        Raises:
            ValueError: If the level is not in [0, 1].
        """
        if not 0 <= level <= 1:
            raise ValueError(f"difficulty must be in [0, 1], or a Difficulty, got {level}")
        values: dict[str, Any] = {}
        for field in fields(cls):
            ends = np.array([getattr(EASY, field.name), getattr(HARD, field.name)])
            between = (1 - level) * ends[0] + level * ends[1]
            # numbers of shapes and regions are whole, as in the two ends
            values[field.name] = between.tolist() if ends.dtype.kind == "f" else np.rint(between).astype(int).tolist()
            if ends.ndim == 2:
                values[field.name] = tuple(values[field.name])
        return cls(**values)


_EASY_AND_HARD: dict[str, tuple[Any, Any]] = {
    "things": ((2, 5), (10, 45)),
    "stuff": ((1, 3), (2, 7)),
    "size": ((0.14, 0.30), (0.03, 0.22)),
    "thickness": ((0.25, 0.40), (0.05, 0.25)),
    "grouped": (0.15, 0.7),
    "occlusion": (0.15, 0.75),
    "contrast": ((0.45, 0.9), (0.07, 0.6)),
    "texture": ((0.08, 0.25), (0.04, 0.55)),
    "camouflage": (0.0, 0.6),
    "lighting": (0.4, 1.0),
    "blur": ((0.0, 0.3), (0.0, 1.4)),
    "noise": ((0.0, 0.01), (0.0, 0.09)),
}
EASY, HARD = (Difficulty(**{name: ends[end] for name, ends in _EASY_AND_HARD.items()}) for end in (0, 1))
