"""Regions of an image at another size, the same however the image is cut into regions."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32, Int64

from upseg.images.regions import RgbSource


class RescaledRegions:
    """An image as `upseg.functional.resizing.resize_image` would bring it to a shape (H, W), region by region.

    Bilinear, and smoothed first where it is reduced. Each pixel is a sum of the same numbers in the same order whatever
    region it is read in. It differs from that function's by rounding only, and not at all where the size stays.
    """

    def __init__(self, source: RgbSource, shape: tuple[int, int]) -> None:
        self.source, self.shape = source, shape

    def read(self, rows: slice, columns: slice) -> Float32[np.ndarray, "h w 3"]:
        """A region of the image at the new size."""
        if self.shape == self.source.shape:
            return self.source.read(rows, columns)
        down = _taps(self.source.shape[0], self.shape[0], rows)
        across = _taps(self.source.shape[1], self.shape[1], columns)
        read = self.source.read(_extent(down[0]), _extent(across[0]))
        narrower = _summed(read.transpose(1, 0, 2), *across, origin=int(across[0].min()))
        return _summed(narrower.transpose(1, 0, 2), *down, origin=int(down[0].min()))


def _taps(old: int, new: int, span: slice) -> tuple[Int64[np.ndarray, "n t"], Float32[np.ndarray, "n t"]]:
    """Of each new pixel in a span the old ones that it is made of, and their weights.

    In float32 and rounded where torch rounds: far from the origin of a large image its places are off by parts of a
    thousandth of a pixel, which is enough to move the outline of an object here and there.
    """
    scale = np.float32(old) / np.float32(new)
    reach = np.maximum(scale, np.float32(1))
    centres = ((np.arange(span.start, span.stop) + 0.5) * np.float64(scale)).astype(np.float32)
    first = np.maximum(((centres - reach) + np.float64(0.5)).astype(np.int64), 0)
    stop = np.minimum(((centres + reach) + np.float64(0.5)).astype(np.int64), old)
    places = first[:, None] + np.arange(int(np.ceil(reach)) * 2 + 1)
    offsets = (places.astype(np.float32) - centres[:, None]) + np.float64(0.5)
    distances = np.abs((offsets / np.float64(reach)).astype(np.float32))
    weights = np.maximum(1 - distances, 0) * (places < stop[:, None])
    total = np.zeros(len(weights), np.float32)
    for column in weights.T:  # one after the other, as torch adds them
        total += column
    return np.minimum(places, stop[:, None] - 1), weights / total[:, None]


def _extent(places: Int64[np.ndarray, "n t"]) -> slice:
    return slice(int(places.min()), int(places.max()) + 1)


def _summed(
    values: Float32[np.ndarray, "a b c"], places: Int64[np.ndarray, "n t"], weights: Float32[np.ndarray, "n t"],
    *, origin: int,
) -> Float32[np.ndarray, "n b c"]:  # fmt: skip
    """Weighted sums along the first axis, term by term: a product of matrices would add in any order."""
    total = np.zeros((len(places), *values.shape[1:]), np.float32)
    for place, weight in zip(places.T - origin, weights.T, strict=True):
        total += values[place] * weight[:, None, None]
    return total
