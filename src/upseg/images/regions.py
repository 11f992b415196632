"""Images that are never whole in memory: regions of a file, and the same as RGB in [0, 1], as `read_image` gives it.

What a region's values become depends on the whole image (percentiles, the largest sample). That is found once, block by
block, so that a region has the very values that it would have in the image read at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Protocol, TypeAlias, runtime_checkable

import numpy as np
from jaxtyping import Float32, Shaped

from upseg.errors import ImageError
from upseg.files import printable
from upseg.images.normalization import (
    Pixels,
    between,
    channel_limits,
    check_finite,
    parse_normalization,
    sampling_step,
    to_unit_range,
)
from upseg.images.pixel_size import PixelSize, read_pixel_size
from upseg.images.reading import TIFF_SIGNATURES

_BLOCK = 2048  # side, of what is looked at to find what is bright and dark
_EIGHT_BITS = 1  # byte

Converter: TypeAlias = Callable[[Shaped[np.ndarray, "h w c"]], Float32[np.ndarray, "h w c"]]


@runtime_checkable
class Regions(Protocol):
    """One plane of an image, of which regions can be read.

    Attributes:
        levels: (height, width) of the image and of its reduced copies, full resolution first.
        chunk: (height, width) of what is stored together.
        pixel_size: At full resolution, where the file says it.
    """

    levels: tuple[tuple[int, int], ...]
    chunk: tuple[int, int]
    pixel_size: PixelSize | None

    def read(self, rows: slice, columns: slice, level: int = 0) -> Pixels:
        """The samples of a region that lies in the image, as they are stored.

        Args:
            rows: From start to stop, both in the image.
            columns: As `rows`.
            level: 0 for full resolution.

        Raises:
            ImageError: If what is stored there is damaged.
        """
        ...


def open_regions(path: str | Path, *, channels: Sequence[int] | None = None, page: int | None = None) -> Regions:
    """Open a large image: OME-Zarr, or any TIFF (pyramids, OME-TIFF, SVS).

    Args:
        path: A folder or file.
        channels: One channel to take as grey, or three as red, green and blue, counted from 0.
        page: Which plane, where there are several, counted from 0 in row-major order of the axes that are none of
            channel, row and column.

    Raises:
        ImageError: If it is neither, damaged, has no such plane or channel, or needs to be decoded as a whole.
    """
    path = Path(path)
    with _named(path):
        if path.is_dir():
            from upseg.images.ome_zarr import ZarrRegions

            return ZarrRegions(path, channels=channels, page=page)
        with path.open("rb") as file:
            signature = file.read(4)
        if not signature.startswith(TIFF_SIGNATURES):
            raise ImageError("regions can be read of OME-Zarr and TIFF; this file must fit into memory as a whole")
        from upseg.images.tiff_regions import TiffRegions

        return TiffRegions(path, channels=channels, page=page)


def plane_count(path: Path, channels: Sequence[int] | None = None) -> int:
    """How many planes a file or an OME-Zarr folder has; 1 of what is no TIFF.

    Args:
        path: Of the image.
        channels: That will be picked: with them, planes of unknown meaning count as channels.

    Raises:
        ImageError: If it cannot be read.
    """
    with _named(path):
        if path.is_dir():
            from upseg.images.ome_zarr import ZarrRegions

            return int(ZarrRegions(path, page=0).planes)
        with path.open("rb") as file:
            signature = file.read(4)
        if not signature.startswith(TIFF_SIGNATURES):
            return 1
        from upseg.images.tiff import count_planes

        return count_planes(path, channels)


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Name the file in whatever is wrong with it."""
    try:
        yield
    except OSError as error:
        raise ImageError(f"{printable(path)}: cannot be read ({error.strerror or error})") from error
    except ImageError as error:
        raise ImageError(f"{printable(path)}: {error}") from error


def max_projection(
    path: Path, *, channels: Sequence[int] | None = None, normalize: str = "auto"
) -> Float32[np.ndarray, "h w 3"]:
    """The largest sample of all planes at each pixel and channel, RGB in [0, 1]; two planes are in memory at a time.

    Args:
        path: A TIFF or an OME-Zarr folder.
        channels: As `upseg.images.reading.read_image` takes it.
        normalize: As there, of the maximum.

    Raises:
        ImageError: If a plane cannot be read.
    """
    brightest: Shaped[np.ndarray, "h w c"] | None = None
    for page in range(plane_count(path, channels)):
        regions = open_regions(path, channels=channels, page=page)
        height, width = regions.levels[0]
        values = regions.read(slice(0, height), slice(0, width)).values
        brightest = values if brightest is None else np.maximum(brightest, values)
    assert brightest is not None  # noqa: S101 - every image has a plane
    return Pixels(brightest).to_rgb(parse_normalization(normalize))


def noted_pixel_size(path: Path) -> PixelSize | None:
    """What the metadata of a TIFF or an OME-Zarr say; None where they say nothing, or it is neither."""
    if not path.is_dir():
        return read_pixel_size(path) if _is_tiff(path) else None
    from upseg.images.ome_zarr import ZarrRegions

    return ZarrRegions(path, page=0).pixel_size


def _is_tiff(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(4).startswith(TIFF_SIGNATURES)
    except OSError:  # what reads its pixels says why
        return False


def blocks(height: int, width: int, side: int) -> Iterator[tuple[slice, slice]]:
    """Blocks that cover an image without overlap, in reading order."""
    for top in range(0, height, side):
        for left in range(0, width, side):
            yield slice(top, min(top + side, height)), slice(left, min(left + side, width))


@runtime_checkable
class RgbSource(Protocol):
    """An image of which regions can be had, RGB in [0, 1]."""

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W)."""
        ...

    def read(self, rows: slice, columns: slice) -> Float32[np.ndarray, "h w 3"]:
        """A region that lies in the image."""
        ...


class RgbRegions:
    """Regions as RGB in [0, 1].

    Args:
        regions: As they are stored, of one channel or three.
        normalize: As `upseg.images.reading.read_image` takes it.

    Attributes:
        shape: (H, W) at full resolution.
        pixel_size: As of `regions`.

    Raises:
        ImageError: If `normalize` says nothing, or there is no pixel, or the number of channels is another.
    """

    def __init__(self, regions: Regions, normalize: str = "auto") -> None:
        self._normalization, self._regions = parse_normalization(normalize), regions
        self.shape, self.pixel_size = regions.levels[0], regions.pixel_size
        regions.read(slice(0, 1), slice(0, 1)).to_rgb()  # says what is wrong with the channels

    def read(self, rows: slice, columns: slice) -> Float32[np.ndarray, "h w 3"]:
        """A region at full resolution, RGB in [0, 1].

        Args:
            rows: From start to stop, both in the image.
            columns: As `rows`.

        Raises:
            ImageError: If what is stored there is damaged, or no finite number.
        """
        pixels = self._regions.read(rows, columns)
        if pixels.alpha is not None and pixels.alpha.dtype.itemsize != _EIGHT_BITS:
            raise ImageError("opacity of more than 8 bits cannot be read by regions; choose channels (--channels)")
        scaled = Pixels(self._converter(pixels.values), pixels.alpha, pixels.premultiplied)
        return scaled.to_rgb()

    @cached_property
    def _converter(self) -> Converter:
        first = self._regions.read(slice(0, 1), slice(0, 1)).values
        eight_bits = first.dtype.kind == "b" or (first.dtype.kind == "u" and first.dtype.itemsize == _EIGHT_BITS)
        chosen = self._normalization
        if eight_bits and (chosen is None or chosen.is_automatic):
            return to_unit_range
        least, most, sampled = self._looked_over(first)
        if chosen is None:
            extremes = least.min().item(), most.max().item()
            return lambda values: to_unit_range(values, extremes)
        low, high = channel_limits(sampled, chosen, lambda: (least, most))
        return lambda values: between(values, low, high)

    def _looked_over(
        self, first: Shaped[np.ndarray, "1 1 c"]
    ) -> tuple[Shaped[np.ndarray, " c"], Shaped[np.ndarray, " c"], Shaped[np.ndarray, "h w c"]]:
        """The least and largest value of each channel, and a regular sample of the image."""
        (height, width), count = self.shape, first.shape[2]
        step = sampling_step(height, width)
        sampled = np.empty((-(-height // step), -(-width // step), count), first.dtype)
        least, most = first[0, 0], first[0, 0]
        for rows, columns in blocks(height, width, _BLOCK):
            values = self._regions.read(rows, columns).values
            check_finite(values)
            least, most = np.minimum(least, values.min((0, 1))), np.maximum(most, values.max((0, 1)))
            _place(sampled, values, rows, columns, step)
        return least, most, sampled


def sampled(image: RgbSource, step: int) -> Float32[np.ndarray, "h w 3"]:
    """Every n-th row and column of an image, from the first."""
    height, width = image.shape
    found = np.empty((-(-height // step), -(-width // step), 3), np.float32)
    for rows, columns in blocks(height, width, _BLOCK):
        _place(found, image.read(rows, columns), rows, columns, step)
    return found


def _place(
    sampled: Shaped[np.ndarray, "h w c"],
    values: Shaped[np.ndarray, "h2 w2 c"],
    rows: slice,
    columns: slice,
    step: int,
) -> None:
    """Write the part of a block that a regular sample of the image has."""
    top, left = -rows.start % step, -columns.start % step
    part = values[top::step, left::step]
    row, column = (rows.start + top) // step, (columns.start + left) // step
    sampled[row : row + part.shape[0], column : column + part.shape[1]] = part
