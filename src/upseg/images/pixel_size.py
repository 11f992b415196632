"""How large a pixel is: what a person says, or what OME and ImageJ note in a TIFF file."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

if TYPE_CHECKING:
    import tifffile

_LOGGER = logging.getLogger(__name__)
_TEXT = re.compile(r"\s*([0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]+)?)\s*(\S*)\s*")
_UNITS = {
    "nm": ("nm", "nanometer", "nanometre"),
    "um": ("um", "\u00b5m", "\u03bcm", "\\u00b5m", "micron", "microns", "micrometer", "micrometre", ""),
    "mm": ("mm", "millimeter", "millimetre"),
    "cm": ("cm", "centimeter", "centimetre"),
    "m": ("m", "meter", "metre"),
    "km": ("km", "kilometer", "kilometre"),
}
_NAMES = {name: unit for unit, names in _UNITS.items() for name in names}
_SAME = 0.01  # sides that differ by less than this share are those of a square


@dataclass(frozen=True, slots=True)
class PixelSize:
    """The length of a pixel's side; pixels are square.

    Attributes:
        length: Above 0.
        unit: `nm`, `um`, `mm`, `cm`, `m` or `km`.

    Example:
        >>> PixelSize.of("320 nm")
        PixelSize(length=320.0, unit='nm')
    """

    length: float
    unit: str

    def __post_init__(self) -> None:
        if not 0 < self.length < float("inf") or self.unit not in _UNITS:
            raise ValueError(
                f"a pixel's size must be above 0 in one of {', '.join(_UNITS)}, got {self.length} {self.unit}"
            )

    @classmethod
    def of(cls, value: PixelSize | Mapping[str, Any] | float | str) -> PixelSize:
        """From a text such as `0.32um`, a number of micrometres, or what `as_json` gives.

        Raises:
            ValueError: If it is no length.
        """
        if isinstance(value, PixelSize):
            return value
        if isinstance(value, Mapping):
            return cls(float(value["length"]), str(value["unit"]))
        found = _TEXT.fullmatch(str(value))
        if found is None or found[2].lower() not in _NAMES:
            raise ValueError(f"a pixel's size must be a number and a unit ({', '.join(_UNITS)}), got {value!r}")
        return cls(float(found[1]), _NAMES[found[2].lower()])

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return asdict(self)


def read_pixel_size(path: Path) -> PixelSize | None:
    """What the metadata of OME or ImageJ in a TIFF file say; None where they say nothing, or it is no such file.

    Resolutions in dots per inch or centimetre alone are not taken for it: they are what programs write by habit.
    """
    import tifffile

    try:
        with tifffile.TiffFile(path, is_ome=False) as file:
            sides = _ome_sides(file) or _imagej_sides(file)
    except (tifffile.TiffFileError, OSError, ValueError, KeyError, TypeError, ZeroDivisionError, IndexError):
        return None  # damaged files are named by what reads their pixels
    if sides is None:
        return None
    across, down, unit = sides
    if abs(across - down) > _SAME * max(across, down):
        _LOGGER.warning(
            "%s: its pixels are not square (%g by %g %s), so its sizes stay in pixels", path, across, down, unit
        )
        return None
    try:
        return PixelSize.of(f"{across:.12g} {unit}")
    except ValueError:
        _LOGGER.warning("%s: the unit of its pixel size (%s) is not known, so its sizes stay in pixels", path, unit)
        return None


def _ome_sides(file: tifffile.TiffFile) -> tuple[float, float, str] | None:
    description = file.pages.first.description
    if "<OME" not in description and ":OME" not in description[:1000]:
        return None
    if "<!DOCTYPE" in description or "<!ENTITY" in description:
        return None  # OME has neither, and entities can be made to grow without end
    try:
        root = ElementTree.fromstring(description)  # noqa: S314 - without entities
    except ElementTree.ParseError:
        return None
    pixels = next((node for node in root.iter() if node.tag.rpartition("}")[2] == "Pixels"), None)
    if pixels is None or "PhysicalSizeX" not in pixels.attrib:
        return None
    across = float(pixels.attrib["PhysicalSizeX"])
    unit = pixels.attrib.get("PhysicalSizeXUnit", "\u00b5m")
    return across, float(pixels.attrib.get("PhysicalSizeY", across)), unit


def _imagej_sides(file: tifffile.TiffFile) -> tuple[float, float, str] | None:
    metadata = file.imagej_metadata
    if not metadata or str(metadata.get("unit", "pixel")).lower() in ("pixel", "pixels", ""):
        return None
    tags = file.pages.first.tags
    if "XResolution" not in tags:
        return None
    across = tags["XResolution"].value
    down = tags["YResolution"].value if "YResolution" in tags else across
    return 1 / (across[0] / across[1]), 1 / (down[0] / down[1]), str(metadata["unit"])
