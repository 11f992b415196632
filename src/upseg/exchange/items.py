"""What is to be written in another tool's layout, image after image: the results of a folder, or a data set."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from upseg.data.dataset import Dataset
from upseg.data.sources.folders import IMAGES, Listing, list_files
from upseg.errors import DataError, FormatError
from upseg.evaluation.predictions import SEGMENTATION_SUFFIXES, match_predictions, read_segments, result_files
from upseg.formats.outlines import UNNAMED
from upseg.images.reading import IMAGE_SUFFIXES
from upseg.segmentation import Category, Segmentation


@dataclass(frozen=True)
class Item:
    """One image and its segments.

    Attributes:
        name: What files about it are called: below the folder of images, with slashes, without suffix.
        file_name: The image's own name below that folder, with its suffix where that is known.
        image: The image's file; None where it is not known.
        segmentation: Its segments.
        crowds: The ids of those that are several objects, which nobody told apart.
    """

    name: str
    file_name: str
    image: Path | None
    segmentation: Segmentation
    crowds: frozenset[int] = frozenset()


@dataclass
class Items:
    """Images and their segments, read one at a time as often as they are asked for.

    Attributes:
        names: What the images are called.
        problems: What is wrong with those that could not be read so far.
    """

    names: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def read(self, index: int) -> Item:
        """Read one.

        Raises:
            DataError: If it is damaged.
            FormatError: Likewise.
        """
        raise NotImplementedError

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[Item]:
        """Those that are whole; what is wrong with the others is among the problems then."""
        for index in range(len(self.names)):
            try:
                item = self.read(index)
            except (DataError, FormatError) as error:
                if str(error) not in self.problems:  # everything may be read twice
                    self.problems.append(str(error))
            else:
                yield item

    def categories(self) -> tuple[Category, ...]:
        """All classes that segments have, in order of id; reads everything where nobody lists them."""
        found = {s.category for item in self for s in item.segmentation if s.category is not None}
        return tuple(sorted(found, key=lambda category: (category.id, category.name)))


class ResultItems(Items):
    """The results of a folder, in any format that can be read back.

    Args:
        folder: The folder, searched throughout; of one image in several formats the first of the table counts.
        images: The folder with the images; those without a result are problems.

    Raises:
        DataError: If there is nothing to read, or nothing fits together.
    """

    def __init__(self, folder: Path, images: Path | None = None) -> None:
        super().__init__()
        self._images: Listing | None = None
        if images is None:
            self._files = result_files(folder, SEGMENTATION_SUFFIXES)
        else:
            self._images = list_files(images, IMAGES, "images", recursive=True, whole_names=True)
            keys = {self._images.name(key): key for key in self._images.files}
            matching = match_predictions(folder, list(keys), SEGMENTATION_SUFFIXES)
            self._files = {name: path for name, path in matching.files.items() if isinstance(path, Path)}
            self._paths = {name: self._images.files[keys[name]] for name in self._files}
            self.problems += [f"{self._images.files[keys[name]]} has no result" for name in matching.missing]
            self.problems += [f"{path} is the result of no image" for path in matching.extra]
        self.names = list(self._files)

    def read(self, index: int) -> Item:
        """Read one result."""
        name = self.names[index]
        segmentation = read_segments(self._files[name])
        if self._images is not None:
            file_name = self._paths[name]
            return Item(name, file_name, self._images.folder / file_name, segmentation)
        noted = segmentation.provenance.get("image")
        suffix = PurePosixPath(noted).suffix if isinstance(noted, str) else ""
        return Item(name, f"{name}{suffix}" if suffix.lower() in IMAGE_SUFFIXES else name, None, segmentation)


class DatasetItems(Items):
    """The samples of a data set, whose `on_error` is "skip"."""

    def __init__(self, dataset: Dataset) -> None:
        super().__init__(list(dataset.names))
        self._dataset = dataset
        dataset.decode_images = False

    def read(self, index: int) -> Item:
        """Read one sample."""
        name, sample = self.names[index], self._dataset[index]
        file = sample.image_file
        suffix = "" if file is None or name.lower().endswith(file.suffix.lower()) else file.suffix
        return Item(name, f"{name}{suffix}", file, sample.to_segmentation(), sample.crowds)

    def categories(self) -> tuple[Category, ...]:
        """Those that the data set lists, or all that occur."""
        return self._dataset.categories or super().categories()


def named_segments(item: Item, unnamed: Category) -> Item:
    """The same with a class for segments that have none."""
    segments = tuple(s if s.category is not None else replace(s, category=unnamed) for s in item.segmentation)
    return replace(item, segmentation=replace(item.segmentation, segments=segments, hierarchy=None))


def class_for_unnamed(categories: Iterable[Category]) -> Category:
    """The class that segments without one get where each must have one."""
    return Category(max((category.id for category in categories), default=0) + 1, UNNAMED)


def stuff_of(item: Item) -> frozenset[int]:
    """The ids of the segments of stuff."""
    return frozenset(s.id for s in item.segmentation if s.category is not None and not s.category.is_thing)


def crowds_of(item: Item) -> frozenset[int]:
    """The ids of the crowds."""
    return item.crowds


def without(item: Item, ids: Iterable[int]) -> Item:
    """The same without some segments."""
    gone = frozenset(ids)
    if not gone:
        return item
    kept = [s.id for s in item.segmentation if s.id not in gone]
    left = item.segmentation.filter(lambda segment: segment.id not in gone)
    crowds = frozenset(number for number, old in enumerate(kept, start=1) if old in item.crowds)
    return replace(item, segmentation=left, crowds=crowds)
