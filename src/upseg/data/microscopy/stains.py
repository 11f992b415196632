"""Stained tissue under transmitted light: how much of each stain there is, and other stains in their place.

Light that passes a stain falls off exponentially (Beer and Lambert), so the logarithms of colours add up: optical
densities. Ruifrok and Johnston, "Quantification of histochemical staining by color deconvolution", 2001.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32
from scipy import ndimage

HEMATOXYLIN = (0.650, 0.704, 0.286)
EOSIN = (0.072, 0.990, 0.105)
DAB = (0.268, 0.570, 0.776)
"""Directions of optical density in red, green and blue (Ruifrok and Johnston, Table 1)."""
_DARKEST = 1 / 255
_COUNTERSTAINS = (EOSIN, EOSIN, (0.25, 0.85, 0.45), DAB, (0.10, 0.60, 0.75), (0.55, 0.60, 0.60))
_NUCLEAR = (HEMATOXYLIN, HEMATOXYLIN, (0.75, 0.60, 0.25), (0.55, 0.75, 0.40), (0.58, 0.62, 0.52), DAB)


def optical_density(image: Float32[np.ndarray, "h w 3"]) -> Float32[np.ndarray, "h w 3"]:
    """-ln of the colours, which are in [0, 1]; black counts as 1/255."""
    return np.asarray(-np.log(np.maximum(image, _DARKEST)))


def restain(image: Float32[np.ndarray, "h w 3"], rng: np.random.Generator) -> Float32[np.ndarray, "h w 3"]:
    """The same tissue with hematoxylin and eosin replaced by other dyes, more or less of each.

    Args:
        image: (H, W, 3) of tissue in [0, 1], stained with hematoxylin and eosin or something like it.
        rng: Where all choices come from.
    """
    basis = np.array([HEMATOXYLIN, EOSIN, np.cross(HEMATOXYLIN, EOSIN)], np.float32)
    basis /= np.linalg.norm(basis, axis=1, keepdims=True)
    amounts = optical_density(image) @ np.linalg.inv(basis)
    strength = rng.uniform(0.6, 1.5, 3).astype(np.float32)
    shift = rng.uniform(-0.08, 0.08, 3).astype(np.float32)
    if rng.random() < 0.3:
        new = np.stack([_dye(_NUCLEAR, rng), _dye(_COUNTERSTAINS, rng), basis[2]])
    else:
        new = np.stack([_turned(axis, rng, 0.12) for axis in basis])
    return _transmitted(np.maximum(amounts, -0.2) * strength + shift, new)


def stain_virtually(amount: Float32[np.ndarray, "h w"], rng: np.random.Generator) -> Float32[np.ndarray, "h w 3"]:
    """Tissue under transmitted light in which a nuclear stain is where a fluorescence image is bright.

    What lies between nuclei is made up: a counterstain of random coarse and fine texture.

    Args:
        amount: (H, W) in [0, 1] how much nuclear stain there is.
        rng: Where all choices come from.
    """
    tissue = rng.uniform(0.0, 0.7) + rng.uniform(0.1, 0.6) * texture(amount.shape, rng, rng.uniform(1.5, 25))
    tissue += rng.uniform(0.0, 0.3) * texture(amount.shape, rng, 1.0)
    chromatin = 1 + rng.uniform(0.0, 0.5) * texture(amount.shape, rng, rng.uniform(0.7, 2.5))
    nuclei = rng.uniform(0.5, 1.8) * amount ** rng.uniform(0.4, 1.0) * chromatin
    nuclei += rng.uniform(0.0, 0.25) * np.maximum(texture(amount.shape, rng, rng.uniform(1, 12)), 0)
    amounts = np.stack([nuclei, np.maximum(tissue, 0) * (1 - rng.uniform(0.2, 0.9) * amount)], axis=-1)
    return _transmitted(amounts.astype(np.float32), np.stack([_dye(_NUCLEAR, rng), _dye(_COUNTERSTAINS, rng)]))


def texture(shape: tuple[int, ...], rng: np.random.Generator, grain: float) -> Float32[np.ndarray, "h w"]:
    """Smooth random values of mean 0 and deviation 1, with grains of so many pixels."""
    zoom = max(1.0, grain / 2)  # coarse ones are drawn on a coarser grid
    small = [int(side / zoom) + 3 for side in shape]
    noise = ndimage.gaussian_filter(rng.standard_normal(small).astype(np.float32), grain / zoom)
    noise = (noise - noise.mean()) / max(float(noise.std()), 1e-6)
    if zoom == 1.0:
        return np.asarray(noise[: shape[0], : shape[1]])
    factors = [(side + 1) / length for side, length in zip(shape, small, strict=True)]
    return np.asarray(ndimage.zoom(noise, factors, order=1)[: shape[0], : shape[1]])


def _transmitted(
    amounts: Float32[np.ndarray, "h w k"], stains: Float32[np.ndarray, "k 3"]
) -> Float32[np.ndarray, "h w 3"]:
    light: Float32[np.ndarray, "h w 3"] = np.clip(np.exp(-(amounts @ stains.astype(np.float32))), 0, 1)
    return light.astype(np.float32, copy=False)


def _dye(known: tuple[tuple[float, float, float], ...], rng: np.random.Generator) -> Float32[np.ndarray, " 3"]:
    return _turned(np.array(known[rng.integers(len(known))], np.float32), rng, 0.15)


def _turned(axis: Float32[np.ndarray, " 3"], rng: np.random.Generator, most: float) -> Float32[np.ndarray, " 3"]:
    """A direction of density near to another, of length 1."""
    near = axis + rng.normal(0, most, 3).astype(np.float32)
    return np.asarray(near / np.linalg.norm(near))
