"""Maps of the network brought to the image's own size: bilinear values, and decisions about them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Float32, Int32, Int64, Shaped
from torch import Tensor

BAND_PIXELS = 2**18
"""Pixels of the image that are looked at together."""
BLOCK_VALUES = 2**20
"""Interpolated values that are made at once."""

Decision = Callable[[Float32[Tensor, "c n"]], Int32[Tensor, " n"]]
"""From the C channels of N pixels to a number for each."""


@dataclass(frozen=True)
class AxisSamples:
    """Between which two lines of a map the lines of an image lie, along one axis.

    Attributes:
        lower: (S,) the line of the map before.
        upper: (S,) the line after; the same at the map's ends.
        weights: (S,) the share of `upper`, in [0, 1).
        nearest: (S,) the line of the map that is nearest.
    """

    lower: Int64[Tensor, " s"]
    upper: Int64[Tensor, " s"]
    weights: Float32[Tensor, " s"]
    nearest: Int64[Tensor, " s"]

    def part(self, lines: slice) -> AxisSamples:
        """Some of the image's lines."""
        return AxisSamples(self.lower[lines], self.upper[lines], self.weights[lines], self.nearest[lines])


@dataclass(frozen=True)
class Resampling:
    """Which pixels of a map lie around each pixel of an image, by bilinear interpolation between pixel centres.

    Attributes:
        rows: Of the image's H rows.
        columns: Of its W columns.
    """

    rows: AxisSamples
    columns: AxisSamples

    @classmethod
    def between(
        cls,
        map_size: tuple[int, int],
        size: tuple[int, int],
        extent: tuple[float, float] | None = None,
        device: torch.device | str = "cpu",
    ) -> Resampling:
        """Of a map to an image.

        Args:
            map_size: (h, w) of the map, in its pixels.
            size: (H, W) of the image.
            extent: How many rows and columns of the map the image covers, from the map's upper left corner on; parts of
                a row count. None for all of them.
            device: Where the maps are.

        Raises:
            ValueError: If the extent is not above 0, or more than the map has.
        """
        extent = extent or (float(map_size[0]), float(map_size[1]))
        if not all(0 < part <= whole for part, whole in zip(extent, map_size, strict=True)):
            raise ValueError(f"extent must be above 0 and at most the map's size {map_size}, got {extent}")
        rows, columns = (_axis_samples(*numbers, device=device) for numbers in zip(map_size, size, extent, strict=True))
        return cls(rows, columns)

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the image."""
        return len(self.rows.lower), len(self.columns.lower)

    def bands(self) -> Iterator[tuple[slice, Resampling]]:
        """Stretches of the image's rows with some `BAND_PIXELS` pixels, from top to bottom, each with its samples."""
        height, width = self.size
        step = max(1, BAND_PIXELS // max(width, 1))
        for start in range(0, height, step):
            lines = slice(start, min(start + step, height))
            yield lines, Resampling(self.rows.part(lines), self.columns)

    def nearest(self, values: Shaped[Tensor, "h w"]) -> Shaped[Tensor, "h2 w2"]:
        """(H, W) the value of the map's nearest pixel."""
        return values[self.rows.nearest][:, self.columns.nearest]

    def bilinear(self, values: Float[Tensor, "c h w"]) -> Float32[Tensor, "c h2 w2"]:
        """(C, H, W) interpolated values; the sides of a map go on beyond its last pixel centres."""
        wide = values.float()
        across = torch.lerp(wide[..., self.columns.lower], wide[..., self.columns.upper], self.columns.weights)
        weights = self.rows.weights[:, None]
        return torch.lerp(across[:, self.rows.lower], across[:, self.rows.upper], weights)

    def decide(
        self, values: Float[Tensor, "c h w"], decisions: Int32[Tensor, "h w"], decide: Decision
    ) -> Int32[Tensor, "h2 w2"]:
        """(H, W) what is decided about interpolated values, found without interpolating most of them.

        It must be a choice of the nearest: of the largest of the channels, of the nearest of some points. What is
        nearest to several points is nearest to all between them, so where the four pixels of the map around a pixel of
        the image agree, interpolation changes nothing; only the others are interpolated and decided. (Of two choices
        that differ by no more than a rounding error either may come out.)

        Args:
            values: (C, h, w) the map; it is copied unless the channels of a pixel lie side by side in memory.
            decisions: (h, w) what is decided about its own pixels.
            decide: Decides about interpolated ones.
        """
        found, mixed = self._agreed(decisions)
        pixels = torch.nonzero(mixed.flatten())[:, 0]
        if len(pixels) == 0:
            return found
        flat, answers = values.permute(1, 2, 0).flatten(0, 1).float(), found.flatten()
        step = max(1, BLOCK_VALUES // len(values))
        for part in (pixels[start : start + step] for start in range(0, len(pixels), step)):
            answers[part] = decide(self._interpolated(flat, values.shape[2], part))
        return answers.view(self.size)

    def _agreed(self, decisions: Int32[Tensor, "h w"]) -> tuple[Int32[Tensor, "h2 w2"], Bool[Tensor, "h2 w2"]]:
        """One of the decisions around each pixel, and where there are others too."""
        across, beside = decisions[:, self.columns.lower], decisions[:, self.columns.upper]
        differ = across != beside
        upper = across[self.rows.upper]
        found = across[self.rows.lower]
        return found, (found != upper) | differ[self.rows.lower] | differ[self.rows.upper]

    def _interpolated(
        self, flat: Float32[Tensor, "m c"], width: int, pixels: Int64[Tensor, " n"]
    ) -> Float32[Tensor, "c n"]:
        """Bilinear values of some of the image's pixels, by their place in row-major order."""
        row, column = pixels // self.size[1], pixels % self.size[1]
        above, below = self.rows.lower[row] * width, self.rows.upper[row] * width
        left, right = self.columns.lower[column], self.columns.upper[column]
        down, across = self.rows.weights[row], self.columns.weights[column]
        corners = torch.stack((above + left, above + right, below + left, below + right), 1)
        shares = torch.stack(((1 - down) * (1 - across), (1 - down) * across, down * (1 - across), down * across), 1)
        if flat.device.type == "cpu":  # the same in one pass, without the four values of each channel in memory
            return F.embedding_bag(corners, flat, mode="sum", per_sample_weights=shares).T
        return torch.einsum("nkc,nk->cn", flat[corners], shares)


def _axis_samples(length: int, samples: int, extent: float, *, device: torch.device | str) -> AxisSamples:
    places = (torch.arange(samples, dtype=torch.float64) + 0.5) * (extent / samples) - 0.5
    places = places.clamp(0, length - 1)
    lower = places.floor().long()
    upper, weights = (lower + 1).clamp(max=length - 1), (places - lower).float()
    return AxisSamples(*(numbers.to(device) for numbers in (lower, upper, weights, places.round().long())))
