"""One image of many that is never whole in memory: segmented block by block, and written band by band."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from upseg.batch.jobs import ImageJob, ResultOptions, StepCallback, progress_option
from upseg.batch.memory import reuse_freed_memory
from upseg.errors import ImageError, UpsegError
from upseg.files import printable
from upseg.formats.banded import BANDED_FORMATS, write_banded
from upseg.images.pixel_size import PixelSize
from upseg.images.regions import RgbRegions, open_regions
from upseg.models.registry import Model

WORK_SUFFIX = ".upseg-blocks"
"""Of the folder beside the results that holds what is computed of an image until it is done."""
_UNITS = {"kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}


@dataclass(frozen=True, slots=True)
class BlockJob(ImageJob):
    """What a process needs to know to segment one image in blocks.

    Attributes:
        memory: Bytes that the process may take.
        key: Of the image and of all that its results depend on.
    """

    memory: int = 0
    key: str = ""

    def start(self, segmenter: Any, on_step: StepCallback | None = None) -> Callable[[], int]:
        """Segment and write; what an earlier run computed of the same image is used.

        Raises:
            UpsegError: If something is wrong with this input, or a result cannot be written.
        """
        reuse_freed_memory()
        work = self.stem.with_name(self.stem.name + WORK_SUFFIX)
        regions = open_regions(self.path, channels=self.reading.channels, page=self.reading.page)
        try:
            image = RgbRegions(regions, self.reading.normalize or "auto")
            found = segmenter.segment_in_blocks(image, work, self.key, self.memory, **progress_option(on_step))
            noted = self.options.pixel_size
            size = regions.pixel_size if noted is None else PixelSize.of(noted)
            facts = {**found.provenance, **self.origin(), **({"pixel_size": size.as_json()} if size else {})}
            found = replace(found, provenance=facts)
            self.write_each(lambda name, path: write_banded(found, path, name))
        except ImageError as error:
            raise ImageError(f"{printable(self.path)}: {error}") from error
        shutil.rmtree(work, ignore_errors=True)
        return partial(len, found)


def block_key(digest: str, path: Path) -> str:
    """Of an image as it is now, and a digest of all that its results depend on beside it."""
    status = path.stat()
    facts = f"{digest} {path.resolve()} {status.st_size} {status.st_mtime_ns}"
    return hashlib.sha256(facts.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def parse_memory(text: str) -> int:
    """Bytes that a text such as `4GB` or `800 MB` means.

    Raises:
        UpsegError: If it means none.
    """
    number, unit = text.strip()[:-2], text.strip()[-2:].lower()
    try:
        found = int(float(number) * _UNITS[unit])
    except (KeyError, ValueError, OverflowError):
        found = 0
    if found <= 0:
        raise UpsegError(f"memory must be a number with kB, MB, GB or TB, such as 4GB, got {text!r}")
    return found


def check_blocks(model: Model, formats: Sequence[str], options: ResultOptions) -> None:
    """Refuse what cannot be done without the whole image in memory.

    Raises:
        UpsegError: If the model's method, a format or an option is of that kind.
    """
    if not model.implementation.in_blocks:
        able = "photos, dynaseg and nuclei"
        raise UpsegError(f"the model {printable(model.name)} needs whole images in memory; --memory goes with {able}")
    if unfit := [name for name in formats if name not in BANDED_FORMATS]:
        raise UpsegError(f"{unfit[0]} needs the whole image in memory; --memory goes with {', '.join(BANDED_FORMATS)}")
    if replace(options, pixel_size=None) != ResultOptions():
        raise UpsegError("segments can only be left out by size or place where the whole image is in memory")
