"""Samples of any kind become RGB floats in [0, 1]: channels, grey, alpha."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Shaped

from upseg.errors import ImageError
from upseg.images.normalization import Normalization, normalized, to_unit_range


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
    composed: Float32[np.ndarray, "h w c"] = np.clip(in_front + (1 - opacity), 0, 1)
    return composed
