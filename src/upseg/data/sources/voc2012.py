"""PASCAL VOC 2012: 2,913 photos with masks of classes and objects, 20 classes; with SBD 10,582 for training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Int64, Integer

from upseg.data.dataset import Dataset, OnError
from upseg.data.sample import Sample
from upseg.data.sources.folders import choose_split, find_folder, list_files, read_names
from upseg.data.sources.label_images import (
    class_segments,
    labelled_sample,
    read_label_image,
    truth_file,
)
from upseg.data.sources.matlab import read_matlab
from upseg.errors import DataError
from upseg.segmentation import Category

_NAMES = """
background aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike person pottedplant
sheep sofa train tvmonitor
"""
CATEGORIES: tuple[Category, ...] = tuple(
    Category(number, name, is_thing=number > 0) for number, name in enumerate(_NAMES.split())
)
"""Background and the 20 classes, numbered as in the masks."""

_VOID = 255  # the band around objects, and what is hard to tell
_BACKGROUND = 0
_LISTS = "ImageSets/Segmentation"


class VOC2012(Dataset):
    """One split in the official layout, `JPEGImages`, `SegmentationClass`, `SegmentationObject`, `ImageSets`.

    Each object is a segment, and the background one of stuff. Where there is no `SegmentationObject`, all objects of a
    class are one crowd. Where there are no lists in `ImageSets/Segmentation`, all class masks are read.

    Args:
        root: The folder that holds these, or `VOCdevkit`, or the one above it.
        split: train (1,464), val (1,449), trainval, or trainaug (10,582): VOC's train and SBD's images that are not in
            val. None for val, or for everything where there are no lists.
        background: Whether the background is a segment; else it is unlabelled.
        sbd: SBD's folder `dataset` for trainaug; None to look for it in `root` and beside it. Without SBD, its masks
            are taken from `SegmentationClassAug`, where there are no objects.
    """

    def __init__(
        self,
        root: Path,
        split: str | None = None,
        *,
        on_error: OnError = "raise",
        background: bool = True,
        sbd: str | None = None,
    ) -> None:
        places = (".", "VOC2012", "VOCdevkit/VOC2012")
        base = next((root / place for place in places if (root / place / "JPEGImages").is_dir()), root)
        self._images = find_folder(base, ("JPEGImages",), "VOC's images")
        self._classes = find_folder(base, ("SegmentationClass",), "VOC's class masks")
        self._objects = base / "SegmentationObject"
        self._has_objects = self._objects.is_dir()
        self._augmented = base / "SegmentationClassAug"
        self._sbd: SBD | None = None
        if split == "trainaug":
            names = self._with_sbd(base, Path(sbd) if sbd is not None else find_sbd(root, base))
        else:
            names = self._listed(base, split)
        self.background = background
        super().__init__(CATEGORIES if background else CATEGORIES[1:], on_error, names=names)

    def _listed(self, base: Path, split: str | None) -> list[str]:
        folder = base / _LISTS
        if not folder.is_dir() and split is None:
            return list(list_files(self._classes, (".png",), "VOC's class masks").files)
        folder = find_folder(base, (_LISTS,), "the lists of images train.txt and val.txt")
        lists = {path.stem: path for path in folder.glob("*.txt")}
        return read_names(lists[choose_split(split, lists, folder)], "names of images")

    def _with_sbd(self, base: Path, sbd: Path | None) -> list[str]:
        """VOC's train, and all of SBD that is not in VOC's val."""
        if sbd is None and self._augmented.is_dir():
            listed = base / _LISTS / "trainaug.txt"
            # lists made by others have the two paths of each pair in a line
            return [Path(line.split()[0]).stem for line in read_names(listed, "the 10,582 names of trainaug")]
        if sbd is None:
            raise DataError(
                f"trainaug needs SBD's masks: neither {base / 'benchmark_RELEASE' / 'dataset'} (with cls, inst, "
                f"train.txt and val.txt) nor {self._augmented} is there; give SBD's folder as sbd=..."
            )
        self._sbd = SBD(sbd)
        train, val = (read_names(base / _LISTS / f"{name}.txt", "names of images") for name in ("train", "val"))
        return sorted((set(train) | set(self._sbd.names)) - set(val))

    def load(self, index: int) -> Sample:
        """Read one image's masks."""
        name = self.names[index]
        image, truth = self._images / f"{name}.jpg", self._classes / f"{name}.png"
        objects: Integer[np.ndarray, "h w"] | None = None
        if self._sbd is not None and not truth.is_file():
            truth, classes, objects = self._sbd.read(name)
            image = image if image.is_file() else self._sbd.image(name)
        else:
            truth = truth if truth.is_file() or not self._augmented.is_dir() else self._augmented / f"{name}.png"
            classes = read_label_image(truth)
            if self._has_objects and truth.parent == self._classes:
                objects = read_label_image(self._objects / f"{name}.png")
        void = {_VOID} if self.background else {_VOID, _BACKGROUND}
        labels, categories, crowds = class_segments(classes, dict(enumerate(CATEGORIES)), void, truth)
        if objects is not None:
            labels, categories = self._with_objects(labels, categories, objects.astype(np.int64), truth)
            crowds = set()
        return labelled_sample(image, labels, truth, categories=categories, crowds=crowds, name=name)

    def _with_objects(
        self,
        labels: Integer[np.ndarray, "h w"],
        categories: dict[int, Category],
        objects: Int64[np.ndarray, "ho wo"],
        path: Path,
    ) -> tuple[Integer[np.ndarray, "h w"], dict[int, Category]]:
        """Replace the segments of things by the objects, each of the class that most of its pixels have."""
        if objects.shape != labels.shape:
            raise DataError(f"{path}: the mask of classes is {labels.shape} pixels, that of objects {objects.shape}")
        inside = (objects > 0) & (objects != _VOID)
        first = len(CATEGORIES) + 1
        kinds = {label: category for label, category in categories.items() if category.is_thing}
        table = {label: category for label, category in categories.items() if not category.is_thing}
        for number in np.unique(objects[inside]).tolist():
            found, counts = np.unique(labels[objects == number], return_counts=True)
            votes = {label: n for label, n in zip(found.tolist(), counts.tolist(), strict=True) if label in kinds}
            if not votes:
                raise DataError(f"{path}: object {number} has no category: none of its pixels has a class")
            table[first + number] = kinds[max(votes, key=votes.__getitem__)]
        stuff = np.where(np.isin(labels, list(kinds)), 0, labels)
        return np.where(inside, objects + first, stuff), table


class SBD:
    """The official layout: `cls/*.mat`, `inst/*.mat`, `train.txt`, `val.txt`, and `img/*.jpg`.

    Args:
        root: The folder `benchmark_RELEASE/dataset`.

    Attributes:
        names: The names of all its images, 8,498 + 2,857.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._classes = find_folder(root, ("cls",), "SBD's class masks")
        self._objects = find_folder(root, ("inst",), "SBD's object masks")
        self.names = [name for part in ("train", "val") for name in read_names(root / f"{part}.txt", "names of images")]

    def image(self, name: str) -> Path:
        """The image of that name; there may be no such file, because VOC has the same images."""
        return self.root / "img" / f"{name}.jpg"

    def read(self, name: str) -> tuple[Path, Integer[np.ndarray, "h w"], Integer[np.ndarray, "ho wo"]]:
        """The file of the class mask, that mask (0 background), and the mask of objects (0 none).

        Raises:
            DataError: If a file is missing or damaged.
        """
        path = self._classes / f"{name}.mat"
        return path, _segmentation(path, "GTcls"), _segmentation(self._objects / f"{name}.mat", "GTinst")


def find_sbd(*roots: Path) -> Path | None:
    """SBD's folder `dataset` in or beside one of some folders."""
    places = ("benchmark_RELEASE/dataset", "SBD/benchmark_RELEASE/dataset", "SBD/dataset", "sbd/dataset", "SBD", "sbd")
    for root in roots:
        for above in (root, root.absolute().parent, root.absolute().parent.parent):
            for place in places:
                if (above / place / "cls").is_dir():
                    return above / place
    return None


def _segmentation(path: Path, variable: str) -> Integer[np.ndarray, "h w"]:
    holds = f"SBD's annotation ({variable}.Segmentation)"
    content = read_matlab(path, variable, holds)
    with truth_file(path, holds):
        found = np.asarray(content["Segmentation"][0, 0])
        if found.ndim != 2 or not np.issubdtype(found.dtype, np.integer) or not found.size:
            raise ValueError(f"expected an (H, W) integer map, got {found.dtype} of shape {found.shape}")
        return found
