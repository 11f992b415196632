"""Regions of OME-Zarr images, version 0.4 and 0.5; zarr, which the extra `big` installs, reads the chunks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from upseg.errors import ImageError
from upseg.images.decoding import check_size, decoding_errors
from upseg.images.normalization import Pixels
from upseg.images.pixel_size import PixelSize

ZARR_SUFFIX = ".zarr"
"""What a folder is called that is one image."""
_MARKS = ("zarr.json", ".zattrs", ".zgroup")


def is_zarr(path: Path) -> bool:
    """Whether a folder is a Zarr group, by what it is called or what lies in it."""
    return path.suffix.lower() == ZARR_SUFFIX or any((path / name).is_file() for name in _MARKS)


def zarr_module() -> Any:
    """The module zarr.

    Raises:
        ImageError: If it is not installed.
    """
    try:
        import zarr
    except ImportError as error:
        raise ImageError("OME-Zarr needs the package zarr: pip install 'upseg[big]'") from error
    return zarr


class ZarrRegions:
    """One plane of the first image of an OME-Zarr folder.

    Args:
        path: The folder.
        channels: What to pick; None for all of one or three.
        page: Which plane of the axes other than channel, row and column, counted in row-major order.

    Attributes:
        levels: (height, width) of each resolution.
        chunk: (height, width) of a chunk.
        planes: How many there are.
        pixel_size: From the first coordinate transformation, where the axes have a unit.

    Raises:
        ImageError: If it is no image of OME-Zarr, or has no such plane, or nobody said which of several.
    """

    def __init__(self, path: Path, *, channels: Sequence[int] | None = None, page: int | None = None) -> None:
        if not is_zarr(path):
            raise ImageError("this is a folder, not an image")
        zarr = zarr_module()
        self._channels = channels
        try:
            group = zarr.open_group(str(path), mode="r")
            if "multiscales" not in _metadata(group) and "0" in group and not hasattr(group["0"], "shape"):
                group = group["0"]  # a series of images, as bioformats2raw writes it
            described = _metadata(group)["multiscales"][0]
            self._arrays = [group[entry["path"]] for entry in described["datasets"]]
            names = [axis["name"] if isinstance(axis, Mapping) else axis for axis in described["axes"]]
        except (KeyError, IndexError, TypeError, ValueError, OSError) as error:
            raise ImageError(f"this Zarr folder is no image of OME-Zarr ({error})") from error
        if names[-2:] != ["y", "x"] or len(names) != self._arrays[0].ndim:
            raise ImageError(f"an image of OME-Zarr ends with the axes y and x, this one has {names}")
        self._names = names
        self.levels = tuple((array.shape[-2], array.shape[-1]) for array in self._arrays)
        self.chunk = self._arrays[0].chunks[-2:]
        self.pixel_size = _pixel_size(described)
        lengths = zip(names[:-2], self._arrays[0].shape, strict=False)
        self.planes = math.prod(length for name, length in lengths if name != "c")
        self._places = self._plane_index(page)

    def read(self, rows: slice, columns: slice, level: int = 0) -> Pixels:
        """As `upseg.images.regions.Regions.read`."""
        array = self._arrays[level]
        count = array.shape[self._names.index("c")] if "c" in self._names else 1
        wanted = range(count) if self._channels is None else self._channels
        if max(wanted) >= count:
            raise ImageError(f"channels {list(wanted)} were asked for, but the image has only 0 to {count - 1}")
        with decoding_errors():
            planes = [
                np.asarray(array[(*(channel if place is None else place for place in self._places), rows, columns)])
                for channel in wanted
            ]
        return Pixels(np.stack(planes, axis=-1))

    def _plane_index(self, page: int | None) -> tuple[int | None, ...]:
        """The index of each axis before the rows; None for the channels."""
        shape = self._arrays[0].shape
        counted = [(name, length) for name, length in zip(self._names[:-2], shape, strict=False) if name != "c"]
        count = self.planes
        if page is None and count > 1:
            raise ImageError(
                f"this image holds {count} planes (axes {''.join(self._names)}, lengths {shape}); choose one, counted "
                "from 0, with page=... (--page)"
            )
        if not 0 <= (page or 0) < count:
            raise ImageError(f"page {page} was asked for, but the image has only 0 to {count - 1}")
        position = iter(np.unravel_index(page or 0, [length for _, length in counted]) if counted else ())
        return tuple(None if name == "c" else int(next(position)) for name in self._names[:-2])


def read_zarr(path: Path, *, channels: Sequence[int] | None, page: int | None, max_pixels: int) -> Pixels:
    """One whole plane at full resolution.

    Args:
        path: The folder.
        channels: What to take; None for all of one or three.
        page: Which plane, counted from 0; needed where there are several.
        max_pixels: Refuse more than this many pixels before decoding.

    Raises:
        ImageError: As `ZarrRegions`, or if the image is too large or damaged.
    """
    regions = ZarrRegions(path, channels=channels, page=page)
    height, width = regions.levels[0]
    check_size(height, width, max_pixels)
    return regions.read(slice(0, height), slice(0, width))


def _metadata(group: Any) -> Mapping[str, Any]:
    """What OME notes: of version 0.5 under a key of its own."""
    attributes = dict(group.attrs)
    noted = attributes.get("ome", attributes)
    return noted if isinstance(noted, Mapping) else {}


def _pixel_size(described: Mapping[str, Any]) -> PixelSize | None:
    try:
        *_, down, across = described["axes"]
        (scale,) = (t["scale"] for t in described["datasets"][0]["coordinateTransformations"] if t["type"] == "scale")
        if not math.isclose(scale[-1], scale[-2], rel_tol=0.01) or down["unit"] != across["unit"]:
            return None
        return PixelSize.of(f"{scale[-1]:.12g} {across['unit']}")
    except (KeyError, TypeError, ValueError):
        return None
