"""YOLO's segmentation data sets: a YAML file, images, and a text file with a line for each object of an image.

Source: https://docs.ultralytics.com/datasets/segment/.
"""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath
from typing import Any

from upseg.data.dataset import Dataset, OnError
from upseg.data.names import distinct_keys, find_below, tails
from upseg.data.sample import LazyImage, Sample
from upseg.data.sources.folders import IMAGES, choose_split, image_size, list_files, nearest_contents, read_names
from upseg.data.sources.label_images import hidden_objects, truth_file
from upseg.errors import DataError, UpsegError
from upseg.files import is_there, read_plain
from upseg.formats.outlines import paint_polygons
from upseg.formats.yolo_lines import parse_yolo
from upseg.segmentation import Category
from upseg.yaml_files import read_configuration

_SPLITS = ("train", "val", "test")
_IMAGES, _LABELS = "images", "labels"
_MOST_BYTES = 256 << 20  # of one image's labels


class Yolo(Dataset):
    """One split: the images that the YAML file names, and for each the file in `labels` that is called like it.

    Each line is one object; of several lines that overlap the one with the smaller area lies on top. An image without a
    file of labels is one without objects, as YOLO has it. What cannot be used of a file (a box, a line of two corners)
    is left out and listed in `Sample.left_out`.

    Args:
        root: The folder with the YAML file, or the file.
        split: train, val or test; None for val, or the only one there is.
        on_error: What to do with labels without an image, and with damaged samples.

    Raises:
        DataError: If something is missing; it says where it was looked for.
    """

    def __init__(self, root: Path, split: str | None = None, *, on_error: OnError = "raise") -> None:
        self.file = _yaml_file(root)
        content = _content(self.file)
        names = content.get("names")
        listed = dict(enumerate(names)) if isinstance(names, list) else names
        if not isinstance(listed, dict) or sorted(listed) != list(range(len(listed))):
            raise DataError(f"{self.file}: names must be the classes, a list or numbered from 0, got {names!r:.80}")
        split = choose_split(split, [name for name in _SPLITS if content.get(name)], self.file)
        self._label_folders: list[Path] = []
        given = content[split] if isinstance(content[split], list) else [content[split]]
        found = [pair for place in given for pair in self._images_of(str(place), str(content.get("path") or "."))]
        self.images = [path for path, _ in found]
        if not self.images:
            raise DataError(f"{self.file}: its {split} names no image")
        keys = distinct_keys([name for _, name in found])
        if len(set(keys)) < len(keys):
            keys = distinct_keys([path.relative_to(self.file.parent).as_posix() for path in self.images])
        problems = self._lonely_labels()
        if problems and on_error == "raise":
            raise DataError(f'{problems[0]} (on_error="skip" leaves them out)')
        super().__init__([Category(n, str(listed[n])) for n in sorted(listed)], on_error, problems, names=keys)

    def load(self, index: int) -> Sample:
        """Read one image's lines."""
        image = self.images[index]
        shape, truth = image_size(image), label_file(image)
        lines: list[str] = []
        if truth.is_file():
            with truth_file(truth, "YOLO's labels"):
                lines = read_plain(truth, most_bytes=_MOST_BYTES).decode("utf-8-sig").splitlines()
        with truth_file(truth, "YOLO's labels"):
            found = parse_yolo(lines, shape, len(self.categories))
            labels, _ = paint_polygons([(number, [ring]) for number, ring in enumerate(found.rings, start=1)], shape)
        hidden = hidden_objects(labels, (f"line {line}" for line in found.lines))
        classes = {number: self.categories[kind] for number, kind in enumerate(found.classes, start=1)}
        return Sample.from_labels(
            LazyImage(image, shape),
            labels,
            categories=classes,
            name=self.names[index],
            left_out=[*found.left_out, *hidden],
        )

    def _images_of(self, place: str, path: str) -> list[tuple[Path, str]]:
        """The images of a folder, or of a list of images, that the YAML file names, and what they are called.

        Only what lies below the file's own folder is taken.
        """
        base = self.file.parent
        wanted = PurePosixPath(path.replace("\\", "/")) / place.replace("\\", "/")
        below = [tail for name in (str(wanted), place) for tail in tails(name)]
        found = next((base / tail for tail in below if is_there(base / tail)), None)
        if found is None:
            raise DataError(f"{self.file}: there is no {place} below {base}; {nearest_contents(base / place)}")
        if found.is_dir():
            self._label_folders.append(label_file(found / "any").parent)
            listing = list_files(found, IMAGES, "images", recursive=True, whole_names=True)
            return [(listing.path(key), file) for key, file in listing.files.items()]
        lines = read_names(found, "images, one in a line")
        images = [find_below(base, line) for line in lines]
        missing = next((line for line, image in zip(lines, images, strict=True) if image is None), None)
        if missing is not None:
            raise DataError(f"{found}: there is no image {missing} below {base}")
        known = [image for image in images if image is not None]
        shared = Path(os.path.commonpath([image.parent for image in known]))
        return [(image, image.relative_to(shared).as_posix()) for image in known]

    def _lonely_labels(self) -> list[str]:
        """What is wrong with the files of labels: those of no image, or that there are none at all."""
        used = {label_file(image) for image in self.images}
        if not any(path.is_file() for path in used):
            wanted = label_file(self.images[0])
            raise DataError(
                f"none of the {len(self.images)} images has labels, the first not {wanted}; {nearest_contents(wanted)}"
            )
        folders = [folder for folder in self._label_folders if _LABELS in folder.parts]
        lonely = sorted(path for folder in folders for path in folder.rglob("*.txt") if path not in used)
        if not lonely:
            return []
        shown = ", ".join(path.name for path in lonely[:5]) + (" ..." if len(lonely) > 5 else "")
        return [f"{len(lonely)} files of labels in {lonely[0].parent} have no image: {shown}"]


def label_file(image: Path) -> Path:
    """The file of labels of an image: below `labels` as the image is below the last `images`, else beside it."""
    parts = list(image.parts)
    places = [number for number, part in enumerate(parts[:-1]) if part == _IMAGES]
    if places:
        parts[places[-1]] = _LABELS
    return Path(*parts).with_suffix(".txt")


def _yaml_file(root: Path) -> Path:
    if root.is_file():
        return root
    found = [root / name for name in ("data.yaml", "dataset.yaml") if (root / name).is_file()]
    found = found[:1] or sorted(path for ending in ("yaml", "yml") for path in root.glob(f"*.{ending}"))
    if len(found) != 1:
        wanted, shown = root / "data.yaml", ", ".join(path.name for path in found[:3])
        what = f"but there are several: {shown}" if found else f"but there is none; {nearest_contents(wanted)}"
        raise DataError(f"{wanted} should name images and classes, {what}")
    return found[0]


def _content(path: Path) -> dict[str, Any]:
    try:
        return read_configuration(path)
    except UpsegError as error:
        raise DataError(str(error)) from error
