"""How the parts of a scene look: colour, texture, relief under a light, rims."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64
from scipy import ndimage

from upseg.data.shapes.outlines import Raster, pixel_centres
from upseg.data.shapes.settings import Difficulty
from upseg.data.shapes.textures import TEXTURES

Colour = Float32[np.ndarray, " 3"]


@dataclass(frozen=True)
class Style:
    """What all parts of one scene share.

    Attributes:
        palette: (P, 3) RGB from which most colours come.
        light: Unit vector (row, column, towards the viewer) to the light.
        shading: How much shading there is, 0 to 1.
        shadow: How dark shadows are, 0 to 1.
        haze: RGB of the haze.
        haze_density: Share of the colour that is lost to haze on each metre.
        monochrome: Whether the picture will be grey.
    """

    palette: Float32[np.ndarray, "p 3"]
    light: Float64[np.ndarray, " 3"]
    shading: float
    shadow: float
    haze: Colour
    haze_density: float
    monochrome: bool


@dataclass(frozen=True)
class Look:
    """What the members of a group share.

    Attributes:
        texture: Name of the texture.
        angle: Its direction in radians.
        period: Its period in pixels.
        accent: RGB added where the texture is 1, taken away where it is -1.
        relief: Steepness of the surface: 0 flat.
        domed: Whether it is round like a ball, or bevelled along the border.
        rim: Brightness added along the border; negative is dark.
        seed: Makes the texture's choices the same for all.
    """

    texture: str
    angle: float
    period: float
    accent: Colour
    relief: float
    domed: bool
    rim: float
    seed: int


def random_style(rng: np.random.Generator, settings: Difficulty) -> Style:
    """Light, haze and a palette with few or many hues."""
    hues = (rng.random() + rng.uniform(0, rng.choice([0.15, 0.5, 1.0]), 6))[:, None]
    pure = 0.5 + 0.5 * np.cos(2 * np.pi * (hues + np.array([0, 1 / 3, 2 / 3])))
    saturation, value = rng.uniform(0.05, 0.95) * rng.uniform(0.4, 1, (6, 1)), rng.uniform(0.15, 1.0, (6, 1))
    slope, turn = rng.uniform(0.5, 1.2), rng.uniform(0, 2 * np.pi)
    lit = rng.random() < 0.8
    return Style(
        palette=(value * (1 - saturation + saturation * pure)).astype(np.float32),
        light=np.array([np.sin(slope) * np.sin(turn), np.sin(slope) * np.cos(turn), np.cos(slope)]),
        shading=settings.lighting * rng.uniform(0.4, 1.0) if lit else 0.0,
        shadow=settings.lighting * rng.uniform(0.2, 0.7) if lit and rng.random() < 0.7 else 0.0,
        haze=rng.uniform(0.4, 0.95, 3).astype(np.float32),
        haze_density=settings.lighting * rng.choice([0.0, rng.uniform(0.02, 0.12)]),
        monochrome=bool(rng.random() < 0.12),
    )


def random_look(rng: np.random.Generator, texture: str, settings: Difficulty, radius: float, *, is_thing: bool) -> Look:
    """A look for a shape of this radius in pixels, or for a background whose pattern has about this size."""
    low, high = settings.texture
    strength = low + (high - low) * rng.random()
    hue = rng.normal(0, 1, 3) + rng.choice([-2, 2])  # mostly light and dark
    solid = is_thing and rng.random() < 0.7
    return Look(
        texture=texture,
        angle=rng.uniform(0, 2 * np.pi),
        period=max(radius * rng.uniform(0.25, 0.9), 4.0),
        accent=(strength * hue / np.linalg.norm(hue)).astype(np.float32),
        relief=rng.uniform(0.3, 1.5) if solid else 0.0,
        domed=bool(rng.random() < 0.6),
        rim=float(rng.choice([-0.5, 0.4])) * rng.random() if is_thing and rng.random() < 0.3 else 0.0,
        seed=int(rng.integers(2**32)),
    )


def contrasting(rng: np.random.Generator, beneath: Colour, style: Style, contrast: float) -> Colour:
    """The colour at a given distance from what lies beneath, towards one of the palette, within [0.02, 0.98].

    Of both directions along the line through the two, the one is taken that the limits allow to go further.
    """
    wish = style.palette[rng.integers(len(style.palette))]
    direction = (wish - beneath).astype(np.float64) + rng.normal(0, 0.02, 3)
    if style.monochrome:
        direction[:] = direction.mean()
    direction *= contrast / np.linalg.norm(direction)
    candidates = [np.clip(beneath + sign * direction, 0.02, 0.98) for sign in (1, -1)]
    reached = [np.linalg.norm(candidate - beneath) for candidate in candidates]
    return np.asarray(candidates[int(reached[1] > 1.05 * reached[0])], np.float32)


def textured(
    look: Look, colour: Colour, raster: Raster, anchor: Float64[np.ndarray, " 2"]
) -> Float32[np.ndarray, "h w 3"]:
    """Fill a shape's box with colour and texture.

    Args:
        look: Which texture, and how.
        colour: Where the texture is 0.
        raster: The shape.
        anchor: Where in the image, in pixels, the texture's coordinates begin.
    """
    rows, columns = pixel_centres(raster)
    rows, columns = (rows - anchor[0]) / look.period, (columns - anchor[1]) / look.period
    along, across = np.cos(look.angle), np.sin(look.angle)
    u = (along * rows + across * columns).astype(np.float32)
    v = (along * columns - across * rows).astype(np.float32)
    field = TEXTURES[look.texture](np.random.default_rng(look.seed), u, v)
    return np.asarray(colour + field[..., None] * look.accent)


def surface(look: Look, raster: Raster) -> tuple[Float32[np.ndarray, "h w"], Float32[np.ndarray, "h w"]]:
    """Height of a shape above its plane, 0 to 1, and distance of its pixels from its border in pixels."""
    needed = look.relief or look.rim
    if not needed or raster.inside.all():
        return np.ones(raster.inside.shape, np.float32), np.full(raster.inside.shape, np.inf, np.float32)
    distance = ndimage.distance_transform_edt(raster.inside).astype(np.float32)
    share = distance / max(float(distance.max()), 1.0)
    height = np.sqrt(share * (2 - share)) if look.domed else np.minimum(share * np.float32(2.5), 1)
    return height, distance


def shade(
    look: Look, style: Style, height: Float32[np.ndarray, "h w"], distance: Float32[np.ndarray, "h w"]
) -> Float32[np.ndarray, "h w"]:
    """Brightness factor of each pixel: 1 where the surface faces the viewer, more towards the light."""
    factor = np.ones(height.shape, np.float32)
    if look.relief and style.shading and min(height.shape) > 1:
        bulge = look.relief * float(np.max(distance, initial=0, where=np.isfinite(distance)))
        down, right = np.gradient(height * np.float32(bulge))
        toward = style.light[2] - style.light[0] * down - style.light[1] * right
        facing = toward / (style.light[2] * np.sqrt(1 + down**2 + right**2))
        factor += np.float32(style.shading) * (np.clip(facing, 0.25, 1.7).astype(np.float32) - 1)
    if look.rim:
        factor += np.float32(look.rim) * (distance <= max(1.5, 0.12 * float(distance.max())))
    return factor
