"""CVAT's and Datumaro's `labelmap.txt`: which colour of a mask stands for which class, and the colours themselves.

Source: https://docs.cvat.ai/docs/dataset_management/formats/format-smask/: lines `name:r,g,b:parts:actions`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Int32, Integer, UInt8

from upseg.segmentation import Category

BACKGROUND = "background"
_HEADER = "# label:color_rgb:parts:actions"
_BITS = 8
_LARGEST = 255

Colour = tuple[int, int, int]


def spread_colours(numbers: Integer[np.ndarray, " n"]) -> UInt8[np.ndarray, "n 3"]:
    """A colour for each number from 0 to 2^24 - 1, all different, 0 black, near numbers far apart: PASCAL VOC's."""
    colours = np.zeros((len(numbers), 3), np.int64)
    rest = numbers.astype(np.int64)
    for bit in range(_BITS - 1, -1, -1):
        colours |= (rest[:, None] >> np.arange(3) & 1) << bit
        rest = rest >> 3
    return colours.astype(np.uint8)


def label_map_text(categories: Sequence[Category]) -> str:
    """The file's text for some classes, which have the colours of 1, 2, 3, ..."""
    colours = spread_colours(np.arange(1, len(categories) + 1)).tolist()
    names = [BACKGROUND, *(category.name for category in categories)]
    wrong = next((name for name in names if set(name) & set(":\n\r") or name.startswith("#")), None)
    if wrong is not None:
        raise ValueError(f"a class in labelmap.txt must have no colon and no line break in its name, got {wrong!r}")
    rows = zip(names, [[0, 0, 0], *colours], strict=True)
    return "\n".join([_HEADER, *(f"{name}:{','.join(map(str, colour))}::" for name, colour in rows)]) + "\n"


def parse_label_map(text: str) -> dict[str, Colour]:
    """The colour of each class, the background included where the file lists it, in the file's order.

    Raises:
        ValueError: If a line is not of the form, or two classes share a name or a colour.
    """
    found: dict[str, Colour] = {}
    for line in text.splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, _, rest = line.partition(":")
        numbers = rest.partition(":")[0].split(",")
        if rest and numbers == [""]:  # datumaro's, where nobody chose colours: PASCAL VOC's in the lines' order
            numbers = [str(part) for part in spread_colours(np.array([len(found)]))[0].tolist()]
        if len(numbers) != 3 or not all(n.strip().isdecimal() and int(n) <= _LARGEST for n in numbers):
            raise ValueError(f"expected lines name:red,green,blue::, got {line[:60]!r}")
        red, green, blue = map(int, numbers)
        if name.strip() in found:
            raise ValueError(f"two lines are about {name.strip()!r}")
        found[name.strip()] = (red, green, blue)
    others = [colour for name, colour in found.items() if name.lower() != BACKGROUND]
    twice = next((colour for colour in others if others.count(colour) > 1), None)
    if twice is not None:
        raise ValueError(f"two classes have the colour {twice}")
    return found


def class_table(colours: Mapping[str, Colour]) -> dict[Colour, int]:
    """The number of each class by its colour: 0 for the background, then 1, 2, 3, ... in the file's order.

    Black is background too where it is no class: masks have it whatever colour the file gives the background.
    """
    names = [name for name in colours if name.lower() != BACKGROUND]
    background = next((colour for name, colour in colours.items() if name.lower() == BACKGROUND), (0, 0, 0))
    return {(0, 0, 0): 0, background: 0, **{colours[name]: number for number, name in enumerate(names, start=1)}}


def numbers_of_colours(pixels: UInt8[np.ndarray, "h w 3"], table: Mapping[Colour, int]) -> Int32[np.ndarray, "h w"]:
    """The number that each pixel's colour stands for.

    Raises:
        ValueError: If a colour is not in the table.
    """
    packed = pixels.astype(np.int32) @ np.array([1, 256, 65_536], np.int32)
    present, inverse = np.unique(packed, return_inverse=True)
    known = {red + 256 * green + 65_536 * blue: number for (red, green, blue), number in table.items()}
    missing = [value for value in present.tolist() if value not in known]
    if missing:
        value = missing[0]
        raise ValueError(
            f"the colour {(value & 255, value >> 8 & 255, value >> 16)} is none of labelmap.txt's {len(table)} classes"
        )
    numbers = np.array([known[value] for value in present.tolist()], np.int32)
    return np.asarray(numbers[inverse].reshape(packed.shape))
