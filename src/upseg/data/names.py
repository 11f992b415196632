"""Names of files as keys: which files, rows and predictions are about one image. Said here and nowhere else."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath

from upseg.errors import DataError
from upseg.files import is_there, printable
from upseg.images.reading import IMAGE_SUFFIXES


def normal_name(name: str | PurePosixPath) -> str:
    r"""A name with slashes, in Unicode's composed form, without the parts that say nothing.

    Example:
        >>> normal_name("./a\\b.png")
        'a/b.png'
    """
    return str(PurePosixPath(unicodedata.normalize("NFC", str(name)).replace("\\", "/")))


def name_key(name: str | PurePosixPath) -> str:
    """What all files about one image share: the normal name without the suffix of an image.

    Example:
        >>> name_key("street/a.v2.JPG"), name_key("street/a.v2")
        ('street/a.v2', 'street/a.v2')
    """
    normal = PurePosixPath(normal_name(name))
    return str(normal.with_suffix("") if normal.suffix.lower() in IMAGE_SUFFIXES else normal)


def distinct_keys(names: Sequence[str]) -> list[str]:
    """The key of each name; names that would share one (`x.jpg`, `x.png`) stay whole."""
    keys = [name_key(name) for name in names]
    counts = Counter(keys)
    return [key if counts[key] == 1 else normal_name(name) for key, name in zip(keys, names, strict=True)]


def tails(name: str) -> Iterator[str]:
    """The name without its first folders, longest first; of an absolute name or one with `..` only what is below."""
    parts = PurePosixPath(normal_name(name)).parts
    above = max((n for n, part in enumerate(parts) if part in ("..", "/") or part.endswith(":")), default=-1) + 1
    for first in range(above, len(parts)):
        yield "/".join(parts[first:])


class Names:
    """A set of names, with or without suffixes and folders, to look others up in."""

    def __init__(self, names: Iterable[str]) -> None:
        self._whole: defaultdict[str, list[str]] = defaultdict(list)
        self._parts: defaultdict[str, list[str]] = defaultdict(list)
        for name in names:
            for key in dict.fromkeys((normal_name(name), name_key(name))):
                self._whole[key].append(name)
            for key in dict.fromkeys(key for tail in tails(name) for key in (tail, name_key(tail))):
                self._parts[key].append(name)

    def find(self, name: str) -> list[str]:
        """The names that a name can mean: those that are the same, else those that differ in folders or suffix."""
        wanted = dict.fromkeys((normal_name(name), name_key(name)))
        shorter = dict.fromkeys(key for tail in tails(name) for key in (tail, name_key(tail)))
        for table, keys in ((self._whole, wanted), (self._parts, shorter)):
            for key in keys:
                if found := table.get(key):
                    return [one for one in found if normal_name(one) == key] or found
        return []


def find_below(folder: Path, name: str) -> Path | None:
    """The file below a folder that a name means, which may be absolute, of another system, or without its suffix.

    Raises:
        DataError: If it has no suffix and several images have that name.
    """
    for tail in tails(name):
        if is_there(folder / tail) and (folder / tail).is_file():
            return folder / tail
    for tail in tails(name):
        if (found := _like(folder, tail)) is not None:
            return found
    return None


def _like(folder: Path, name: str) -> Path | None:
    """The file whose name is the same in Unicode's composed form, or with the suffix of an image."""
    *folders, last = name.split("/")
    for part in folders:
        if (below := next((path for path in _entries(folder, part) if path.is_dir()), None)) is None:
            return None
        folder = below
    if found := [path for path in _entries(folder, last) if path.is_file()]:
        return found[0]
    found = [path for path in _entries(folder, last, without_suffix=True) if path.is_file()]
    if len(found) > 1:
        raise DataError(
            f"{printable(folder)} holds both {found[0].name} and {found[1].name}; which is meant by {last}?"
        )
    return found[0] if found else None


def _entries(folder: Path, name: str, *, without_suffix: bool = False) -> list[Path]:
    if not folder.is_dir():
        return []
    shown = name_key if without_suffix else normal_name
    with os.scandir(folder) as entries:
        return sorted(folder / entry.name for entry in entries if shown(entry.name) == name)
