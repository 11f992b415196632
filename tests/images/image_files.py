"""Image files that no installed encoder writes."""

import struct
import zlib

import numpy as np


def sixteen_bit_png(samples: np.ndarray) -> bytes:
    """A PNG with 16 bits for each of 1 to 4 channels."""
    height, width, channels = samples.shape
    colour_type = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    header = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def png_header(height: int, width: int) -> bytes:
    """The beginning of an 8-bit grey PNG of any size, without its pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    data = _chunk(b"IDAT", zlib.compress(b"\0" * 100))
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + data + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def lzw_tiff(samples: np.ndarray, *, byte_order: str = "<", orientation: int = 1) -> bytes:
    """A TIFF of (H, W, C) uint16 samples, compressed with LZW codes of 9 bits that never build a table."""
    height, width, channels = samples.shape
    strip = _lzw(samples.astype(f"{byte_order}u2").tobytes())
    entries = [
        (256, 3, [width]),
        (257, 3, [height]),
        (258, 3, [16] * channels),
        (259, 3, [5]),
        (262, 3, [2 if channels >= 3 else 1]),
        (273, 4, [8]),
        (274, 3, [orientation]),
        (277, 3, [channels]),
        (278, 3, [height]),
        (279, 4, [len(strip)]),
        (284, 3, [1]),
    ]
    if channels in (2, 4, 5):
        entries.append((338, 3, [2 if channels == 4 else 0] * (channels - (3 if channels > 3 else 1))))
    strip += b"\0" * (len(strip) % 2)
    directory_at = 8 + len(strip)
    extra_at = directory_at + 2 + 12 * len(entries) + 4
    directory, extra = struct.pack(f"{byte_order}H", len(entries)), b""
    for tag, kind, values in entries:
        packed = struct.pack(f"{byte_order}{len(values)}{'H' if kind == 3 else 'I'}", *values)
        if len(packed) > 4:
            packed, extra = struct.pack(f"{byte_order}I", extra_at + len(extra)), extra + packed
        directory += struct.pack(f"{byte_order}HHI", tag, kind, len(values)) + packed.ljust(4, b"\0")
    mark = b"II*\0" if byte_order == "<" else b"MM\0*"
    return mark + struct.pack(f"{byte_order}I", directory_at) + strip + directory + b"\0" * 4 + extra


def _lzw(data: bytes) -> bytes:
    codes: list[int] = []
    for start in range(0, len(data), 200):
        codes += [256, *data[start : start + 200]]  # 256 empties the table, so that codes stay 9 bits long
    bits = "".join(f"{code:09b}" for code in [*codes, 257])
    return int(bits.ljust(-len(bits) % 8 + len(bits), "0"), 2).to_bytes((len(bits) + 7) // 8, "big")
