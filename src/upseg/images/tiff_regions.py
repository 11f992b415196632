"""Regions of TIFF files: of pyramids, OME-TIFF and SVS only the tiles are decoded that a region touches."""

from __future__ import annotations

import math
import re
import weakref
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from jaxtyping import Shaped

from upseg.errors import ImageError
from upseg.images.decoding import decoding_errors
from upseg.images.normalization import Pixels
from upseg.images.pixel_size import PixelSize, read_pixel_size
from upseg.images.tiff import (
    ORIENTATION_TAG,
    PLAIN_COLOURS,
    chosen_plane,
    describes_itself,
    layout_of,
    meaning_of_samples,
    plane_of,
)

_MOST_KEPT = 1 << 27  # bytes of decoded tiles that neighbouring regions share
_MOST_IN_ONE = 1 << 28  # bytes of a tile: what is stored in larger pieces cannot be read in bounded memory
_JPEG = (6, 7, 33007, 34892)


class TiffRegions:
    """One plane of a TIFF's first series, and of its pyramid levels.

    Args:
        path: An existing file.
        channels: What to pick; with it, planes of unknown meaning count as channels.
        page: Which plane; needed where there are several.

    Attributes:
        levels: (height, width) of each resolution.
        chunk: (height, width) of a tile.
        pixel_size: From the metadata of OME, ImageJ or Aperio; None where they say nothing.

    Raises:
        ImageError: If the file is damaged, there is no such plane, it is not stored upright, or its colours cannot be
            read by regions.
    """

    def __init__(self, path: Path, *, channels: Sequence[int] | None = None, page: int | None = None) -> None:
        self._path, self._channels = path, channels
        with decoding_errors():
            self._file = tifffile.TiffFile(path)
            if self._file.is_ome and not describes_itself(self._file):
                self._file.close()
                self._file = tifffile.TiffFile(path, is_ome=False)
            weakref.finalize(self, self._file.close)
            if not self._file.series:
                raise ImageError("this TIFF file holds no image")
            self._levels = list(self._file.series[0].levels)
            layouts = [layout_of(series, channels) for series in self._levels]
            self._layout = layouts[0]
            self._plane = chosen_plane(self._layout, page)
        self.levels = tuple((layout.length("Y"), layout.length("X")) for layout in layouts)
        keyframe = self._levels[0].keyframe
        self.chunk = _chunk(keyframe)
        self._refuse_what_has_no_regions(keyframe)
        self.pixel_size = read_pixel_size(path) or _aperio_size(self._file)
        self._kept: OrderedDict[tuple[int, int], Any] = OrderedDict()
        self._kept_bytes = 0

    def _refuse_what_has_no_regions(self, page: tifffile.TiffPage) -> None:
        tag = page.tags.get(ORIENTATION_TAG)
        if tag is not None and int(tag.value) != 1:
            raise ImageError("the image is not stored upright; such a TIFF can only be read as a whole")
        decoded_by_jpeg = page.photometric == tifffile.PHOTOMETRIC.YCBCR and int(page.compression) in _JPEG
        if page.photometric not in PLAIN_COLOURS and not decoded_by_jpeg:
            name = getattr(page.photometric, "name", page.photometric)
            raise ImageError(f"colours of the kind {name} can only be read as a whole; save the image as grey or RGB")
        if page.imagedepth > 1:
            raise ImageError("a TIFF page with a depth cannot be read by regions; save one page for each plane")
        piece = math.prod(self.chunk) * np.dtype(page.dtype).itemsize * page.shaped[-1]
        if not page.is_contiguous and piece > _MOST_IN_ONE:
            raise ImageError(f"it is stored in pieces of {self.chunk} pixels, {piece:,} bytes each; save it in tiles")

    def read(self, rows: slice, columns: slice, level: int = 0) -> Pixels:
        """As `upseg.images.regions.Regions.read`."""
        with decoding_errors():
            series = self._levels[level]

            def of_stack(index: tuple[int | slice, ...]) -> Shaped[np.ndarray, "*shape"]:
                if series.dataoffset is None:
                    raise ImageError("its planes are stored in a way that can only be read as a whole")
                # a stack in one piece, of which only the first page is described
                window = {"Y": rows, "X": columns}
                places = tuple(window.get(axis, at) for axis, at in zip(self._layout.axes, index, strict=True))
                return self._mapped(series.dtype, series.dataoffset, series.shape, places)

            samples = plane_of(
                series, self._layout, self._plane, lambda page: self._page_region(page, rows, columns), of_stack
            )
        pixels = meaning_of_samples(series.keyframe, samples, raw=self._channels is not None)
        return pixels if self._channels is None else pixels.pick(self._channels)

    def _mapped(
        self, kind: np.dtype[Any], offset: int, shape: tuple[int, ...], places: tuple[Any, ...]
    ) -> Shaped[np.ndarray, "*shape"]:
        """A part of values that are stored as they are."""
        stored = np.memmap(self._path, kind.newbyteorder(self._file.byteorder), "r", offset, shape)
        return np.array(stored[places]).astype(kind.newbyteorder("="), copy=False)

    def _page_region(
        self, page: tifffile.TiffPage | tifffile.TiffFrame, rows: slice, columns: slice
    ) -> Shaped[np.ndarray, "*shape"]:
        """A region of one page, with the axes of the page."""
        keyframe = _keyframe(page)
        kind = np.dtype(keyframe.dtype)
        planes, _, _, _, samples = keyframe.shaped
        if page.is_contiguous and keyframe.fillorder == 1 and keyframe.predictor == 1:
            places = (slice(None), 0, rows, columns)
            found = self._mapped(kind, page.dataoffsets[0], keyframe.shaped, places)
        else:
            shape = planes, rows.stop - rows.start, columns.stop - columns.start, samples
            found = np.full(shape, keyframe.nodata, kind)
            for number in _touched(keyframe, rows, columns):
                self._copy_tile(page, number, found, rows, columns)
        has_samples = "S" in keyframe.axes
        if keyframe.axes.startswith("S"):
            return found[..., 0]
        return found[0] if has_samples else found[0, ..., 0]

    def _copy_tile(
        self,
        page: tifffile.TiffPage | tifffile.TiffFrame,
        number: int,
        found: Shaped[np.ndarray, "p h w s"],
        rows: slice,
        columns: slice,
    ) -> None:
        tile, (plane, _, top, left, _), (_, height, width, _) = self._tile(page, number)
        if tile is None:
            return
        down = slice(max(rows.start, top), min(rows.stop, top + height))
        across = slice(max(columns.start, left), min(columns.stop, left + width))
        target = found[plane, _moved(down, rows.start), _moved(across, columns.start)]
        target[:] = tile[0, _moved(down, top), _moved(across, left)]

    def _tile(self, page: tifffile.TiffPage | tifffile.TiffFrame, number: int) -> Any:
        """A decoded tile or strip, its place and its shape, as `tifffile.TiffPage.decode` gives them."""
        key = (page.offset, number)
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        keyframe = _keyframe(page)
        data, length = None, page.databytecounts[number]
        if length:
            self._file.filehandle.seek(page.dataoffsets[number])
            data = self._file.filehandle.read(length)
        tables = {}
        if int(keyframe.compression) in _JPEG:
            tables = {"jpegtables": page.jpegtables, "jpegheader": keyframe.jpegheader}
        decoded = keyframe.decode(data, number, **tables)
        self._kept[key] = decoded
        self._kept_bytes += _bytes_of(decoded)
        while self._kept_bytes > _MOST_KEPT and len(self._kept) > 1:
            self._kept_bytes -= _bytes_of(self._kept.popitem(last=False)[1])
        return decoded


def _bytes_of(decoded: Any) -> int:
    return 0 if decoded[0] is None else int(decoded[0].nbytes)


def _moved(span: slice, origin: int) -> slice:
    return slice(span.start - origin, span.stop - origin)


def _chunk(page: tifffile.TiffPage) -> tuple[int, int]:
    """(height, width) of a page's tiles or strips."""
    if page.is_tiled:
        return page.tilelength, page.tilewidth
    return min(page.rowsperstrip, page.imagelength), page.imagewidth


def _keyframe(page: tifffile.TiffPage | tifffile.TiffFrame) -> tifffile.TiffPage:
    """The page whose tags say how this one is stored."""
    assert page.keyframe is not None  # noqa: S101  (only of frames that were made by hand)
    return page.keyframe


def _touched(page: tifffile.TiffPage, rows: slice, columns: slice) -> Iterator[int]:
    """The numbers of the tiles or strips that a region touches."""
    height, width = _chunk(page)
    down, across = -(-page.imagelength // height), -(-page.imagewidth // width)
    for plane in range(page.shaped[0]):
        for row in range(rows.start // height, -(-rows.stop // height)):
            for column in range(columns.start // width, -(-columns.stop // width)):
                yield (plane * down + row) * across + column


def _aperio_size(file: tifffile.TiffFile) -> PixelSize | None:
    """The microns per pixel that Aperio notes."""
    found = re.search(r"\|\s*MPP\s*=\s*([0-9.]+)", file.pages.first.description) if file.is_svs else None
    return None if found is None or not float(found[1]) > 0 else PixelSize(float(found[1]), "um")
