"""The lines of YOLO's segmentation labels: a class and the corners of one outline, as shares of width and height.

Source: https://docs.ultralytics.com/datasets/segment/. A line is one object, so what has several parts or holes is
written as one outline: its rings are joined by bridges of no width, which the even-odd rule takes away again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from upseg.formats.outlines import Ring, outlines
from upseg.functional.keyholes import join_rings
from upseg.segmentation import Category, Segmentation

_DIGITS = 9
_BOX = 4  # numbers of a box
_LEAST = 6  # numbers of three corners
_FARTHEST = 2.0  # shares of the image: what is beyond is no outline in it


def yolo_lines(segmentation: Segmentation, classes: Mapping[Category, int]) -> list[str]:
    """One line for each segment; each has a category, whose number from 0 `classes` has."""
    height, width = segmentation.shape
    lines = []
    for segment, parts in outlines(segmentation):
        if segment.category is None:
            raise ValueError(f"segment {segment.id} has no category, which a line of YOLO needs")
        corners = join_rings([ring for part in parts for ring in part])
        shares = corners[:, ::-1] / np.array([width, height])
        numbers = " ".join(f"{share:.{_DIGITS}g}" for share in shares.ravel().tolist())
        lines.append(f"{classes[segment.category]} {numbers}")
    return lines


@dataclass
class YoloObjects:
    """What the lines of one image say.

    Attributes:
        rings: The outline of each object, corners as (row, column) in pixels.
        classes: The number of its class.
        lines: The line that it stands in, from 1.
        left_out: What is wrong with other lines.
    """

    rings: list[Ring] = field(default_factory=list)
    classes: list[int] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


def parse_yolo(lines: Sequence[str], shape: tuple[int, int], count: int) -> YoloObjects:
    """Read the lines of an image of a shape (H, W), with so many classes; what is no outline is left out."""
    found = YoloObjects()
    size = np.array(shape, np.float64)
    for number, line in enumerate(lines, start=1):
        if not (words := line.split()):
            continue
        wrong = _mistake(words, count)
        if wrong is not None:
            found.left_out.append(f"line {number} {wrong}")
            continue
        shares = np.array(words[1:], np.float64).reshape(-1, 2)
        found.rings.append(shares[:, ::-1] * size)
        found.classes.append(int(float(words[0])))
        found.lines.append(number)
    return found


def _mistake(words: Sequence[str], count: int) -> str | None:
    """Why a line is no outline of a known class; None if it is one."""
    try:
        values = np.array(words, np.float64)
    except ValueError:
        return "is no list of numbers"
    if not (0 <= values[0] < count and values[0] == int(values[0])):
        return "has a category that is not in the table of categories"
    if len(words) == 1 + _BOX:
        return "is only a box"
    if len(words) < 1 + _LEAST or len(words) % 2 == 0:
        return "is no polygon of at least three corners"
    if not np.all(np.abs(values[1:]) <= _FARTHEST):  # also of what is no number
        return "has corners far outside of its image"
    return None
