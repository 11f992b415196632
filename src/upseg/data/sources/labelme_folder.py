"""What labelme leaves behind: a JSON file for each image, beside it or in a folder of its own."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

from upseg.data.dataset import Dataset, OnError
from upseg.data.names import find_below, tails
from upseg.data.sample import LazyImage, Sample
from upseg.data.sources.folders import image_size, list_files, nearest_contents
from upseg.data.sources.label_images import hidden_objects, truth_file
from upseg.errors import DataError
from upseg.formats.labelme import shapes_of
from upseg.formats.metadata import list_of, load_json, object_of
from upseg.formats.outlines import paint_polygons
from upseg.segmentation import Category


class LabelmeFolder(Dataset):
    """A folder, searched throughout, with labelme's JSON files; each names its image, which lies below the folder.

    Shapes of one label and `group_id` are one object, and where objects overlap the one with the smaller area lies on
    top. Points and lines are left out and listed in `Sample.left_out`. Classes are numbered from 1 in the order of the
    alphabet, for which all files are read when somebody asks for `categories` or for a sample.

    Args:
        root: The folder.
        split: A folder below it; None for the whole.
        on_error: What to do with a damaged sample.

    Raises:
        DataError: If there is no such file.
    """

    def __init__(self, root: Path, split: str | None = None, *, on_error: OnError = "raise") -> None:
        self.root = root if split is None else root / split
        self.files = list_files(self.root, (".labelme.json", ".json"), "labelme's JSON files", recursive=True)
        self._keys = list(self.files.files)
        super().__init__((), on_error, names=self._keys)

    @property
    def categories(self) -> tuple[Category, ...]:
        """All labels that any file has; of damaged files none, where they are skipped, unless all are."""
        return tuple(self._by_name.values())

    @cached_property
    def _by_name(self) -> dict[str, Category]:
        names: set[str] = set()
        failures = 0
        for key in self._keys:
            path = self.files.path(key)
            try:
                with truth_file(path, "labelme JSON"):
                    rows = list_of(self._content(path).get("shapes"), "shapes")
                    names |= {str(object_of(row, "a shape").get("label")) for row in rows}
            except DataError:
                failures += 1
                if self.on_error == "raise" or failures == len(self._keys):
                    raise
        return {name: Category(number, name) for number, name in enumerate(sorted(names), start=1)}

    def load(self, index: int) -> Sample:
        """Read one image's shapes."""
        path = self.files.path(self._keys[index])
        with truth_file(path, "labelme JSON"):
            data = self._content(path)
            found = shapes_of(data)
        image = self._image(path, data)
        shape = image_size(image)
        stated = (data.get("imageHeight"), data.get("imageWidth"))
        if None not in stated and stated != shape:
            raise DataError(
                f"{path}: its ground truth is {stated[0]} x {stated[1]} pixels (height x width), but its image {image} "
                f"is {shape[0]} x {shape[1]}; the two files do not belong together"
            )
        with truth_file(path, "labelme JSON"):
            labels, _ = paint_polygons(found.polygons, shape)
        hidden = hidden_objects(labels, (f"shape {number}" for number in range(1, len(found.names) + 1)))
        lines = [f"shape {kind} covers no area" for kind in found.left_out.elements()]
        classes = {n: self._by_name[name] for n, name in enumerate(found.names, start=1) if name is not None}
        return Sample.from_labels(
            LazyImage(image, shape), labels, categories=classes, name=self._keys[index], left_out=[*lines, *hidden]
        )

    def _content(self, path: Path) -> dict[str, Any]:
        return object_of(load_json(path), "a labelme file")

    def _image(self, path: Path, data: dict[str, Any]) -> Path:
        """The image that a file names, or the one that is called like the file; never one outside of the folder."""
        named = data.get("imagePath")
        names = [named] if isinstance(named, str) and "\0" not in named and next(tails(named), None) else []
        key = path.name.removesuffix(".json").removesuffix(".labelme")
        for folder in dict.fromkeys((path.parent, self.root)):
            for name in (*names, key):
                if (found := find_below(folder, name)) is not None and found.suffix.lower() != ".json":
                    return found
        wanted = path.parent / (names[0] if names else key)
        raise DataError(f"{path}: its image {wanted} is not there; {nearest_contents(wanted)}")
