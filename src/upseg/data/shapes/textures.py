"""Textures: patterns over the plane, one for each class of background, with values from about -1 to 1."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float32, Int64

Plane = Float32[np.ndarray, "h w"]

_PERIOD = 32  # the random tables repeat after this many cells


def plain(rng: np.random.Generator, u: Plane, v: Plane) -> Plane:
    """Even, with a faint slope."""
    return (np.float32(rng.uniform(-0.06, 0.06)) * u + np.float32(rng.uniform(-0.06, 0.06)) * v).clip(-1, 1)


def stripes(rng: np.random.Generator, u: Plane, v: Plane) -> Plane:  # noqa: ARG001 - all textures are called alike
    """Bars, soft or hard, sometimes of two widths."""
    return _hardened(np.sin(2 * np.pi * u) + np.float32(rng.uniform(-0.6, 0.6)), rng)


def checks(rng: np.random.Generator, u: Plane, v: Plane) -> Plane:
    """A chessboard, or a plaid."""
    first, second = np.sin(np.pi * u), np.sin(np.pi * v)
    return (
        _hardened(first * second, rng) if rng.random() < 0.6 else (_hardened(first, rng) + _hardened(second, rng)) / 2
    )


def dots(rng: np.random.Generator, u: Plane, v: Plane) -> Plane:
    """Discs on a lattice, straight or staggered."""
    shifted = u + np.float32(0.5) * (np.floor(v) % 2) if rng.random() < 0.5 else u
    distance = np.hypot(shifted - np.floor(shifted) - 0.5, v - np.floor(v) - 0.5)
    return np.asarray(np.clip((np.float32(rng.uniform(0.2, 0.38)) - distance) * 12, -1, 1))


def clouds(rng: np.random.Generator, u: Plane, v: Plane) -> Plane:
    """Smooth noise on three scales."""
    field = np.zeros_like(u)
    for scale in range(3):
        field += np.float32(0.9 * 0.6**scale) * _smooth_noise(rng, u * 2**scale, v * 2**scale)
    return field.clip(-1, 1)


def mosaic(rng: np.random.Generator, u: Plane, v: Plane) -> Plane:
    """Irregular tiles, each of its own tone: the nearest of jittered lattice points."""
    tones = rng.uniform(-1, 1, (_PERIOD, _PERIOD)).astype(np.float32)
    jitter = rng.uniform(0.1, 0.9, (2, _PERIOD, _PERIOD)).astype(np.float32)
    row, column = _whole(u), _whole(v)
    nearest = np.full(u.shape, np.inf, np.float32)
    field = np.zeros_like(u)
    for step_row in (-1, 0, 1):
        for step_column in (-1, 0, 1):
            cell = (row + step_row) * _PERIOD % _PERIOD**2 + (column + step_column) % _PERIOD
            distance = (row + step_row + jitter[0].take(cell) - u) ** 2
            distance += (column + step_column + jitter[1].take(cell) - v) ** 2
            closer = distance < nearest
            nearest = np.where(closer, distance, nearest).astype(np.float32)
            field = np.where(closer, tones.take(cell), field)
    return field


def bricks(rng: np.random.Generator, u: Plane, v: Plane) -> Plane:
    """Courses of bricks in slightly different tones, with joints."""
    course = np.floor(2 * u)
    along = v + np.float32(0.5) * (course % 2)
    tones = rng.uniform(0.1, 0.8, _PERIOD**2).astype(np.float32)
    joint = np.minimum(_to_lattice(2 * u) / 2, _to_lattice(along))
    brick = _whole(along) * _PERIOD % _PERIOD**2 + course.astype(np.int64) % _PERIOD
    return np.where(joint < 0.06, np.float32(-1), tones.take(brick))


def ripples(rng: np.random.Generator, u: Plane, v: Plane) -> Plane:
    """Circles around a far or near point."""
    centre = rng.uniform(-2, 2, 2).astype(np.float32)
    return _hardened(np.sin(2 * np.pi * np.hypot(u - centre[0], v - centre[1])), rng)


def grain(rng: np.random.Generator, u: Plane, v: Plane) -> Plane:  # noqa: ARG001 - its scale is the pixel
    """Speckle, each pixel for itself."""
    return (rng.standard_normal(u.shape, np.float32) * np.float32(0.6)).clip(-1, 1)


def wood(rng: np.random.Generator, u: Plane, v: Plane) -> Plane:
    """Bars bent by smooth noise and drawn out along one direction."""
    bent = u + np.float32(0.9) * _smooth_noise(rng, u * np.float32(0.4), v * np.float32(0.15))
    return np.asarray(np.float32(0.7) * np.sin(2 * np.pi * bent) + np.float32(0.3) * np.sin(np.float32(14.3) * bent))


TEXTURES: dict[str, Callable[[np.random.Generator, Plane, Plane], Plane]] = {
    texture.__name__: texture
    for texture in (plain, stripes, checks, dots, clouds, mosaic, bricks, ripples, grain, wood)
}
"""By the name of the background's class: functions of a generator and two coordinates, in periods of the pattern."""


def _hardened(wave: Plane, rng: np.random.Generator) -> Plane:
    """A wave with steeper flanks: from a sine to nearly a step."""
    return np.asarray(np.tanh(wave * np.float32(rng.uniform(1, 5))))


def _whole(coordinate: Plane) -> Int64[np.ndarray, "h w"]:
    return np.asarray(np.floor(coordinate), np.int64)


def _to_lattice(coordinate: Plane) -> Plane:
    """Distance to the nearest whole number."""
    return np.asarray(np.abs(coordinate - np.rint(coordinate)))


def _smooth_noise(rng: np.random.Generator, u: Plane, v: Plane) -> Plane:
    """Random values at the whole coordinates, smoothly interpolated between them."""
    table = rng.uniform(-1, 1, (_PERIOD, _PERIOD)).astype(np.float32)
    row, column = _whole(u), _whole(v)
    down, right = (u - row).astype(np.float32), (v - column).astype(np.float32)
    down, right = down * down * (3 - 2 * down), right * right * (3 - 2 * right)
    above, below = row * _PERIOD % _PERIOD**2, (row + 1) * _PERIOD % _PERIOD**2
    left, beside = column % _PERIOD, (column + 1) % _PERIOD
    upper = table.take(above + left) * (1 - right) + table.take(above + beside) * right
    lower = table.take(below + left) * (1 - right) + table.take(below + beside) * right
    return np.asarray(upper * (1 - down) + lower * down)
