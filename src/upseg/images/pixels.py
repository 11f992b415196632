"""Samples of any kind become RGB floats in [0, 1]: bit depths, value ranges, grey, alpha."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Shaped

from upseg.errors import ImageError

# Cameras and microscopes store 10, 12 or 14 significant bits in 16-bit files.
_COMMON_BIT_DEPTHS = (8, 10, 12, 14, 16)


@dataclass(frozen=True, eq=False)
class Pixels:
    """The samples of one image as they were stored, colours converted to RGB or grey.

    Attributes:
        values: (H, W, C) samples without alpha, of any boolean, integer or floating type.
        alpha: (H, W) opacity of the same type, or None where the image has none.
        premultiplied: True where `values` were already multiplied by `alpha`.
    """

    values: Shaped[np.ndarray, "h w c"]
    alpha: Shaped[np.ndarray, "h w"] | None = None
    premultiplied: bool = False

    def pick(self, channels: Sequence[int]) -> Pixels:
        """Keep one channel (as grey) or three (as red, green, blue), counted from 0; alpha is the last one.

        Raises:
            ImageError: If the image has no such channel.
        """
        values = self.values if self.alpha is None else np.concatenate((self.values, self.alpha[..., None]), axis=2)
        count = values.shape[2]
        if max(channels) >= count:
            raise ImageError(f"channels {list(channels)} were asked for, but the image has only 0 to {count - 1}")
        return Pixels(values[..., list(channels)])

    def to_rgb(self) -> Float32[np.ndarray, "h w 3"]:
        """Scale to [0, 1], repeat grey three times, and put translucent pixels on white.

        Returns:
            A new (H, W, 3) array, RGB in [0, 1].

        Raises:
            ImageError: If there is no pixel, neither 1 nor 3 channels, or a value that is not a finite real number.
        """
        height, width, count = self.values.shape
        if height == 0 or width == 0:
            raise ImageError(f"the image is empty: {height} by {width} pixels")
        if count not in (1, 3):
            raise ImageError(
                f"an image has 1 channel (grey) or 3 (red, green, blue), this one has {count}; "
                "choose one or three of them, counted from 0, with channels=... (--channels)"
            )
        scaled = to_unit_range(self.values)
        if self.alpha is not None:
            scaled = _on_white(scaled, self.alpha, premultiplied=self.premultiplied)
        return np.ascontiguousarray(scaled) if count == 3 else np.repeat(scaled, 3, axis=2)


def to_unit_range(values: Shaped[np.ndarray, "*shape"]) -> Float32[np.ndarray, "*shape"]:
    """Scale samples of any type to [0, 1].

    Booleans become 0 and 1. Integers are divided by the largest value of their bit depth: 255 for 8 bits; for wider
    types the smallest of 8, 10, 12, 14 and 16 bits (above that, any number of bits) that holds the largest sample.
    Floats within [0, 1] stay as they are. Other floats, and integers below zero, are stretched from their smallest and
    largest value to 0 and 1 (a constant becomes 0).

    Raises:
        ImageError: If a value is not finite, or the type is not one of these.
    """
    if values.dtype.kind == "b":
        return values.astype(np.float32)
    if values.dtype.kind not in "uif":
        raise ImageError(f"pixels must be booleans, integers or floats, got {values.dtype}")
    low, high = values.min(), values.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ImageError("the image has pixels that are not a number or infinite; replace them first")
    if values.dtype.kind == "f":
        return values.astype(np.float32) if low >= 0 and high <= 1 else _stretch(values)
    if low < 0:
        return _stretch(values)
    bits = 8 if values.dtype.itemsize == 1 else _bit_depth(int(high))
    # float32 holds integers of up to 24 bits exactly
    scaled: Shaped[np.ndarray, "*shape"] = np.divide(
        values, 2.0**bits - 1, dtype=np.float32 if bits <= 24 else np.float64
    )
    return scaled.astype(np.float32, copy=False)


def _bit_depth(largest: int) -> int:
    """The smallest usual bit depth that holds `largest`."""
    return next((bits for bits in _COMMON_BIT_DEPTHS if largest < 2**bits), largest.bit_length())


def _stretch(values: Shaped[np.ndarray, "*shape"]) -> Float32[np.ndarray, "*shape"]:
    """Map the smallest value to 0 and the largest to 1."""
    real = values.astype(np.float64)
    real /= max(abs(real.min()), abs(real.max()), np.finfo(np.float64).tiny)  # so that max - min cannot overflow
    real -= real.min()
    largest = real.max()
    return (real / largest if largest > 0 else real).astype(np.float32)


def _on_white(
    colours: Float32[np.ndarray, "h w c"], alpha: Shaped[np.ndarray, "h w"], *, premultiplied: bool
) -> Float32[np.ndarray, "h w c"]:
    """Put colours of an opacity in front of a white background."""
    if alpha.dtype.kind == "f" and not (alpha.min() >= 0 and alpha.max() <= 1):
        raise ImageError(f"alpha must be in [0, 1], got values from {alpha.min()} to {alpha.max()}")
    opacity = to_unit_range(alpha)[..., None]
    if opacity.min() == 1:
        return colours
    in_front = colours if premultiplied else colours * opacity
    composed: Float32[np.ndarray, "h w c"] = np.clip(in_front + (1 - opacity), 0, 1)
    return composed
