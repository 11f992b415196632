"""One class mask of many: its photo, and splitting it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
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
from upseg.segmentation import Segmentation, Splitter
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
        """Split the mask; errors as of `read_both`."""
        semantic_map, pixels = self.read_both()
        found = segmenter.split(pixels, semantic_map, **progress_option(on_step))
        facts = {"image": self.image, "mask": self.name, **(self.reading.facts() if pixels is not None else {})}
        return Outcome(found.with_provenance({**found.provenance, **facts}), pixels)

    def read_both(self) -> tuple[Segmentation, Float32[np.ndarray, "h w 3"] | None]:
        """The classes of the mask; and its photo, where that is needed.

        Raises:
            DataError: If the mask or the photo cannot be read, or they do not belong together.
        """
        semantic_map, photo = self.classes.read(self.path, self.photo)
        if photo is None or not self.needs_photo:
            return semantic_map, None
        return semantic_map, replace(photo, reading=self.reading).read()


class Photos:
    """The photos of masks, found by their names; none where no folder was named."""

    def __init__(self, folder: Path | None, masks: Sequence[InputImage], journal: Journal) -> None:
        self.folders = [] if folder is None else [folder]
        found = find_images(self.folders, journal.folder, journal.knows, PHOTOS) if folder is not None else []
        own = {mask.path.resolve() for mask in masks if mask.problem is None}  # both may lie in one folder
        self.found = [photo for photo in found if photo.problem is None and photo.path.resolve() not in own]
        self._by_key = _grouped(self.found, name_key)
        self._by_whole_name = _grouped(self.found, normal_name)
        self._by_last_name = _grouped(self.found, lambda name: PurePosixPath(name_key(name)).name)

    def of(self, mask: InputImage) -> InputImage | None:
        """The photo of a mask; None where no folder was named.

        Raises:
            DataError: If there is none in the folder, or several.
        """
        if not self.folders:
            return None
        key = name_key(mask.name)
        fitting = self._by_whole_name[key] or self._by_key[key]
        if len(fitting) == 1:
            return fitting[0]
        wanted = printable(self.folders[0] / f"{mask.key}.*")
        if fitting:
            shown = " and ".join(printable(str(photo.name)) for photo in fitting[:2])
            raise DataError(f"several photos {wanted} would be its own: {shown}; leave one there")
        alike = self._by_last_name[PurePosixPath(key).name]
        hint = f"; is it {printable(alike[0].path)}? The folders have to fit" if len(alike) == 1 else ""
        raise DataError(f"it has no photo: there is no {wanted} with the suffix of an image{hint}")


def _grouped(photos: Sequence[InputImage], key: Callable[[PurePosixPath], str]) -> defaultdict[str, list[InputImage]]:
    groups: defaultdict[str, list[InputImage]] = defaultdict(list)
    for photo in photos:
        groups[key(photo.name)].append(photo)
    return groups
