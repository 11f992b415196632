"""The one ground truth: an image, a label map of its segments, and what each segment is."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int32, Integer

from upseg.errors import DataError, ImageError
from upseg.functional.label_maps import canonical_order, segment_areas
from upseg.images.options import ReadingOptions
from upseg.segmentation import Category, Segmentation

IGNORE = -1
"""What the derived maps have where the ground truth says nothing: no loss and no metric may count these pixels."""


@dataclass(frozen=True, slots=True)
class TruthSegment:
    """One segment of the ground truth.

    Attributes:
        id: Its value in the segment map, at least 1.
        area: Its number of pixels, at least 1.
        category: Its class; None where the data set has no classes.
        is_crowd: True where its pixels may belong to several objects that nobody told apart: COCO's crowds, and things
            that are known from a class mask alone.

    Example:
        >>> TruthSegment(id=1, area=30, category=Category(2, "sky", is_thing=False)).is_thing
        False
    """

    id: int
    area: int
    category: Category | None = None
    is_crowd: bool = False

    @property
    def is_thing(self) -> bool:
        """Whether it is a countable object; where there are no classes, every segment is one."""
        return self.category is None or self.category.is_thing


@dataclass(frozen=True, slots=True)
class LazyImage:
    """An image file that is decoded when somebody looks at it.

    Attributes:
        path: The file.
        shape: (H, W) that its pixels have to have.
        reading: How to read it.
    """

    path: Path
    shape: tuple[int, int]
    reading: ReadingOptions = ReadingOptions()  # noqa: RUF009 - frozen

    def read(self) -> Float32[np.ndarray, "h w 3"]:
        """Decode it to (H, W, 3) RGB in [0, 1].

        Raises:
            DataError: If it is damaged, or not of the expected size.
        """
        try:
            image = self.reading.read(self.path)
        except ImageError as error:
            raise DataError(str(error)) from error
        if image.shape[:2] != self.shape:
            raise DataError(
                f"{self.path}: expected an image of {self.shape[0]} x {self.shape[1]} pixels (height x width), "
                f"as its ground truth has, got {image.shape[0]} x {image.shape[1]}"
            )
        return image


class Sample:
    """An image and its ground truth. `Sample.from_labels` builds the table of segments; the constructor only checks.

    Attributes:
        segment_map: (H, W) int32; 0 is unlabelled, k >= 1 is the segment with id k.
        segments: One `TruthSegment` for each id 1..K, in order of id.
        depth: (H, W) metres, 0 where it is not known; None where the data set has no depth.
        name: What the data set calls the image; where it is a file name, without suffix. Files of predictions are
            found by it.
        other_maps: (H, W) label maps by further annotators of the same image, 0 unlabelled; `segment_map` is the first
            annotator's.
        left_out: What the annotation has but the map cannot show, such as an instance wholly behind others; one text
            each.

    Example:
        >>> image, labels = np.zeros((1, 3, 3), np.float32), np.array([[0, 7, 7]])
        >>> sample = Sample.from_labels(image, labels, categories={7: Category(2, "dog")})
        >>> sample.semantic_map().tolist(), sample.instance_map().tolist()
        ([[-1, 2, 2]], [[0, 1, 1]])
    """

    def __init__(
        self,
        image: Float32[np.ndarray, "hi wi 3"] | LazyImage,
        segment_map: Int32[np.ndarray, "h w"],
        segments: Sequence[TruthSegment],
        depth: Float32[np.ndarray, "hd wd"] | None = None,
        *,
        name: str = "",
        other_maps: Sequence[Int32[np.ndarray, "_ _"]] = (),
        left_out: Sequence[str] = (),
    ) -> None:
        shapes = [image.shape[:2], *(other.shape for other in other_maps), *([] if depth is None else [depth.shape])]
        if any(shape != segment_map.shape for shape in shapes):
            raise ValueError(
                f"image, further maps and depth must have the segment map's (H, W) {segment_map.shape}, got {shapes}"
            )
        if int(segment_map.min(initial=0)) < 0:
            raise ValueError(f"a segment map holds 0 (unlabelled) and ids from 1 on, got {segment_map.min()}")
        areas = segment_areas(segment_map)
        if [(s.id, s.area) for s in segments] != [(i, int(a)) for i, a in enumerate(areas[1:], start=1)]:
            raise ValueError(
                f"segments must list the ids 1..{len(areas) - 1} of the segment map in order with their areas, "
                f"got {len(segments)} segments; Sample.from_labels builds the table"
            )
        self._image = image
        self.segment_map = segment_map
        self.segments = tuple(segments)
        self.depth = depth
        self.name = name
        self.other_maps = tuple(other_maps)
        self.left_out = tuple(left_out)

    @classmethod
    def from_labels(
        cls,
        image: Float32[np.ndarray, "hi wi 3"] | LazyImage,
        labels: Integer[np.ndarray, "h w"],
        *,
        categories: Mapping[int, Category] | None = None,
        crowds: Collection[int] = (),
        depth: Float32[np.ndarray, "hd wd"] | None = None,
        name: str = "",
        other_maps: Sequence[Int32[np.ndarray, "_ _"]] = (),
        left_out: Sequence[str] = (),
    ) -> Sample:
        """Number the segments 1..K by their first pixel in row-major order and build their table.

        Args:
            image: (H, W, 3) RGB in [0, 1], or a file to decode later.
            labels: (H, W) integers, 0 unlabelled, every other value one segment. Not changed.
            categories: Class by value in `labels`; values that do not occur are of no interest.
            crowds: Values in `labels` that are crowds.
            depth: (H, W) metres, 0 where it is not known.
            name: What the data set calls the image.
            other_maps: Label maps by further annotators.
            left_out: What the annotation has but the map cannot show.
        """
        segment_map, values = canonical_order(labels)
        areas = segment_areas(segment_map)
        segments = [
            TruthSegment(index, int(areas[index]), (categories or {}).get(value), value in crowds)
            for index, value in enumerate(values.tolist(), start=1)
        ]
        return cls(image, segment_map, segments, depth, name=name, other_maps=other_maps, left_out=left_out)

    @property
    def image(self) -> Float32[np.ndarray, "h w 3"]:
        """(H, W, 3) RGB in [0, 1]; decoded at the first look, and kept.

        Raises:
            DataError: If the file is damaged, or not of the segment map's size.
        """
        if isinstance(self._image, LazyImage):
            self._image = self._image.read()
        return self._image

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W) in pixels."""
        return self.segment_map.shape[0], self.segment_map.shape[1]

    @property
    def annotations(self) -> tuple[Int32[np.ndarray, "h w"], ...]:
        """The (H, W) label maps of all annotators, `segment_map` first."""
        return (self.segment_map, *self.other_maps)

    @property
    def categories(self) -> dict[int, Category]:
        """Class by segment id, of the segments that have one."""
        return {segment.id: segment.category for segment in self.segments if segment.category is not None}

    @property
    def crowds(self) -> frozenset[int]:
        """The ids of the crowd segments."""
        return frozenset(segment.id for segment in self.segments if segment.is_crowd)

    def __repr__(self) -> str:
        height, width = self.shape
        return f"Sample({self.name!r}, {len(self.segments)} segments, {height}x{width})"

    def semantic_map(self, categories: Sequence[Category] | None = None) -> Int32[np.ndarray, "h w"]:
        """The class of each pixel, crowds included; `IGNORE` where it is unlabelled or its segment has no class.

        Args:
            categories: Give each class's position in this sequence; without it the map holds the classes' ids. A
                class that is not in it is ignored.

        Returns:
            (H, W) class ids or positions.
        """
        positions = None if categories is None else {c.id: position for position, c in enumerate(categories)}

        def number(category: Category | None) -> int:
            if category is None:
                return IGNORE
            return category.id if positions is None else positions.get(category.id, IGNORE)

        return self._mapped([number(segment.category) for segment in self.segments], unlabelled=IGNORE)

    def instance_map(self) -> Int32[np.ndarray, "h w"]:
        """The things: their ids as in `segment_map`; 0 on stuff and unlabelled pixels; `IGNORE` on crowds of things."""
        return self._mapped(
            [(IGNORE if s.is_crowd else s.id) if s.is_thing else 0 for s in self.segments], unlabelled=0
        )

    def entity_map(self) -> Int32[np.ndarray, "h w"]:
        """Things and stuff alike: ids as in `segment_map`; 0 on unlabelled pixels; `IGNORE` on crowds."""
        return self._mapped([IGNORE if s.is_crowd else s.id for s in self.segments], unlabelled=0)

    def read_with(self, reading: ReadingOptions) -> Sample:
        """The same sample, whose image, if it has not been decoded, will be read like this."""
        if isinstance(self._image, LazyImage):
            self._image = replace(self._image, reading=reading)
        return self

    @property
    def image_file(self) -> Path | None:
        """The file that the image is in; None where it was never a file of its own, or has been decoded."""
        return self._image.path if isinstance(self._image, LazyImage) else None

    def with_labels(
        self, labels: Integer[np.ndarray, "h w"], categories: Mapping[int, Category], crowds: Collection[int]
    ) -> Sample:
        """The same image with other segments; arguments as of `from_labels`."""
        return Sample.from_labels(
            self._image, labels, categories=categories, crowds=crowds, name=self.name, left_out=self.left_out
        )

    def to_segmentation(self) -> Segmentation:
        """The same segments as a `Segmentation`, to draw them or to write them to a file; crowds are segments there."""
        return Segmentation.from_labels(self.segment_map, categories=self.categories)

    def _mapped(self, values: Sequence[int], *, unlabelled: int) -> Int32[np.ndarray, "h w"]:
        """The segment map with each id k replaced by `values[k - 1]`."""
        table: Int32[np.ndarray, " k1"] = np.array([unlabelled, *values], np.int32)
        return np.take(table, self.segment_map)
