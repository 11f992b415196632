"""One stack of planes of many: segmented plane by plane, and objects joined through planes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Int32

from upseg.batch.jobs import ImageJob, ResultOptions, StepCallback
from upseg.errors import ImageError, UpsegError
from upseg.files import printable
from upseg.formats.stacks import write_label_stack, write_tracks
from upseg.functional.linking import PlaneLinker
from upseg.images.regions import max_projection, plane_count

PROJECTION = "max-projection"
STACK_FORMATS = ("tif", "tracks")
DEFAULT_LINK = 0.5
"""The least IoU of segments of neighbouring planes that are one object, where nobody says another."""


@dataclass(frozen=True, slots=True)
class StackJob(ImageJob):
    """What a process needs to know to segment the planes of one file.

    Attributes:
        planes: `all`, or a stretch of planes such as `3-9`, from 0.
        link: The least IoU of segments that are one object.
    """

    planes: str = "all"
    link: float = DEFAULT_LINK

    def start(self, segmenter: Any, on_step: StepCallback | None = None) -> Callable[[], int]:
        """Segment plane by plane and write the label stack and the tracks; what is returned counts the objects.

        Raises:
            UpsegError: If a plane cannot be read, or a result cannot be written.
        """
        linker = PlaneLinker(self.link)
        numbers = planes_of(self.planes, plane_count(self.path, self.reading.channels), self.path)
        facts = {**self.origin(), "planes": [numbers[0], numbers[-1]], "link": self.link}

        def linked() -> Iterator[Int32[np.ndarray, "h w"]]:
            for done, number in enumerate(numbers, start=1):
                image = replace(self.reading, page=number).read(self.path)
                labels = self.options.apply(segmenter.segment(image), self.path).labels
                yield linker.add(labels)
                if on_step is not None:
                    on_step(done, len(numbers))

        def write_one(name: str, path: Path) -> None:
            if name == "tif":
                write_label_stack(linked(), path, facts)
            else:
                write_tracks(linker.spans, path)

        self.write_each(write_one)
        return partial(len, linker.spans)


@dataclass(frozen=True, slots=True)
class ProjectionJob(ImageJob):
    """What a process needs to know to segment the maximum of all planes at each pixel."""

    def read(self) -> Float32[np.ndarray, "h w 3"]:
        """The maximum of all planes."""
        reading = self.reading
        return max_projection(self.path, channels=reading.channels, normalize=reading.normalize or "auto")

    def origin(self) -> dict[str, Any]:
        """Which pixels are segmented."""
        return {**ImageJob.origin(self), "planes": PROJECTION}


def planes_of(text: str, count: int, path: Path) -> range:
    """The planes that a text such as `all`, `3-9` or `5` names of so many.

    Raises:
        ImageError: If there is one that the file has not.
    """
    if text == "all":
        return range(count)
    first, _, last = text.partition("-")
    chosen = range(int(first), int(last or first) + 1)
    if not chosen or chosen[-1] >= count:
        raise ImageError(f"{printable(path)}: planes {text} were asked for, but the file has only 0 to {count - 1}")
    return chosen


def check_planes(planes: str, formats: Sequence[str], options: ResultOptions) -> None:
    """Refuse what is no choice of planes, and what cannot be written of a stack.

    Raises:
        UpsegError: If it is so.
    """
    if not re.fullmatch(rf"all|{PROJECTION}|\d{{1,9}}(-\d{{1,9}})?", planes):
        raise UpsegError(f"planes must be all, {PROJECTION}, or a stretch such as 3-9, counted from 0, got {planes!r}")
    if planes != PROJECTION and (unfit := [name for name in formats if name not in STACK_FORMATS]):
        raise UpsegError(f"{unfit[0]} holds one plane only; planes go into {' and '.join(STACK_FORMATS)}")
    if planes != PROJECTION and "tif" not in formats:
        raise UpsegError("tracks go with the label stack that their ids are in: add tif")
    if options.levels is not None:
        raise UpsegError("levels are of single images; leave them out for stacks")
