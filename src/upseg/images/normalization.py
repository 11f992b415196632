"""Bringing samples of any type and range to [0, 1], so that neither a hot pixel nor an offset hides what is there.

`Pixels` are an image as its file has it, before that.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Shaped

from upseg.errors import ImageError

# cameras and microscopes store 10, 12 or 14 significant bits in 16-bit files
_COMMON_BIT_DEPTHS = (8, 10, 12, 14, 16)
_MOST_SAMPLED = 1 << 22  # pixels that percentiles are taken of


@dataclass(frozen=True, slots=True)
class Normalization:
    """Which two percentiles of each channel become 0 and 1; what lies beyond them is cut off.

    Attributes:
        low: Percentile, from 0.
        high: Percentile, to 100.
        is_automatic: Whether samples of 8 bits stay as they are, and so do floats in memory that lie in [0, 1].

    Raises:
        ValueError: If they are not 0 <= low < high <= 100.
    """

    low: float = 1.0
    high: float = 99.8
    is_automatic: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.low < self.high <= 100:
            raise ValueError(f"percentiles must be 0 <= low < high <= 100, got {self.low:g} and {self.high:g}")


AUTOMATIC = Normalization(is_automatic=True)
"""Percentiles 1 and 99.8 of images of more than 8 bits and of floats; 8 bits as they are."""


def parse_normalization(text: str) -> Normalization | None:
    """The normalisation that a text on the command line or in a configuration means.

    Args:
        text: `auto`, `none`, `minmax`, or two percentiles such as `1,99.8`.

    Returns:
        None for `none`: integers are divided by the largest value of their bit depth.

    Raises:
        ImageError: If it is none of these.

    Example:
        >>> parse_normalization("2,98")
        Normalization(low=2.0, high=98.0, is_automatic=False)
    """
    named = {"auto": AUTOMATIC, "none": None, "minmax": Normalization(0.0, 100.0)}
    if text in named:
        return named[text]
    numbers = re.fullmatch(r"\s*([0-9.]+)\s*,\s*([0-9.]+)\s*", text)
    try:
        if numbers is None:
            raise ValueError(f"expected auto, none, minmax or two percentiles such as 1,99.8, got {text!r}")
        return Normalization(float(numbers[1]), float(numbers[2]))
    except ValueError as error:
        raise ImageError(f"normalize: {error}") from error


def normalized(
    values: Shaped[np.ndarray, "h w c"], normalization: Normalization | None = None
) -> Float32[np.ndarray, "h w c"]:
    """Bring each channel to [0, 1].

    Args:
        values: (H, W, C) booleans, integers or floats, at least one pixel.
        normalization: None to keep the proportions, as `to_unit_range` does. Of large images every n-th row and column
            is looked at to find the percentiles.

    Raises:
        ImageError: If a value is not finite, or the type is not one of these.
    """
    eight_bits = values.dtype.kind == "b" or (values.dtype.kind == "u" and values.dtype.itemsize == 1)
    if normalization is None or (normalization.is_automatic and eight_bits):
        return to_unit_range(values)
    check_finite(values)
    step = sampling_step(values.shape[0], values.shape[1])
    low, high = channel_limits(values[::step, ::step], normalization, lambda: (values.min((0, 1)), values.max((0, 1))))
    return between(values, low, high)


def sampling_step(height: int, width: int) -> int:
    """Of which rows and columns of an image percentiles are taken: every n-th."""
    return max(1, round(math.sqrt(height * width / _MOST_SAMPLED)))


def channel_limits(
    sampled: Shaped[np.ndarray, "h w c"],
    normalization: Normalization,
    extremes: Callable[[], tuple[Shaped[np.ndarray, " c"], Shaped[np.ndarray, " c"]]],
) -> tuple[Shaped[np.ndarray, " c"], Shaped[np.ndarray, " c"]]:
    """What becomes 0 and 1 in each channel.

    Args:
        sampled: (H, W, C) pixels of the image, a regular sample.
        normalization: Its percentiles.
        extremes: Gives the least and largest value of each channel of the whole image.
    """
    flattened = sampled.reshape(-1, sampled.shape[2]).astype(np.float64)
    low, high = np.percentile(flattened, (normalization.low, normalization.high), axis=0)
    flat = high <= low  # nearly all pixels alike: then the few others say what is bright
    if flat.any():
        least, most = extremes()
        low, high = np.where(flat, least, low), np.where(flat, most, high)
    return low, high


def between(
    values: Shaped[np.ndarray, "h w c"], low: Shaped[np.ndarray, " c"], high: Shaped[np.ndarray, " c"]
) -> Float32[np.ndarray, "h w c"]:
    """Bring `low` of each channel to 0 and `high` to 1, and cut off what lies beyond."""
    scaled: Shaped[np.ndarray, "h w c"] = (values - low) / np.where(high > low, high - low, 1)
    return scaled.clip(0, 1).astype(np.float32)


def to_unit_range(
    values: Shaped[np.ndarray, "*shape"], extremes: tuple[float, float] | tuple[int, int] | None = None
) -> Float32[np.ndarray, "*shape"]:
    """Scale samples of any type to [0, 1], all channels alike.

    Booleans become 0 and 1. Integers are divided by the largest value of their bit depth: 255 for 8 bits; for wider
    types the smallest of 8, 10, 12, 14 and 16 bits (above that, any number of bits) that holds the largest sample.
    Floats within [0, 1] stay as they are. Other floats, and integers below zero, are stretched from their smallest and
    largest value to 0 and 1 (a constant becomes 0).

    Args:
        values: Of any shape.
        extremes: The least and the largest sample of the image that they are a part of; by default theirs.

    Raises:
        ImageError: If a value is not finite, or the type is not one of these.
    """
    if values.dtype.kind == "b":
        return values.astype(np.float32)
    check_finite(values)
    low, high = extremes or (values.min(), values.max())
    if values.dtype.kind == "f" and low >= 0 and high <= 1:
        return values.astype(np.float32)
    if values.dtype.kind == "f" or low < 0:
        return _stretch(values, float(low), float(high))
    bits = 8 if values.dtype.itemsize == 1 else _bit_depth(int(high))
    # float32 holds integers of up to 24 bits exactly
    scaled: Shaped[np.ndarray, "*shape"] = np.divide(
        values, 2.0**bits - 1, dtype=np.float32 if bits <= 24 else np.float64
    )
    return scaled.astype(np.float32, copy=False)


def check_finite(values: Shaped[np.ndarray, "*shape"]) -> None:
    """Refuse what is not finite or no real number.

    Raises:
        ImageError: If a value is not finite, or the type is not boolean, integer or float.
    """
    if values.dtype.kind not in "buif":
        raise ImageError(f"pixels must be booleans, integers or floats, got {values.dtype}")
    if not (np.isfinite(values.min()) and np.isfinite(values.max())):
        raise ImageError("the image has pixels that are not a number or infinite; replace them first")


def _bit_depth(largest: int) -> int:
    """The smallest usual bit depth that holds `largest`."""
    return next((bits for bits in _COMMON_BIT_DEPTHS if largest < 2**bits), largest.bit_length())


def _stretch(values: Shaped[np.ndarray, "*shape"], low: float, high: float) -> Float32[np.ndarray, "*shape"]:
    """Map the smallest value to 0 and the largest to 1."""
    unit = max(abs(low), abs(high), float(np.finfo(np.float64).tiny))  # so that max - min cannot overflow
    least, largest = low / unit, high / unit - low / unit
    real = values.astype(np.float64) / unit - least
    return (real / largest if largest > 0 else real).astype(np.float32)


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

    def is_unit_range(self) -> bool:
        """Whether they are floats in [0, 1]."""
        values = self.values
        return values.dtype.kind == "f" and bool(values.min(initial=0) >= 0 and values.max(initial=0) <= 1)

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

    def to_rgb(self, normalization: Normalization | None = None) -> Float32[np.ndarray, "h w 3"]:
        """Scale to [0, 1], repeat grey three times, and put translucent pixels on white.

        Args:
            normalization: Of each channel; None to keep the proportions.

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
        scaled = normalized(self.values, normalization)
        if self.alpha is not None:
            scaled = _on_white(scaled, self.alpha, premultiplied=self.premultiplied)
        return np.ascontiguousarray(scaled) if count == 3 else np.repeat(scaled, 3, axis=2)


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
    return np.asarray(np.clip(in_front + (1 - opacity), 0, 1))
