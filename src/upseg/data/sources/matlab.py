"""MATLAB files of version 5 to 7.2, in which several data sets keep their annotations.

Read here and not with scipy, whose reader crashes the process on some damaged files. Source: The MathWorks, "MAT-File
Format", the level 5 format.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from upseg.data.sources.label_images import truth_file
from upseg.files import read_plain

_HEADER = 128  # bytes
_MOST_BYTES = 1 << 28  # of a variable when it is no longer compressed
_MOST_NUMBERS = 1 << 26  # of an array, which may take 8 times as many bytes here as in the file
_MOST_ARRAYS = 100_000  # in a cell array or structure
_MOST_DIMENSIONS = 32
_MOST_LEVELS = 16  # cells in structures in cells ...
_MATRIX, _COMPRESSED = 14, 15
_CELL, _STRUCTURE = 1, 2
# how the numbers of an element are stored, and what class of array they make
_STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_NUMERIC = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}


def read_matlab(path: Path, variable: str, holds: str) -> Any:
    """One variable of a MATLAB file; `holds` is what the message says that the file should be.

    Returns:
        A numeric array, a cell array as an array of objects, a structure as a dictionary that has an array of objects
        for each field; None in place of texts, sparse arrays and whatever else there is.

    Raises:
        DataError: If the file is missing, damaged, or does not have the variable.
    """
    with truth_file(path, holds):
        content = read_plain(path)
        order = {b"IM": "<", b"MI": ">"}.get(content[126:_HEADER])
        if order is None or not content.startswith(b"MATLAB 5.0"):
            raise ValueError("it is no MATLAB file of version 5 to 7.2")
        elements = _Elements(memoryview(content)[_HEADER:], order)
        while elements.more():
            kind, data = elements.take()
            if kind == _COMPRESSED:
                kind, data = _Elements(memoryview(_decompressed(data)), order).take()
            name, array = _Matrix(data, order).read(variable) if kind == _MATRIX else ("", None)
            if name == variable:
                return array
        raise ValueError(f"it has no variable {variable!r}")


def _decompressed(data: memoryview) -> bytes:
    stream = zlib.decompressobj()
    content = stream.decompress(data, _MOST_BYTES)
    if stream.unconsumed_tail:
        raise ValueError(f"a variable takes more than {_MOST_BYTES:,} bytes")
    if not stream.eof:  # the checksum stands at the end
        raise ValueError("a compressed variable is cut off")
    return content


@dataclass
class _Elements:
    """A sequence of data elements: a tag with kind and number of bytes, then the bytes, filled up to multiples of 8."""

    content: memoryview  # parts of it are not copied
    order: str
    place: int = 0

    def more(self) -> bool:
        return self.place < len(self.content)

    def remaining(self) -> int:
        return len(self.content) - self.place

    def take(self) -> tuple[int, memoryview]:
        """The kind and the bytes of the next element."""
        tag = np.frombuffer(self._bytes(4), f"{self.order}u4")[0]
        kind, count = int(tag) & 0xFFFF, int(tag) >> 16
        if count:  # up to four bytes are kept in the tag itself
            if count > 4:
                raise ValueError(f"a small element has at most 4 bytes, got {count}")
            return kind, self._bytes(4)[:count]
        count = int(np.frombuffer(self._bytes(4), f"{self.order}u4")[0])
        data = self._bytes(count)
        if kind != _COMPRESSED:
            self.place += -count % 8
        return kind, data

    def numbers(self) -> Shaped[np.ndarray, " n"]:
        """The next element, which must hold numbers."""
        kind, data = self.take()
        if kind not in _STORED:
            raise ValueError(f"expected numbers, got an element of the kind {kind}")
        return np.frombuffer(data, self.order + _STORED[kind])

    def _bytes(self, count: int) -> memoryview:
        if count > self.remaining():
            raise ValueError("the file is cut off")
        self.place += count
        return self.content[self.place - count : self.place]


class _Matrix:
    """The elements of one array: flags, dimensions, name, and what it holds."""

    def __init__(self, data: memoryview, order: str, level: int = 0) -> None:
        if level > _MOST_LEVELS:
            raise ValueError(f"arrays lie in more than {_MOST_LEVELS} others")
        self.elements, self.order, self.level = _Elements(data, order), order, level

    def read(self, wanted: str | None = None) -> tuple[str, Any]:
        """Name and content; the content is only read of the array with the `wanted` name, if one is given."""
        if not self.elements.more():
            return "", None
        flags = self.elements.numbers()
        shape = tuple(int(length) for length in self.elements.numbers()[: _MOST_DIMENSIONS + 1])
        name = bytes(self.elements.take()[1]).decode("ascii")
        if wanted not in (None, name):
            return name, None
        if not flags.size or not 2 <= len(shape) <= _MOST_DIMENSIONS or min(shape) < 0:
            raise ValueError(f"the array {name!r} has no class, or the dimensions {shape}")
        return name, self._content(int(flags[0]) & 0xFF, shape)

    def _content(self, kind: int, shape: tuple[int, ...]) -> Any:
        if kind in _NUMERIC:
            values = self.elements.numbers()
            if len(values) != math.prod(shape):
                raise ValueError(f"an array of the dimensions {shape} holds {len(values)} numbers")
            if len(values) > _MOST_NUMBERS:
                raise ValueError(f"an array holds more than {_MOST_NUMBERS:,} numbers")
            return values.astype(_NUMERIC[kind]).reshape(shape, order="F")
        if kind == _CELL:
            return self._arrays(shape, 1)[0]
        if kind == _STRUCTURE:
            length = int(self.elements.numbers()[0])
            names = bytes(self.elements.take()[1])
            if length < 1 or len(names) % length:
                raise ValueError("the names of the fields of a structure are damaged")
            fields = [names[i : i + length].split(b"\0")[0].decode("ascii") for i in range(0, len(names), length)]
            return dict(zip(fields, self._arrays(shape, len(fields)), strict=True))
        return None

    def _arrays(self, shape: tuple[int, ...], fields: int) -> list[Shaped[np.ndarray, "*shape"]]:
        """Arrays of this shape of further arrays, one for each field; fields vary fastest, then columns run down."""
        count = math.prod(shape)
        if count * fields > _MOST_ARRAYS:
            raise ValueError(f"more than {_MOST_ARRAYS:,} arrays lie in one")
        if count * fields * 8 > self.elements.remaining():  # each takes a tag at least
            raise ValueError(f"{count} arrays with {fields} fields do not fit into the file")
        found = np.empty((count, fields), object)
        for index in np.ndindex(count, fields):
            kind, data = self.elements.take()
            if kind != _MATRIX:
                raise ValueError(f"expected an array, got an element of the kind {kind}")
            found[index] = _Matrix(data, self.order, self.level + 1).read()[1]
        return [found[:, field].reshape(shape, order="F") for field in range(fields)]
