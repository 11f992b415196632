"""One class mask of many: its photo, what is to be done with it, and doing it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from upseg import __version__
from upseg.batch.inputs import InputImage, InputKind, find_images
from upseg.batch.jobs import ImageTask, Outcome, ReadingOptions, StepCallback, progress_option
from upseg.batch.journal import Journal
from upseg.batch.run import digest_of
from upseg.data.sources.folders import image_of
from upseg.errors import DataError
from upseg.files import printable
from upseg.formats import formats_that_need
from upseg.models.registry import Model
from upseg.split.classes import MaskClasses
from upseg.split.splitters import BASELINES, Splitter

PHOTOS = InputKind("photo", "look at")


@dataclass(frozen=True, slots=True)
class MaskTask(ImageTask):
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
        semantic_map = self.classes.read(self.path)
        photo = None if self.photo is None else image_of(self.photo, semantic_map.shape, self.path)
        pixels = photo.read() if photo is not None and self.needs_photo else None
        found = segmenter.split(pixels, semantic_map, **progress_option(on_step))
        return Outcome(found.with_provenance({**found.provenance, "image": self.image, "mask": self.name}), pixels)


class Photos:
    """The photos of masks, found by their names."""

    def __init__(self, folder: Path, masks: Sequence[InputImage], journal: Journal) -> None:
        self.folder = folder
        found = find_images([folder], journal.path.parent, journal.knows, PHOTOS)
        own = {mask.path.resolve() for mask in masks}  # masks and photos may lie in one folder
        self._by_key: dict[PurePosixPath, list[InputImage]] = {}
        for photo in found:
            if photo.problem is None and photo.path.resolve() not in own:
                self._by_key.setdefault(photo.key, []).append(photo)
        self._by_name: dict[str, list[InputImage]] = {}
        for key, group in self._by_key.items():
            self._by_name.setdefault(key.name, []).extend(group)

    def roles(self) -> dict[Path, str]:
        """Every photo, and what messages call it."""
        return {photo.path: "a photo of a mask" for group in self._by_key.values() for photo in group}

    def of(self, mask: InputImage) -> InputImage:
        """The photo of a mask.

        Raises:
            DataError: If there is none, or several.
        """
        fitting = self._by_key.get(mask.key, [])
        if len(fitting) == 1:
            return fitting[0]
        wanted = printable(self.folder / f"{mask.key}.*")
        if fitting:
            shown = " and ".join(printable(str(photo.name)) for photo in fitting[:2])
            raise DataError(f"several photos {wanted} would be its own: {shown}; leave one there")
        alike = self._by_name.get(mask.key.name, [])
        hint = f"; is it {printable(alike[0].path)}? The folders have to fit" if len(alike) == 1 else ""
        raise DataError(f"it has no photo: there is no {wanted} with the suffix of an image{hint}")


class MaskDescriber:
    """Says what is to be done with each mask, and remembers what its photo is called."""

    def __init__(self, model: Model, classes: MaskClasses, photos: Photos | None, formats: tuple[str, ...]) -> None:
        self.classes, self.method = classes, model.method
        self.image_names: dict[Path, str] = {}
        self._photos, self._formats = photos, formats
        self._needs_photos = model.method not in BASELINES or bool(formats_that_need("image", formats))
        self._facts = [__version__, model.fingerprint(), *classes.facts()]

    def describe(self, mask: InputImage, stem: Path) -> tuple[MaskTask, str]:
        """The task of a mask, and a digest of all that its results depend on beside it.

        Raises:
            DataError: If the mask has no photo that can be looked at.
        """
        photo = None if self._photos is None else self._photos.of(mask)
        name = str((photo or mask).name)
        path = None if photo is None else photo.path
        self.image_names[mask.path] = name
        task = MaskTask(
            mask.path,
            str(mask.name),
            stem,
            self._formats,
            ReadingOptions(),
            classes=self.classes,
            photo=path,
            image=name,
            needs_photo=self._needs_photos,
        )
        try:
            return task, digest_of([*self._facts, name, [] if path is None else stamp(path)])
        except OSError as error:
            raise DataError(f"its photo {printable(path or '')} cannot be read ({error.strerror or error})") from error


def stamp(path: Path) -> list[int]:
    """What changes when a file is changed."""
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]
