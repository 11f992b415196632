"""What a camera does to a scene: uneven light, blur, noise, tone, 8 bits."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32
from scipy import ndimage

from upseg.data.shapes.settings import Difficulty

_REFERENCE_SIDE = 128.0  # side in pixels of the image for which the settings give blur


def photograph(
    rng: np.random.Generator, image: Float32[np.ndarray, "h w 3"], settings: Difficulty, *, monochrome: bool
) -> Float32[np.ndarray, "h w 3"]:
    """Take a picture of a scene. Nothing moves, so the ground truth stays as it is.

    Returns:
        (H, W, 3) RGB in [0, 1], in steps of 1/255.
    """
    height, width = image.shape[:2]
    picture = image * _uneven_light(rng, (height, width), settings.lighting)[..., None]
    picture = np.clip(picture, 0, 1) ** np.float32(rng.uniform(0.8, 1.25))
    if monochrome:
        picture = np.repeat(picture.mean(axis=2, keepdims=True), 3, axis=2)
    blur = rng.uniform(*settings.blur) * np.sqrt(height * width) / _REFERENCE_SIDE
    if blur > 0.2:
        picture = ndimage.gaussian_filter(picture, (blur, blur, 0), mode="nearest", truncate=3)
    noise = np.float32(rng.uniform(*settings.noise))
    if noise > 0:
        # the noise of photons grows with the square root of the light, that of the sensor does not
        photons = np.float32(rng.random())
        amplitude = noise * np.sqrt(1 - photons + 2 * photons * picture)
        picture = picture + amplitude * rng.standard_normal(picture.shape, np.float32)
    developed: Float32[np.ndarray, "h w 3"] = np.rint(np.clip(picture, 0, 1) * 255).astype(np.float32)
    return developed / np.float32(255)


def _uneven_light(rng: np.random.Generator, shape: tuple[int, int], strength: float) -> Float32[np.ndarray, "h w"]:
    """A slope of brightness over the image, and darker corners."""
    rows, columns = (np.linspace(-1, 1, side, dtype=np.float32) for side in shape)
    slope, corners = rng.normal(0, 0.12 * strength, 2), rng.uniform(0, 0.25 * strength) * (rng.random() < 0.4)
    field = 1 + slope[0] * rows[:, None] + slope[1] * columns[None]
    field = field - corners * (rows[:, None] ** 2 + columns[None] ** 2)
    return np.asarray(field, np.float32)
