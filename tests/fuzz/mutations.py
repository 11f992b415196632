"""Damage to files, from a seed: flipped bits, cut ends, pieces moved or doubled, other numbers."""

from __future__ import annotations

import re
from collections.abc import Callable
from random import Random

_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?")
_NUMBERS = (b"0", b"-1", b"1", b"255", b"65536", b"4294967295", b"9223372036854775808", b"1e400", b"-7.5", b"9" * 40)
_TEXTS = (b"null", b"{}", b"[]", b'""', b"true", b"[" * 3000, b'"upseg"', b"NaN", b"\0", b"\xff\xfe")


def flip(content: bytes, random: Random) -> bytes:
    """One bit."""
    damaged = bytearray(content)
    damaged[random.randrange(len(damaged))] ^= 1 << random.randrange(8)
    return bytes(damaged)


def truncate(content: bytes, random: Random) -> bytes:
    """The end is missing."""
    return content[: random.randrange(len(content))]


def splice(content: bytes, random: Random) -> bytes:
    """A piece is taken out, or stands once more somewhere else."""
    start = random.randrange(len(content))
    stop = min(len(content), start + random.randint(1, 64))
    if random.random() < 0.5:
        return content[:start] + content[stop:]
    place = random.randrange(len(content))
    return content[:place] + content[start:stop] + content[place:]


def change_number(content: bytes, random: Random) -> bytes:
    """Another number in a text, or other bytes where a binary file may have one."""
    found = list(_NUMBER.finditer(content))
    if found and random.random() < 0.8:
        match = random.choice(found)
        new = random.choice(_NUMBERS) if random.random() < 0.5 else str(random.randint(-3, 10**6)).encode()
        return content[: match.start()] + new + content[match.end() :]
    place, size = random.randrange(len(content)), random.choice((1, 2, 4, 8))
    new = random.choice((b"\0", b"\xff", b"\x7f", b"\x80")) * size
    return content[:place] + new + content[place + size :]


def put_text(content: bytes, random: Random) -> bytes:
    """Something that a parser may stumble over."""
    place = random.randrange(len(content))
    return content[:place] + random.choice(_TEXTS) + content[place + random.randint(0, 8) :]


MUTATIONS: tuple[Callable[[bytes, Random], bytes], ...] = (flip, flip, flip, truncate, splice, change_number, put_text)


def mutated(content: bytes, random: Random) -> bytes:
    """One damage, or now and then a few, that leaves something and changes something."""
    damaged = content
    for _ in range(1 if random.random() < 0.8 else random.randint(2, 4)):
        if damaged:
            damaged = random.choice(MUTATIONS)(damaged, random)
    return damaged if damaged != content else flip(content, random)
