"""CVAT's segmentation masks, in PASCAL VOC's folders: coloured PNGs of classes and of objects, and `labelmap.txt`.

Source: https://docs.cvat.ai/docs/dataset_management/formats/format-smask/.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Int64

from upseg.data.dataset import Dataset, OnError
from upseg.data.names import find_below, name_key
from upseg.data.sample import Sample
from upseg.data.sources.folders import (
    choose_split,
    find_file,
    find_folder,
    list_files,
    nearest_contents,
    paired_image,
    read_names,
)
from upseg.data.sources.label_images import class_segments, read_class_colours, read_colour_image, truth_file
from upseg.errors import DataError
from upseg.files import read_plain
from upseg.formats.label_colours import BACKGROUND, Colour, class_table, parse_label_map
from upseg.images.reading import IMAGE_SUFFIXES
from upseg.segmentation import Category

LABEL_MAP = "labelmap.txt"
_MOST_BYTES = 4 << 20
_LISTS = "ImageSets/Segmentation"
_IMAGES = ("JPEGImages", "images", "Images")


class CvatMasks(Dataset):
    """One split: `SegmentationClass`, `SegmentationObject`, `labelmap.txt`, lists in `ImageSets/Segmentation`.

    What has the colour of the background belongs to no segment. Where there is no mask of objects, all pixels of a
    class are one crowd.

    Args:
        root: The folder that holds these.
        split: Which list of images: CVAT calls it default, Train, Validation or Test; None for the validation list, the
            only one, or everything where there is none.
        on_error: What to do with damaged samples.
        photos: The folder of the images, where it is another than `JPEGImages` or `images` in `root`, or `root`.

    Raises:
        DataError: If something is missing; it says where it was looked for.
    """

    def __init__(
        self, root: Path, split: str | None = None, *, on_error: OnError = "raise", photos: str | None = None
    ) -> None:
        self.root = root
        self._classes = find_folder(root, ("SegmentationClass",), "CVAT's masks of classes")
        self._objects = root / "SegmentationObject"
        if photos is not None and not Path(photos).is_dir():
            raise DataError(f"photos={photos} should be the folder with the images, but there is none")
        self._photos = Path(photos) if photos is not None else _image_folder(root)
        names, self._table = read_label_map_file(find_file(root, (LABEL_MAP,), "the colours of the classes"))
        categories = [Category(number, name) for number, name in names.items()]
        self._by_value = {category.id: category for category in categories}
        super().__init__(categories, on_error, names=self._listed(split))

    def _listed(self, split: str | None) -> list[str]:
        lists = {path.stem: path for path in (self.root / _LISTS).glob("*.txt")}
        if not lists and split is None:
            return list(list_files(self._classes, (".png",), "masks of classes", recursive=True).files)
        return [
            name_key(n) for n in read_names(lists[choose_split(split, lists, self.root / _LISTS)], "names of images")
        ]

    def load(self, index: int) -> Sample:
        """Read one image's masks."""
        name = self._names[index]
        truth = self._file(self._classes, f"{name}.png", "its mask of classes")
        classes = read_class_colours(truth, self._table, "a mask of classes")
        labels, categories, crowds = class_segments(classes, self._by_value, {0}, truth)
        objects = find_below(self._objects, f"{name}.png") if self._objects.is_dir() else None
        if objects is not None:
            labels, categories = self._with_objects(labels, categories, objects)
            crowds = set()
        lazy, turned = paired_image(self._file(self._photos, name, "its image"), labels, truth, is_turned=False)
        return Sample.from_labels(lazy, turned, categories=categories, crowds=crowds, name=name)

    def _file(self, folder: Path, name: str, what: str) -> Path:
        found = find_below(folder, name)
        if found is None:
            raise DataError(f"{folder / name} should be {what}, but there is none; {nearest_contents(folder / name)}")
        return found

    def _with_objects(
        self, labels: Int64[np.ndarray, "h w"], categories: dict[int, Category], path: Path
    ) -> tuple[Int64[np.ndarray, "h w"], dict[int, Category]]:
        """A segment for each colour of an object in each class."""
        with truth_file(path, "a mask of objects"):
            objects = read_colour_image(path, through_palette=True).astype(np.int64) @ np.array([1, 256, 65_536])
            if objects.shape != labels.shape:
                raise ValueError(f"it has {objects.shape} pixels, the mask of classes {labels.shape}")
        most = int(labels.max(initial=0)) + 1
        pairs = np.where(labels > 0, objects * most + labels, 0)
        return pairs, {value: categories[value % most] for value in np.unique(pairs).tolist() if value}


def _image_folder(root: Path) -> Path:
    """`JPEGImages`, as CVAT has it, or what people make of it: `images`, or the folder itself."""
    beside = any(path.suffix.lower() in IMAGE_SUFFIXES for path in root.iterdir() if path.is_file())
    return find_folder(root, (*_IMAGES, *(["."] if beside else [])), "the images")


def read_label_map_file(path: Path) -> tuple[dict[int, str], dict[Colour, int]]:
    """The classes of a `labelmap.txt`, numbered from 1, and the number that each colour stands for.

    Raises:
        DataError: If it is none.
    """
    with truth_file(path, "CVAT's labelmap.txt"):
        colours = parse_label_map(read_plain(path, most_bytes=_MOST_BYTES).decode("utf-8-sig"))
        if not any(name.lower() != BACKGROUND for name in colours):
            raise ValueError("it names no class")
        names = [name for name in colours if name.lower() != BACKGROUND]
        return dict(enumerate(names, start=1)), class_table(colours)
