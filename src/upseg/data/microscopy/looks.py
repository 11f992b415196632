"""What else an image of the same cells could look like: colours, light, focus, noise, files."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float, Float32
from PIL import Image
from scipy import ndimage

from upseg.data.microscopy.stains import restain, stain_virtually, texture

Pixels = Float32[np.ndarray, "h w 3"]
GREY = 0.02
"""Images whose channels differ by no more on average are grey."""


def recolour(image: Pixels, inside: Bool[np.ndarray, "h w"], rng: np.random.Generator) -> Pixels:
    """Other dyes, other false colours, or the negative.

    Args:
        image: (H, W, 3) in [0, 1].
        inside: (H, W) where objects are; decides whether they are brighter than the rest.
        rng: Where all choices come from.
    """
    if _is_grey(image):
        return _recolour_grey(image[..., 1], _objects_are_bright(image, inside), rng)
    choice = rng.random()
    if choice < 0.2:
        return image
    if choice < 0.7:
        return restain(image, rng)
    if choice < 0.8:
        return np.ascontiguousarray(image[..., rng.permutation(3)])
    if choice < 0.95:
        grey = image @ rng.dirichlet((1.0, 1.0, 1.0)).astype(np.float32)
        return _tripled(1 - grey if rng.random() < 0.4 else grey)
    return 1 - image


def photograph(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Light, focus, noise and compression of an image in [0, 1], each now and then, as `rng` has it.

    Returns:
        (H, W, 3) in [0, 1].
    """
    for probability, change in _CHANGES:
        if rng.random() < probability:
            image = change(image, rng)
    return _limited(image)


def _recolour_grey(grey: Float32[np.ndarray, "h w"], bright: bool, rng: np.random.Generator) -> Pixels:
    choice = rng.random()
    if choice < 0.45:
        return _tripled(grey)
    if choice < 0.57:
        return _tripled(1 - grey)
    if choice < 0.75:
        return _tinted(grey, rng)
    return stain_virtually(grey if bright else 1 - grey, rng)


def _tinted(grey: Float32[np.ndarray, "h w"], rng: np.random.Generator) -> Pixels:
    """Fluorescence in a colour; sometimes with another dye, which has nothing to do with the objects, in a second."""
    colour = rng.dirichlet((0.4, 0.4, 0.4)).astype(np.float32)
    tinted = grey[..., None] * (colour / colour.max())
    if rng.random() < 0.4:
        other = np.maximum(texture(grey.shape, rng, rng.uniform(2, 20)), 0) * rng.uniform(0.05, 0.35)
        tinted = np.maximum(tinted, other[..., None] * rng.dirichlet((0.4, 0.4, 0.4)) * 2)
    return _limited(tinted)


def _is_grey(image: Pixels) -> bool:
    red, green, blue = np.moveaxis(image, 2, 0)  # ptp over the last axis takes six times as long
    spread = np.maximum(np.maximum(red, green), blue) - np.minimum(np.minimum(red, green), blue)
    return float(spread.mean()) <= GREY


def _objects_are_bright(image: Pixels, inside: Bool[np.ndarray, "h w"]) -> bool:
    if not inside.any() or inside.all():
        return bool(image.mean() < 0.5)
    return bool(image[inside].mean() > image[~inside].mean())


def _tripled(grey: Float32[np.ndarray, "h w"]) -> Pixels:
    return np.repeat(grey[..., None].astype(np.float32), 3, axis=2)


def _limited(image: Float[np.ndarray, "h w 3"]) -> Pixels:
    return np.asarray(np.clip(image, 0, 1).astype(np.float32))


def _exponent(image: Pixels, rng: np.random.Generator) -> Pixels:
    return np.asarray(_limited(image) ** np.float32(np.exp(rng.uniform(-0.7, 0.7))))


def _contrast(image: Pixels, rng: np.random.Generator) -> Pixels:
    scale, shift = rng.uniform(0.5, 1.3), rng.uniform(-0.15, 0.25)
    tint = np.ones(3) if _is_grey(image) else rng.uniform(0.9, 1.1, 3)
    return np.asarray((image * (scale * tint) + shift).astype(np.float32))


def _illumination(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Light falls off towards one side or the corners, or the background glows."""
    rows, columns = (np.linspace(-1, 1, side, dtype=np.float32) for side in image.shape[:2])
    slope, bend = rng.uniform(-0.35, 0.35, 2), rng.uniform(-0.35, 0.1, 2)
    field = slope[0] * rows[:, None] + slope[1] * columns + bend[0] * rows[:, None] ** 2 + bend[1] * columns**2
    if rng.random() < 0.5:
        return np.asarray((image * (1 + field[..., None])).astype(np.float32))
    glow = rng.uniform(0.05, 0.3) * texture(image.shape[:2], rng, rng.uniform(15, 60))
    return (image + np.maximum(glow, 0)[..., None]).astype(np.float32)


def _blur(image: Pixels, rng: np.random.Generator) -> Pixels:
    deviation = rng.uniform(0.4, 2.0)
    return np.asarray(ndimage.gaussian_filter(image, (deviation, deviation, 0)).astype(np.float32))


def _sharpen(image: Pixels, rng: np.random.Generator) -> Pixels:
    soft: Pixels = ndimage.gaussian_filter(image, (1.2, 1.2, 0))
    return np.asarray((image + rng.uniform(0.3, 1.5) * (image - soft)).astype(np.float32))


def _coarse(image: Pixels, rng: np.random.Generator) -> Pixels:
    """As if enlarged from fewer pixels."""
    height, width = image.shape[:2]
    factor = rng.uniform(0.35, 0.8)
    pixels = Image.fromarray(np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8))
    small = pixels.resize((max(1, round(width * factor)), max(1, round(height * factor))), Image.Resampling.BOX)
    return np.asarray(small.resize((width, height), Image.Resampling.BILINEAR), np.float32) / np.float32(255)


def _noise(image: Pixels, rng: np.random.Generator) -> Pixels:
    deviation = rng.uniform(0.01, 0.1)
    return np.asarray((image + deviation * _grain(image, rng)).astype(np.float32))


def _shot_noise(image: Pixels, rng: np.random.Generator) -> Pixels:
    """The fewer photons, the more: deviation grows with the root of the light (normal instead of Poisson)."""
    photons = np.exp(rng.uniform(np.log(15), np.log(400)))
    return np.asarray((image + np.sqrt(np.clip(image, 0.01, 1) / photons) * _grain(image, rng)).astype(np.float32))


def _grain(image: Pixels, rng: np.random.Generator) -> Float32[np.ndarray, "h w c"]:
    return rng.standard_normal((*image.shape[:2], 1 if _is_grey(image) else 3), dtype=np.float32)


def _compress(image: Pixels, rng: np.random.Generator) -> Pixels:
    file = io.BytesIO()
    pixels = np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)
    Image.fromarray(pixels).save(file, format="JPEG", quality=int(rng.integers(25, 90)))
    return np.asarray(Image.open(file), np.float32) / np.float32(255)


_CHANGES: tuple[tuple[float, Callable[[Pixels, np.random.Generator], Pixels]], ...] = (
    (0.2, _blur),
    (0.1, _coarse),
    (0.1, _sharpen),
    (0.25, _illumination),
    (0.5, _exponent),
    (0.5, _contrast),
    (0.25, _noise),
    (0.2, _shot_noise),
    (0.12, _compress),
)
"""In the order in which they happen, each with its probability."""
