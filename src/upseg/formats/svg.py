"""SVG: each segment's exact outline as one filled path."""

from __future__ import annotations

import html
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from jaxtyping import Int32

from upseg.files import atomic_path
from upseg.formats.colours import segment_colours
from upseg.formats.metadata import assemble, facts_from_text, facts_to_text, reading, size_of
from upseg.formats.outlines import Ring, outlines, paint_polygons
from upseg.segmentation import Segment, Segmentation

_NAMESPACE = "http://www.w3.org/2000/svg"
_NO_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # what XML 1.0 cannot hold
_RING = re.compile(r"M(-?\d+) (-?\d+)((?:[hv]-?\d+)*)z")
_STEP = re.compile(r"([hv])(-?\d+)")


def write_svg(segmentation: Segmentation, path: Path) -> Path:
    """Write one `path` for each segment, in the overlay's colours; the facts as JSON in `metadata`.

    One unit is one pixel. Each path has the id `segment-N`, the classes `segment` and, with a category, `category-ID`,
    the area in pixels as `data-area`, and the category's name (or the id) as title, which browsers show on hovering.
    """
    height, width = segmentation.shape
    colours = segment_colours(segmentation).tolist()
    facts = html.escape(facts_to_text(segmentation), quote=False)
    with atomic_path(path) as partial, partial.open("w", encoding="utf-8", newline="\n") as file:
        file.write(
            f'<svg xmlns="{_NAMESPACE}" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
            f'shape-rendering="crispEdges">\n<metadata>{facts}</metadata>\n'
        )
        for (segment, parts), colour in zip(outlines(segmentation), colours, strict=True):
            text = "".join(_ring_to_text(ring) for part in parts for ring in part)
            file.write(_path_element(segment, colour, text))
        file.write("</svg>\n")
    return path


def _path_element(segment: Segment, colour: list[int], outline: str) -> str:
    category = segment.category
    title = f"segment {segment.id}" if category is None else _NO_XML.sub("\ufffd", category.name)
    classes = "segment" if category is None else f"segment category-{category.id}"
    red, green, blue = colour
    title = html.escape(title, quote=False)
    return (
        f'<path id="segment-{segment.id}" class="{classes}" data-area="{segment.area}" fill-rule="evenodd" '
        f'fill="#{red:02x}{green:02x}{blue:02x}" d="{outline}"><title>{title}</title></path>\n'
    )


def _ring_to_text(corners: Int32[np.ndarray, "n 2"]) -> str:
    """Horizontal and vertical steps from the first corner; `z` draws the last one."""
    row, column = corners[0].tolist()
    downwards, rightwards = np.diff(corners, axis=0).T.tolist()
    steps = (f"h{right}" if right else f"v{down}" for down, right in zip(downwards, rightwards, strict=True))
    return f"M{column} {row}{''.join(steps)}z"


def read_svg(path: Path) -> Segmentation:
    """Read an SVG file that upseg wrote.

    SVG has no rules for what a segment is, so the files of other programs are refused.

    Raises:
        FormatError: If the file is broken or upseg did not write it.
    """
    with reading(path, "an SVG file of upseg"):
        text = path.read_text(encoding="utf-8")
        if "<!DOCTYPE" in text or "<!ENTITY" in text:  # upseg writes none, and entities can be made to fill the memory
            raise ValueError("it has a document type, which upseg never writes")
        root = ElementTree.fromstring(text)  # noqa: S314 - no entities, see above
        metadata = root.find(f"{{{_NAMESPACE}}}metadata")
        if metadata is None or not (metadata.text or "").startswith('{"upseg":'):
            raise ValueError(
                "upseg did not write it: use a label PNG or GeoJSON to bring in outlines of other programs"
            )
        facts = facts_from_text(metadata.text or "")
        _, _, width, height = map(int, root.get("viewBox", "").split())
        shape = size_of(height, width)
        elements = root.findall(f"{{{_NAMESPACE}}}path")
        if [e.get("id") for e in elements] != [f"segment-{i}" for i in range(1, len(elements) + 1)]:
            raise ValueError(f"its paths must be segment-1 to segment-{facts.count}")
        polygons = [(i, _parse_path(element.get("d", ""), i)) for i, element in enumerate(elements, start=1)]
        labels, hidden = paint_polygons(polygons, shape)
        if hidden.any():
            raise ValueError("its segments overlap, which upseg never writes")
        areas = {i: int(area) for i, element in enumerate(elements, start=1) if (area := element.get("data-area"))}
        return assemble(labels, replace(facts, areas=areas))


def _parse_path(outline: str, number: int) -> list[Ring]:
    """The rings of the path of a segment."""
    rings: list[Ring] = []
    end = 0
    for match in _RING.finditer(outline):
        if match.start() != end:
            break
        end = match.end()
        column, row, steps = match.groups()
        moves = _STEP.findall(steps)
        corners = np.zeros((len(moves) + 1, 2))
        corners[0] = int(row), int(column)
        for axis, letter in enumerate("vh"):
            corners[1:, axis] = [int(length) if kind == letter else 0 for kind, length in moves]
        rings.append(np.cumsum(corners, axis=0))
    if end != len(outline) or end == 0:
        raise ValueError(f"the outline of segment-{number} is not one that upseg writes")
    return rings
