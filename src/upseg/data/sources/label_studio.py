"""Label Studio's JSON export: one file with all tasks, and the images that it had."""

from __future__ import annotations

import re
from pathlib import Path

from upseg.data.dataset import Dataset, OnError
from upseg.data.names import distinct_keys, find_below, normal_name
from upseg.data.sample import LazyImage, Sample
from upseg.data.sources.folders import image_size, nearest_contents
from upseg.data.sources.label_images import hidden_objects, truth_file
from upseg.errors import DataError
from upseg.formats.label_studio import image_of_task, labels_of, regions_of
from upseg.formats.metadata import list_of, load_json, object_of
from upseg.functional.runs import Runs, paint_runs
from upseg.segmentation import Category

_UPLOADED = re.compile(r"^[0-9a-f]{6,12}-")  # what Label Studio puts before the name of an uploaded file


class LabelStudio(Dataset):
    """The tasks of one JSON file, brushed regions and polygons; the images lie in `images` beside it, or beside it.

    Of several annotations of one task the first counts that was not cancelled. Where regions overlap, the one with the
    smaller area lies on top. What has no mask (boxes, ellipses, points) is left out and listed in `Sample.left_out`.
    Classes are numbered from 1 in the order of the alphabet.

    Args:
        root: The folder with the file (the only `*.json`), or the file.
        split: There are none.
        on_error: What to do with damaged samples.
        photos: The folder of the images, where it is another.

    Raises:
        DataError: If there is no such file, or it holds no tasks.
    """

    def __init__(
        self, root: Path, split: str | None = None, *, on_error: OnError = "raise", photos: str | None = None
    ) -> None:
        if split is not None:
            raise DataError(f"Label Studio's export has no splits, but {split!r} was asked for; name its images")
        self.file = root if root.is_file() else _only_json(root)
        base = self.file.parent
        self._folders = [Path(photos)] if photos is not None else [base / "images", base]
        with truth_file(self.file, "Label Studio's JSON"):
            self._tasks = [object_of(row, "a task") for row in list_of(load_json(self.file), "the file")]
            if not self._tasks or not all(isinstance(task.get("data"), dict) for task in self._tasks):
                raise ValueError("expected a list of tasks with data and annotations: export it as JSON, not JSON-MIN")
            labels = sorted({label for task in self._tasks for label in labels_of(task)})
        self._by_name = {label: Category(number, label) for number, label in enumerate(labels, start=1)}
        self._images = [self._find(image_of_task(task)) for task in self._tasks]
        names = distinct_keys([self._name(number) for number in range(len(self._tasks))])
        super().__init__(self._by_name.values(), on_error, names=names)

    def load(self, index: int) -> Sample:
        """Read one task's regions."""
        task = self._tasks[index]
        with truth_file(self.file, "Label Studio's JSON"):
            found = regions_of(task)
        image = self._images[index]
        if image is None:
            raise self._missing(image_of_task(task), task.get("id"))
        shape = image_size(image)
        if found.shape not in (None, shape):
            raise DataError(
                f"{self.file}: its ground truth is {found.shape} pixels (height, width), but its image {image} is "
                f"{shape}; the two files do not belong together"
            )
        with truth_file(self.file, "Label Studio's JSON"):
            flat, _ = paint_runs(Runs.joined(*found.runs), shape[0] * shape[1])
        labels = flat.reshape(shape)
        hidden = hidden_objects(labels, (f"region {number}" for number in range(1, len(found.labels) + 1)))
        return Sample.from_labels(
            LazyImage(image, shape),
            labels,
            categories={
                n: self._by_name[label] for n, label in enumerate(found.labels, start=1) if label in self._by_name
            },
            name=self._names[index],
            left_out=[*found.left_out, *hidden],
        )

    def _find(self, named: str | None) -> Path | None:
        """The file that a task names, with what Label Studio puts before an uploaded file's name or without it."""
        if named is None:
            return None
        last = normal_name(named).rpartition("/")[2]
        places = [(folder, name) for folder in self._folders for name in (named, _UPLOADED.sub("", last))]
        found = (find_below(folder, name) for folder, name in places if folder.is_dir())
        return next((path for path in found if path is not None), None)

    def _name(self, number: int) -> str:
        """What an image is called: its file below the folder of the images, or as its task has it."""
        image = self._images[number]
        if image is None:
            return normal_name(image_of_task(self._tasks[number]) or f"task {number}").rpartition("/")[2]
        folder = next(folder for folder in self._folders if image.is_relative_to(folder))
        return image.relative_to(folder).as_posix()

    def _missing(self, named: str | None, task: object) -> DataError:
        if named is None:
            return DataError(f"{self.file}: the data of task {task} name no image")
        places = " nor in ".join(map(str, self._folders))
        beside = nearest_contents(self._folders[0] / normal_name(named).rpartition("/")[2])
        return DataError(f"{self.file}: its image {named} is not in {places}; {beside}; another folder: photos=...")


def _only_json(root: Path) -> Path:
    found = sorted(root.glob("*.json"))
    if len(found) != 1:
        what = f"there are several: {', '.join(path.name for path in found[:3])}" if found else "there is none"
        raise DataError(f"{root} should hold one JSON file of Label Studio, but {what}; {nearest_contents(root / 'x')}")
    return found[0]
