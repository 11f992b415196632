"""The folder that a set is written into: images copied, files whole or not at all, nothing of others replaced."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from upseg.errors import UpsegError
from upseg.exchange.items import Item, Items, without
from upseg.files import atomic_path, printable, write_text


@dataclass
class Written:
    """What came of writing a set.

    Attributes:
        place: The folder, or the file where there is just one.
        images: Number of images in it.
        segments: Number of segments in it.
        notes: What it could not hold, one text each.
        problems: What is wrong with images that are not in it.
    """

    place: Path
    images: int = 0
    segments: int = 0
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def fitting(self, items: Items, unfit: Mapping[str, Callable[[Item], frozenset[int]]]) -> Iterator[Item]:
        """The items without the segments that do not fit into the set, counted.

        Args:
            items: All.
            unfit: The ids of those that do not fit, by what the note calls them; by an empty text if there is none.
        """
        left = Counter[str]()
        for item in items:
            kept = item
            for what, ids_of in unfit.items():
                ids = ids_of(kept)
                left[what] += len(ids)
                kept = without(kept, ids)
            self.images += 1
            self.segments += len(kept.segmentation)
            yield kept
        self.notes = [f"{count} {what}" for what, count in left.items() if what and count]


def check_free(place: Path, *, overwrite: bool) -> None:
    """Refuse a folder or file in which there is something, unless that may be replaced.

    Raises:
        UpsegError: If there is.
    """
    taken = place.is_file() or (place.is_dir() and any(place.iterdir()))
    if taken and not overwrite:
        raise UpsegError(f"{printable(place)} is there already; name another place, or give --overwrite")


def copy_image(item: Item, folder: Path) -> Path:
    """Copy an item's image below a folder, under its name.

    Raises:
        UpsegError: If it has none.
    """
    if item.image is None:
        raise UpsegError(
            f"{printable(item.name)}: this layout holds the images as well, and where they are is not known: give "
            "their folder with --images"
        )
    target = folder / item.file_name
    with atomic_path(target) as partial:
        shutil.copyfile(item.image, partial)
    return target


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write lines of text, whole or not at all."""
    write_text(path, "".join(f"{line}\n" for line in lines))
