"""Images of any size: regions merge at the reduced size, as those of other images do, and are drawn block by block.

What `atoms.enlarge` does with the whole image in memory is done here for one block at a time, with a rim around it. A
region has the same number in every block, so that there is nothing to join: a block decides only through which pixels
the borders in it pass.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int32, Shaped

from upseg.errors import ModelError
from upseg.images.regions import RgbSource, blocks
from upseg.images.rescaling import RescaledRegions
from upseg.methods.dynaseg.extensions.atoms import GRADIENT_REACH, colour_gradient, depth_inside, refine_borders
from upseg.segmentation.banded import bands
from upseg.work_folder import kept_array

RIM = 16
"""Around a block, in widths of the band in which borders are looked for: what lies beyond decides nothing in it."""
_BASE_BYTES, _BYTES_PER_WORKING_PIXEL, _BYTES_PER_PIXEL = 1_100_000_000, 320, 40
"""What a process takes before it has an image, for each pixel of the reduced image, and for each of a block with its
rim: measured, rounded up. Merging is over when the first block is drawn."""
_BYTES_PER_FITTED_VALUE = 10
"""For each channel of each pixel of the reduced image, where a network is fitted to it."""
_SIDES = 256, 3072
"""The smallest and the largest block."""
_READ = 2048
"""Side in pixels of what is read at once to reduce an image."""

Region = tuple[slice, slice]


@dataclass(frozen=True, eq=False)
class DrawnBlocks:
    """The segments of a reduced image at full size.

    Attributes:
        image: At full size.
        regions: (H2, W2) ids from 1 at the reduced size.
        folder: For what is computed.
        side: Of a block, in pixels.
    """

    image: RgbSource
    regions: Int32[np.ndarray, "h2 w2"]
    folder: Path
    side: int

    def draw(self, step: Callable[[], None]) -> None:
        """Draw every block that an earlier run has not drawn.

        Args:
            step: Called after each.
        """
        for number in range(len(self.cores)):
            self._block(number)
            step()

    @cached_property
    def cores(self) -> tuple[Region, ...]:
        """The blocks without their rims, in reading order."""
        return tuple(blocks(*self.image.shape, self.side))

    def labels_at(self, rows: slice) -> Int32[np.ndarray, "h w"]:
        """Some rows of the map at full size."""
        found = np.empty((rows.stop - rows.start, self.image.shape[1]), np.int32)
        for number, (down, across) in enumerate(self.cores):
            top, bottom = max(rows.start, down.start), min(rows.stop, down.stop)
            if top < bottom:
                part = self._block(number)[top - down.start : bottom - down.start]
                found[top - rows.start : bottom - rows.start, across] = part
        return found

    def _block(self, number: int) -> Shaped[np.ndarray, "h w"]:
        def draw() -> Shaped[np.ndarray, "h w"]:
            return self._drawn(self.cores[number]).astype(np.min_scalar_type(len(self._depths) - 1))

        found: Shaped[np.ndarray, "h w"] = kept_array(self.folder / f"block-{number}.npy", draw)
        return found

    @cached_property
    def _margin(self) -> int:
        (height, width), (rows, columns) = self.image.shape, self.regions.shape
        factor: float = max(height / rows, width / columns)
        return math.ceil(factor)

    @cached_property
    def _depths(self) -> Int32[np.ndarray, " k1"]:
        """How deep each region of the whole map is, up to what `refine_borders` asks for."""
        return kept_array(self.folder / "depths.npy", lambda: self._found_depths(self._margin + 1))  # type: ignore[no-any-return]

    def _found_depths(self, most: int) -> Int32[np.ndarray, " k1"]:
        deepest = np.zeros(int(self.regions.max()) + 1, np.int32)
        height, width = self.image.shape
        for rows in bands((height, width)):
            region = slice(max(0, rows.start - most), min(height, rows.stop + most))
            nearest = self._nearest((region, slice(0, width)))
            depth = np.minimum(depth_inside(nearest), most)
            own = slice(rows.start - region.start, rows.stop - region.start)
            np.maximum.at(deepest, nearest[own].ravel(), depth[own].ravel())
        return deepest

    def _nearest(self, region: Region) -> Int32[np.ndarray, "h w"]:
        """A part of the map at full size, each pixel as the nearest one of the reduced map."""
        rows, columns = (
            np.arange(span.start, span.stop) * small // full
            for span, small, full in zip(region, self.regions.shape, self.image.shape, strict=True)
        )
        nearest: Int32[np.ndarray, "h w"] = self.regions[rows[:, None], columns]
        return nearest

    def _drawn(self, core: Region) -> Int32[np.ndarray, "h w"]:
        if self.regions.shape == self.image.shape:
            return self.regions[core]
        region = _grown(core, RIM * self._margin, self.image.shape)
        labels = self._nearest(region)
        if labels.min() != labels.max():
            labels = refine_borders(labels, self._gradient(region), self._margin, self._depths)
        return labels[_within(core, region)]

    def _gradient(self, region: Region) -> Float32[np.ndarray, "h w"]:
        seen = _grown(region, GRADIENT_REACH, self.image.shape)
        return colour_gradient(self.image.read(*seen))[_within(region, seen)]


def _grown(core: Region, rim: int, shape: tuple[int, int]) -> Region:
    rows, columns = (
        slice(max(0, span.start - rim), min(length, span.stop + rim)) for span, length in zip(core, shape, strict=True)
    )
    return rows, columns


def _within(inner: Region, outer: Region) -> Region:
    rows, columns = (
        slice(span.start - around.start, span.stop - around.start) for span, around in zip(inner, outer, strict=True)
    )
    return rows, columns


def reduced_image(image: RgbSource, size: tuple[int, int], folder: Path) -> Float32[np.ndarray, "h w 3"]:
    """An image at the reduced size, of which parts are read one after the other and kept in a folder.

    Args:
        image: At full size.
        size: (H, W) of the result.
        folder: For the parts.
    """
    source, found = RescaledRegions(image, size), np.empty((*size, 3), np.float32)

    def read(rows: slice, columns: slice) -> Float32[np.ndarray, "h w 3"]:
        return source.read(rows, columns).clip(0, 1)

    side = max(1, int(_READ * min(size[0] / image.shape[0], size[1] / image.shape[1])))
    for number, part in enumerate(blocks(*size, side)):
        found[part] = kept_array(folder / f"reduced-{number}.npy", partial(read, *part))
    return found


def block_side(memory: int, shape: tuple[int, int], size: tuple[int, int], channels: int) -> int:
    """The side of the blocks for which so many bytes are enough.

    Args:
        memory: In bytes, of the whole process.
        shape: (H, W) of the image.
        size: (H, W) at which its regions merge.
        channels: Of the network that is fitted; 0 for none.

    Raises:
        ModelError: If they are not enough.
    """
    rim = RIM * math.ceil(max(shape[0] / size[0], shape[1] / size[1]))
    smallest, largest = _SIDES
    pixels = size[0] * size[1]
    merging = pixels * (_BYTES_PER_WORKING_PIXEL + channels * _BYTES_PER_FITTED_VALUE)
    least = _BASE_BYTES + max(merging, _BYTES_PER_PIXEL * (smallest + 2 * rim) ** 2)
    if memory < least:
        raise ModelError(
            f"an image of {shape[0]} x {shape[1]} pixels whose regions merge at {size[0]} x {size[1]} needs "
            f"a memory of at least {math.ceil(least / 1e8) / 10} GB; give more, or another working_pixels"
        )
    side = int(math.sqrt((memory - _BASE_BYTES) / _BYTES_PER_PIXEL)) - 2 * rim
    return min(side // smallest * smallest, largest)
