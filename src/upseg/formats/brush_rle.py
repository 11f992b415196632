"""Label Studio's brush masks: runs of bytes of an RGBA picture, packed into bits.

Source: the packer of the page's brush, https://github.com/thi-ng/umbrella/tree/develop/packages/rle-pack. First 32 bits
with the number of bytes, 5 with the bits of each less one, and four times 4 with the bits that a run's length can
have, less one. Then pieces: one bit that says whether one byte is repeated, 2 bits for which of the four lengths
follows, the length less one, and the byte, or all bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, UInt8

_CHANNELS = 4
_LENGTH_BITS = (3, 4, 8, 16)
_WORD = 8
_OPAQUE = 128
_LONGEST = 1 << _LENGTH_BITS[-1]


def encode_brush(mask: Bool[np.ndarray, "h w"]) -> list[int]:
    """The packed form of a mask: all four channels are 255 inside and 0 outside."""
    flat = mask.ravel()
    borders = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    starts = np.concatenate((np.zeros(1, np.int64), borders))
    lengths = _CHANNELS * np.diff(np.append(starts, flat.size))
    values = np.where(flat[starts], 255, 0)
    # a run that is too long is several
    pieces = -(-lengths // _LONGEST)
    values = np.repeat(values, pieces)
    last = np.cumsum(pieces) - 1
    cut = np.full(len(values), _LONGEST, np.int64)
    cut[last] = lengths - (pieces - 1) * _LONGEST
    fields = np.stack((np.ones_like(cut), np.full_like(cut, 3), cut - 1, values), axis=1)
    bits = [_to_bits(fields[:, column], width) for column, width in enumerate((1, 2, _LENGTH_BITS[-1], _WORD))]
    header = [(_CHANNELS * flat.size, 32), (_WORD - 1, 5), *((width - 1, 4) for width in _LENGTH_BITS)]
    head = np.concatenate([_to_bits(np.array([value]), width).ravel() for value, width in header])
    packed: list[int] = np.packbits(np.concatenate((head, np.concatenate(bits, axis=1).ravel()))).tolist()
    return packed


def decode_brush(packed: Sequence[Any], shape: tuple[int, int]) -> Bool[np.ndarray, "h w"]:
    """The mask that is opaque in the picture of a shape (H, W) whose packed bytes these are.

    Raises:
        ValueError: If it is not the packed form of a picture of that size.
    """
    try:
        data = np.array(packed, dtype=np.uint8)
    except (OverflowError, TypeError, ValueError):
        raise ValueError("a brush mask must be a list of bytes") from None
    if data.ndim != 1:
        raise ValueError("a brush mask must be a list of bytes")
    reader = _Bits(data)
    size, word = reader.take(32), reader.take(5) + 1
    lengths = [reader.take(4) + 1 for _ in range(4)]
    if size != _CHANNELS * shape[0] * shape[1] or word != _WORD:
        raise ValueError(f"a brush mask of {shape[0]} x {shape[1]} pixels has other bytes than {size} of {word} bits")
    picture = np.zeros(size, np.uint8)
    place = 0
    while place < size:
        repeats = reader.take(1)
        stop = place + reader.take(lengths[reader.take(2)]) + 1
        if stop > size:
            raise ValueError("a brush mask has more runs than its picture has pixels")
        picture[place:stop] = reader.take(_WORD) if repeats else reader.words(stop - place)
        place = stop
    return picture.reshape(*shape, _CHANNELS)[..., -1] >= _OPAQUE


class _Bits:
    """Bits from the first on, the highest of each byte first."""

    def __init__(self, data: UInt8[np.ndarray, " n"]) -> None:
        self.bits = np.unpackbits(data)
        self.text = self.bits.astype("S1").tobytes()
        self.place = 0

    def take(self, count: int) -> int:
        """The number that the next bits are."""
        found = self.text[self.place : self.place + count]
        if len(found) < count:
            raise ValueError("a brush mask ends before its picture is full")
        self.place += count
        return int(found, 2)

    def words(self, count: int) -> UInt8[np.ndarray, " count"]:
        """The bytes that the next bits are."""
        found = self.bits[self.place : self.place + count * _WORD]
        if len(found) < count * _WORD:
            raise ValueError("a brush mask ends before its picture is full")
        self.place += count * _WORD
        return np.packbits(found)


def _to_bits(values: np.ndarray, width: int) -> UInt8[np.ndarray, "n width"]:
    places = np.arange(width - 1, -1, -1)
    return ((values[:, None] >> places) & 1).astype(np.uint8)
