"""TIFF files: any depth, floats, many channels, stacks of planes.

tifffile reads what instruments write, in every compression; colours that it would leave unconverted (palette, CMYK,
YCbCr) are left to Pillow.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile
from jaxtyping import Shaped
from PIL import Image

from upseg.errors import ImageError
from upseg.images.decoding import (
    check_size,
    decode_both_bytes,
    decode_pillow,
    decoding_errors,
    keeps_one_byte_of_two,
    oriented,
)
from upseg.images.normalization import Pixels

ORIENTATION_TAG = 274
PLAIN_COLOURS = (tifffile.PHOTOMETRIC.MINISWHITE, tifffile.PHOTOMETRIC.MINISBLACK, tifffile.PHOTOMETRIC.RGB)
_ALPHA = (tifffile.EXTRASAMPLE.ASSOCALPHA, tifffile.EXTRASAMPLE.UNASSALPHA)
_CHANNELS_PER_PIXEL = 4  # a file may hold this many samples for each pixel that the limit allows


@dataclass(frozen=True)
class Layout:
    """Which axis of a series is which.

    Attributes:
        axes: One letter for each axis, as tifffile names them; Y and X are among them.
        shape: The length of each axis.
        channel: The letter of the channel axis, or None where there is one channel.
        planes: The letters of the axes that count planes.
    """

    axes: str
    shape: tuple[int, ...]
    channel: str | None
    planes: str

    def length(self, axis: str) -> int:
        """Of an axis."""
        return self.shape[self.axes.index(axis)]

    @property
    def plane_count(self) -> int:
        """How many planes there are."""
        return math.prod(self.length(axis) for axis in self.planes)

    def plane_index(self, page: int) -> tuple[int | slice, ...]:
        """The index into the series that selects plane `page`, counted in row-major order."""
        position = np.unravel_index(page, [self.length(axis) for axis in self.planes]) if self.planes else ()
        chosen = {axis: int(index) for axis, index in zip(self.planes, position, strict=True)}
        return tuple(chosen.get(axis, slice(None)) for axis in self.axes)


def read_tiff(path: Path, *, channels: Sequence[int] | None, page: int | None, max_pixels: int) -> Pixels:
    """Read one plane of a TIFF file's first series of equal-sized pages.

    Later series (thumbnails, pyramid levels) are ignored.

    Args:
        path: An existing file.
        channels: The channels that the caller will pick. With them, planes of unknown meaning count as channels.
        page: Which plane to read, counted from 0; needed where there are several.
        max_pixels: Refuse more than this many pixels before decoding.

    Raises:
        ImageError: If the file is damaged or too large, its compression cannot be read, or it has several planes and
            nobody said which one.
    """
    with decoding_errors():
        with tifffile.TiffFile(path) as file:
            # a file speaks for itself alone: what it says about others, or about planes that it has not, is left out
            if not file.is_ome or describes_itself(file):
                return _read_series(file, path, channels, page, max_pixels)
        with tifffile.TiffFile(path, is_ome=False) as file:
            return _read_series(file, path, channels, page, max_pixels)


def count_planes(path: Path, channels: Sequence[int] | None) -> int:
    """How many planes `read_tiff` can be asked for.

    Raises:
        ImageError: If the file is damaged.
    """
    with decoding_errors(), tifffile.TiffFile(path) as file:
        if not file.series:
            raise ImageError("this TIFF file holds no image")
        return layout_of(file.series[0], channels).plane_count


def describes_itself(file: tifffile.TiffFile) -> bool:
    """Whether the OME-XML of a file names no other file, and no more planes than the file has."""
    text = file.ome_metadata or ""
    names = re.findall(r"\b(?:FileName|MetadataFile)\s*=\s*[\"']([^\"']*)", text)
    planes = 0
    for tag in re.findall(r"<(?:\w+:)?Pixels\b[^>]*>", text):
        planes += math.prod(int(size) for size in re.findall(r"\bSize[CZT]\s*=\s*[\"'](\d{1,18})[\"']", tag))
    return {*names} <= {file.filename} and planes <= len(file.pages) * max(file.pages.first.samplesperpixel, 1)


def _read_series(
    file: tifffile.TiffFile, path: Path, channels: Sequence[int] | None, page: int | None, max_pixels: int
) -> Pixels:
    if not file.series:
        raise ImageError("this TIFF file holds no image")
    series = file.series[0]
    layout = layout_of(series, channels)
    _check_sizes(series, layout, max_pixels)
    plane = chosen_plane(layout, page)
    first_page = series.keyframe
    if first_page.photometric in PLAIN_COLOURS:
        samples = plane_of(series, layout, plane, lambda page: page.asarray(), lambda index: series.asarray()[index])
        return meaning_of_samples(first_page, samples, raw=channels is not None)
    if len(series.pages) != layout.plane_count:
        raise _unreadable(first_page)
    return _read_with_pillow(path, stored_page(series, plane).index, first_page, max_pixels)


def layout_of(series: tifffile.TiffPageSeries, channels: Sequence[int] | None) -> Layout:
    """Which axis of a series is which; with `channels`, planes of unknown meaning count as channels."""
    axes, shape = series.axes, series.shape
    if "Y" not in axes or "X" not in axes:
        raise ImageError(f"this TIFF file holds no image with rows and columns (its axes are {axes})")
    others = [axis for axis, length in zip(axes, shape, strict=True) if axis not in "YXSC" and length > 1]
    channel = next((axis for axis in "SC" if axis in axes and shape[axes.index(axis)] > 1), None)
    if channel is None and channels is not None and len(others) == 1:
        channel = others[0]
    planes = "".join(axis for axis in axes if axis not in "YX" and axis != channel)
    return Layout(axes, shape, channel, planes)


def _check_sizes(series: tifffile.TiffPageSeries, layout: Layout, max_pixels: int) -> None:
    """Refuse large images, many channels, and tiles that are larger than the image they are part of."""
    height, width = layout.length("Y"), layout.length("X")
    check_size(height, width, max_pixels)
    depth = layout.length(layout.channel) if layout.channel else 1
    tile = series.keyframe.tilelength * series.keyframe.tilewidth
    if height * width * depth > _CHANNELS_PER_PIXEL * max_pixels or tile > max_pixels:
        raise ImageError(
            f"{width} x {height} with {depth} channels is over the limit of {max_pixels:,} pixels; "
            "if you trust the file, raise the limit with max_pixels=... (--max-pixels)"
        )


def chosen_plane(layout: Layout, page: int | None) -> int:
    """The plane that is asked for, or the only one.

    Raises:
        ImageError: If there are several and nobody said which, or there is no such plane.
    """
    count = layout.plane_count
    if page is None and count > 1:
        meaning = f"this TIFF file holds {count} planes (axes {layout.axes}, lengths {layout.shape})"
        unknown = len([axis for axis in layout.planes if layout.length(axis) > 1]) == 1 and layout.channel is None
        colours = ", or take them as channels with channels=... (--channels)" if unknown else ""
        raise ImageError(f"{meaning}; choose one, counted from 0, with page=... (--page){colours}")
    if not 0 <= (page or 0) < count:
        raise ImageError(f"page {page} was asked for, but the file has only 0 to {count - 1}")
    return page or 0


def plane_of(
    series: tifffile.TiffPageSeries,
    layout: Layout,
    plane: int,
    of_page: Callable[[tifffile.TiffPage | tifffile.TiffFrame], Shaped[np.ndarray, "*page"]],
    of_stack: Callable[[tuple[int | slice, ...]], Shaped[np.ndarray, "*plane"]],
) -> Shaped[np.ndarray, "h w c"]:
    """One plane, or a region of it; no page is looked at that is not needed for it.

    Args:
        series: That it is in.
        layout: Of the series.
        plane: Its number.
        of_page: Decodes a page, with its own axes.
        of_stack: Decodes what an index into the series selects, where the pages are not those of the series.
    """
    index = layout.plane_index(plane)
    leading = series.ndim - series.keyframe.ndim
    if len(series.pages) == math.prod(series.shape[:leading]):
        numbers = np.arange(len(series.pages)).reshape(series.shape[:leading])[index[:leading]]
        pages = [of_page(stored_page(series, int(number))) for number in numbers.ravel()]
        samples = np.stack(pages).reshape(*numbers.shape, *pages[0].shape)
        samples = samples[(*(slice(None),) * numbers.ndim, *index[leading:])]
    else:
        samples = of_stack(index)
    remaining = [axis for axis, chosen in zip(layout.axes, index, strict=True) if isinstance(chosen, slice)]
    if layout.channel is None:
        remaining, samples = [*remaining, "S"], samples[..., None]
    order = [remaining.index(axis) for axis in ("Y", "X", layout.channel or "S")]
    return samples.transpose(order)


def stored_page(series: tifffile.TiffPageSeries, number: int) -> tifffile.TiffPage | tifffile.TiffFrame:
    """A page of a series, which a damaged file may not have."""
    page = series.pages[number]
    if page is None:
        raise ImageError(f"page {number} is missing from this TIFF file")
    return page


def meaning_of_samples(page: tifffile.TiffPage, samples: Shaped[np.ndarray, "h w c"], *, raw: bool) -> Pixels:
    """Apply what the tags say about the samples: orientation, inverted grey and, unless `raw`, alpha and spare ones."""
    if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE and samples.dtype.kind in "bu":
        samples = ~samples if samples.dtype.kind == "b" else (2**page.bitspersample - 1) - samples
    tag = page.tags.get(ORIENTATION_TAG)
    samples = oriented(samples, int(tag.value) if tag is not None else 1)
    count = samples.shape[2]
    if raw or not page.extrasamples or page.samplesperpixel != count:
        return Pixels(samples)
    colours = count - len(page.extrasamples)
    alpha = next((colours + index for index, kind in enumerate(page.extrasamples) if kind in _ALPHA), None)
    # what follows red, green and blue, such as infrared, is no colour
    kept = range(3) if colours == 3 else [index for index in range(count) if index != alpha]
    if alpha is None:
        return Pixels(samples[..., list(kept)])
    premultiplied = page.extrasamples[alpha - colours] == tifffile.EXTRASAMPLE.ASSOCALPHA
    return Pixels(samples[..., list(kept)], alpha=samples[..., alpha], premultiplied=premultiplied)


def _read_with_pillow(path: Path, index: int, page: tifffile.TiffPage, max_pixels: int) -> Pixels:
    """Decode page `index` of the file with Pillow, in full depth or not at all."""
    try:
        with Image.open(path, formats=("TIFF",)) as image, Image.open(path, formats=("TIFF",)) as again:
            image.seek(index)
            again.seek(index)
            if keeps_one_byte_of_two(image):
                return decode_both_bytes(image, again)
            if page.bitspersample > 8 and len(image.getbands()) > 1:
                raise _unreadable(page)
            return decode_pillow(image, max_pixels=max_pixels)
    except (OSError, SyntaxError, ValueError, KeyError) as error:
        raise _unreadable(page) from error


def _unreadable(page: tifffile.TiffPage) -> ImageError:
    compression = getattr(page.compression, "name", page.compression)
    colours = getattr(page.photometric, "name", page.photometric)
    return ImageError(
        f"the file is damaged, or its kind of TIFF is not read ({compression} compression, {colours} colours, "
        f"{page.bitspersample} bits); save the image as grey or RGB"
    )
