"""One class mask of many: its photo, and splitting it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np
from jaxtyping import Float32

from upseg.batch.inputs import InputImage, InputKind, find_images
from upseg.batch.jobs import ImageJob, Outcome, StepCallback, progress_option
from upseg.batch.journal import Journal
from upseg.data.names import name_key, normal_name
from upseg.errors import DataError
from upseg.files import printable
from upseg.segmentation import Segmentation
from upseg.split.baselines import Splitter
from upseg.split.classes import MaskClasses

PHOTOS = InputKind("photo", "look at")


@dataclass(frozen=True, slots=True)
class MaskJob(ImageJob):
    """What a process needs to know to split one class mask.

    Attributes:
        classes: What the mask's values mean.
        photo: What it belongs to; None where none was named.
        image: What results call the image: the photo's name, or the mask's own.
        needs_photo: Whether the photo is looked at, for the model or for a picture of the result.
    """

    classes: MaskClasses = MaskClasses()  # noqa: RUF009 - frozen
    photo: Path | None = None
    image: str = ""
    needs_photo: bool = False

    def segment(self, segmenter: Splitter, on_step: StepCallback | None = None) -> Outcome:
        """Read the mask, and its photo where that is needed, and split the mask.

        Raises:
            DataError: If the mask or the photo cannot be read, or they do not belong together.
        """
        semantic_map, pixels = self.read()
        found = segmenter.split(pixels, semantic_map, **progress_option(on_step))
        facts = {"image": self.image, "mask": self.name, **(self.reading.facts() if pixels is not None else {})}
        return Outcome(found.with_provenance({**found.provenance, **facts}), pixels)

    def read(self) -> tuple[Segmentation, Float32[np.ndarray, "h w 3"] | None]:
        """The classes of the mask; and its photo, where that is needed.

        Raises:
            DataError: If the mask or the photo cannot be read, or they do not belong together.
        """
        semantic_map, photo = self.classes.read_with(self.path, self.photo)
        if photo is None or not self.needs_photo:
            return semantic_map, None
        return semantic_map, replace(photo, reading=self.reading).read()

    def photo_stamp(self) -> list[int]:
        """What changes when the photo is changed.

        Raises:
            DataError: If it cannot be looked at.
        """
        try:
            return [] if self.photo is None else stamp(self.photo)
        except OSError as error:
            shown = printable(self.photo or "")
            raise DataError(f"its photo {shown} cannot be read ({error.strerror or error})") from error


class Photos:
    """The photos of masks, found by their names; none where no folder was named."""

    def __init__(self, folder: Path | None, masks: Sequence[InputImage], journal: Journal) -> None:
        self.folders = [] if folder is None else [folder]
        found = find_images(self.folders, journal.folder, journal.knows, PHOTOS) if folder is not None else []
        own = {mask.path.resolve() for mask in masks if mask.problem is None}  # both may lie in one folder
        self._by_key: defaultdict[str, list[InputImage]] = defaultdict(list)
        self._by_whole_name: defaultdict[str, list[InputImage]] = defaultdict(list)
        self._by_name: defaultdict[str, list[InputImage]] = defaultdict(list)
        for photo in found:
            if photo.problem is None and photo.path.resolve() not in own:
                self._by_key[name_key(photo.name)].append(photo)
                self._by_whole_name[normal_name(photo.name)].append(photo)
                self._by_name[PurePosixPath(name_key(photo.name)).name].append(photo)

    def roles(self) -> dict[Path, str]:
        """Every photo, and what messages call it."""
        return {photo.path: "a photo of a mask" for group in self._by_key.values() for photo in group}

    def of(self, mask: InputImage) -> InputImage | None:
        """The photo of a mask; None where no folder was named.

        Raises:
            DataError: If there is none in the folder, or several.
        """
        if not self.folders:
            return None
        key = name_key(mask.name)
        fitting = self._by_whole_name.get(key) or self._by_key.get(key, [])
        if len(fitting) == 1:
            return fitting[0]
        wanted = printable(self.folders[0] / f"{mask.key}.*")
        if fitting:
            shown = " and ".join(printable(str(photo.name)) for photo in fitting[:2])
            raise DataError(f"several photos {wanted} would be its own: {shown}; leave one there")
        alike = self._by_name.get(PurePosixPath(key).name, [])
        hint = f"; is it {printable(alike[0].path)}? The folders have to fit" if len(alike) == 1 else ""
        raise DataError(f"it has no photo: there is no {wanted} with the suffix of an image{hint}")


def stamp(path: Path) -> list[int]:
    """What changes when a file is changed."""
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]
