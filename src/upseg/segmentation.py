"""What every method returns: one label map, and one row of facts for each segment in it."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, overload, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float64, Int32, Integer, UInt8

from upseg.functional.label_maps import canonical_order, segment_areas, segment_boxes, segment_centroids
from upseg.functional.masks import gather_masks
from upseg.hierarchy import Hierarchy, Union
from upseg.predicted_depth import PredictedDepth

if TYPE_CHECKING:
    from upseg.images.pixel_size import PixelSize
    from upseg.images.reading import ImageLike

BoundingBox = tuple[int, int, int, int]
Table = dict[str, np.ndarray]
"""Columns by name, one value for each segment."""
Progress = Callable[[int, int], None]
"""Told how many steps of how many are done with the image in hand."""


@dataclass(frozen=True, slots=True)
class Category:
    """A class that segments can belong to.

    Attributes:
        id: The class's number in its data set, at least 0.
        name: What people call it.
        is_thing: True for countable objects, False for stuff such as sky or grass.

    Example:
        >>> sky = Category(2, "sky", is_thing=False)
        >>> result = Segmentation.from_labels(np.array([[7, 7, 0]]), categories={7: sky})
        >>> [segment.category.name for segment in result]
        ['sky']
    """

    id: int
    name: str
    is_thing: bool = True


@dataclass(frozen=True, slots=True)
class Segment:
    """One segment of a `Segmentation`.

    Attributes:
        id: Its value in the label map, at least 1.
        area: Its number of pixels.
        bbox: (first row, first column, last row + 1, last column + 1), in pixels.
        score: How sure the method is, in [0, 1]; None where the method does not say.
        category: Its class; None for class-agnostic methods.
        parent: The id of the segment that this one is a part of; None at the top.

    Example:
        >>> Segmentation.from_labels(np.array([[0, 7, 7]]), scores={7: 0.9})[1]
        Segment(id=1, area=2, bbox=(0, 1, 1, 3), score=0.9, category=None, parent=None)
    """

    id: int
    area: int
    bbox: BoundingBox
    score: float | None = None
    category: Category | None = None
    parent: int | None = None


@dataclass(frozen=True, eq=False)
class Segmentation:
    """One segment id for each pixel, and the facts about each segment.

    Build one with `Segmentation.from_labels`, which puts the ids into canonical order; the constructor only checks.

    Attributes:
        labels: (H, W) int32; 0 is void (belongs to no segment), k >= 1 is the segment with id k.
        segments: One `Segment` for each id 1..K, in order of id.
        provenance: How the result came to be (method, settings, seed): anything JSON can hold.
        hierarchy: All levels of detail that the segments were chosen from, of methods that have them; else None.

    Two are equal whose labels and segments are; how they came to be does not count.

    Example:
        >>> result = Segmentation.from_labels(np.array([[7, 7, 0], [7, 9, 9]]))
        >>> result
        Segmentation(2 segments, 2x3)
        >>> [segment.area for segment in result]
        [3, 2]
        >>> result.mask(2).tolist()
        [[False, False, False], [False, True, True]]
    """

    labels: Int32[np.ndarray, "h w"]
    segments: tuple[Segment, ...]
    provenance: Mapping[str, Any] = field(default_factory=dict)
    hierarchy: Hierarchy | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.labels.ndim != 2 or self.labels.dtype != np.int32:
            raise ValueError(
                f"labels must be an (H, W) int32 array, got {self.labels.dtype} of shape {self.labels.shape}; "
                "Segmentation.from_labels accepts any integer array"
            )
        areas = segment_areas(self.labels)
        if [(s.id, s.area) for s in self.segments] != [(i, int(a)) for i, a in enumerate(areas[1:], start=1)]:
            raise ValueError(
                f"segments must list the ids 1..{len(areas) - 1} of the label map in order with their areas, "
                f"got {len(self.segments)} segments; Segmentation.from_labels builds the table"
            )
        self.labels.flags.writeable = False

    @classmethod
    def from_labels(
        cls,
        labels: Integer[np.ndarray, "h w"],
        *,
        scores: Mapping[int, float] | None = None,
        categories: Mapping[int, Category] | None = None,
        parents: Mapping[int, int] | None = None,
        provenance: Mapping[str, Any] | None = None,
    ) -> Segmentation:
        """Number the segments canonically (1..K by first pixel in row-major order) and collect their facts.

        Args:
            labels: (H, W) integers; 0 is void, every other value is one segment. Not changed.
            scores: Confidence in [0, 1] by the segment's value in `labels`.
            categories: Class by the segment's value in `labels`.
            parents: The value of the containing segment by the segment's value in `labels`.
            provenance: How the result came to be.

        Raises:
            ValueError: If `labels` is not a two-dimensional integer array, or a parent is not in the map.
        """
        canonical, originals = canonical_order(labels)
        new_ids = {int(value): index for index, value in enumerate(originals, start=1)}
        missing = sorted({p for v, p in (parents or {}).items() if v in new_ids and p not in new_ids})
        if missing:
            raise ValueError(f"each parent must be a segment of the label map, but {missing[:5]} are not in it")
        areas, boxes = segment_areas(canonical), segment_boxes(canonical)
        segments = tuple(
            Segment(
                id=index,
                area=int(areas[index]),
                bbox=boxes[index - 1],
                score=(scores or {}).get(value),
                category=(categories or {}).get(value),
                parent=new_ids[parents[value]] if parents and value in parents else None,
            )
            for value, index in new_ids.items()
        )
        return cls(canonical, segments, dict(provenance or {}))

    @classmethod
    def from_masks(
        cls,
        masks: Any,
        *,
        scores: Sequence[float] | None = None,
        categories: Sequence[Category] | Mapping[int, Category] | None = None,
        provenance: Mapping[str, Any] | None = None,
    ) -> Segmentation:
        """Make a segmentation of masks, which may overlap: a pixel goes to the mask with the highest score.

        Of equal scores, or without scores, the smaller mask lies on top. Masks that others hide wholly are left out.

        Args:
            masks: A (K, H, W) array or tensor, or a list of (H, W) ones, of booleans, integers or probabilities; what
                SAM's mask generator, torchvision's detectors or transformers' `post_process_*` functions return for one
                image; or `Detections` of supervision.
            scores: Of each mask, in [0, 1], in place of those that the source has.
            categories: The class of each mask, or the classes by the numbers that the source has. Without it a class is
                called by its name in the source, or `class N`.
            provenance: How the result came to be.

        Raises:
            ValueError: If there is no mask, or what is given does not fit together.

        Example:
            >>> import numpy as np
            >>> disc, square = np.zeros((2, 3, 4), bool)
            >>> disc[:2, :2] = True
            >>> square[1:, 1:] = True
            >>> Segmentation.from_masks([disc, square], scores=[0.5, 0.9]).labels
            array([[1, 1, 0, 0],
                   [1, 2, 2, 2],
                   [0, 2, 2, 2]], dtype=int32)
        """
        found = gather_masks(masks, scores)
        chosen = None if isinstance(categories, Mapping) else categories
        if found.classes is not None and chosen is None:
            known = categories if isinstance(categories, Mapping) else {}
            table = known or {n: Category(n, found.names.get(n, f"class {n}")) for n in found.classes}
            missing = sorted({*found.classes} - table.keys())
            if missing:
                raise ValueError(f"the class {missing[0]} is not among the categories, which are {sorted(table)}")
            chosen = [table[number] for number in found.classes]
        if chosen is not None and len(chosen) != len(found.masks):
            raise ValueError(f"there are {len(found.masks)} masks, but {len(chosen)} categories")
        return cls.from_labels(
            found.painted(),
            scores=None if found.scores is None else dict(enumerate(found.scores, start=1)),
            categories=None if chosen is None else dict(enumerate(chosen, start=1)),
            provenance=provenance,
        )

    def masks(self) -> Bool[np.ndarray, "k h w"]:
        """All masks as a (K, H, W) stack: H * W bytes for each segment."""
        stack: Bool[np.ndarray, "k h w"] = (
            self.labels[None] == np.arange(1, len(self) + 1, dtype=np.int32)[:, None, None]
        )
        return stack

    def to_supervision(self) -> Any:
        """`Detections` of supervision, which must be installed: boxes, masks, scores, and classes with their names."""
        import supervision

        boxes = np.array([(left, top, right, bottom) for top, left, bottom, right in (s.bbox for s in self)], float)
        scores = [s.score for s in self]
        named = [s.category for s in self]
        numbers = np.array([-1 if category is None else category.id for category in named], int)
        return supervision.Detections(
            xyxy=boxes.reshape(-1, 4),
            mask=self.masks(),
            confidence=None if None in scores else np.array(scores, float),
            class_id=None if not any(named) else numbers,
            data={"class_name": np.array(["" if category is None else category.name for category in named])},
        )

    def to_napari(self, name: str = "segments") -> tuple[Any, dict[str, Any], str]:
        """Labels, options and type of a layer: `napari.layers.Layer.create(*result.to_napari())`."""
        features = {
            "index": [s.id for s in self],
            "area": [s.area for s in self],
            "score": [s.score for s in self],
            "category": [None if s.category is None else s.category.name for s in self],
        }
        return self.labels, {"name": name, "features": features, "metadata": dict(self.provenance)}, "labels"

    @classmethod
    def from_hierarchy(
        cls, hierarchy: Hierarchy, detail: float, provenance: Mapping[str, Any] | None = None
    ) -> Segmentation:
        """One level of a hierarchy, 0 (few, large segments) to 1 (all); it carries all others.

        Example:
            >>> from upseg.hierarchy import MergeTree
            >>> tree = MergeTree(2, np.array([[0, 1]]), np.array([0.3]))
            >>> Segmentation.from_hierarchy(Hierarchy(np.array([[1, 2]], np.int32), tree, scale=1.0), detail=0.9)
            Segmentation(2 segments, 1x2)
        """
        return replace(cls.from_labels(hierarchy.at(detail), provenance=provenance), hierarchy=hierarchy)

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W) in pixels."""
        return self.labels.shape[0], self.labels.shape[1]

    @property
    def centroids(self) -> Float64[np.ndarray, "k 2"]:
        """(K, 2) mean row and column of each segment's pixels, in order of id.

        Example:
            >>> Segmentation.from_labels(np.array([[7, 7, 9]])).centroids.tolist()
            [[0.0, 0.5], [0.0, 2.0]]
        """
        return segment_centroids(self.labels)

    def __len__(self) -> int:
        return len(self.segments)

    def __iter__(self) -> Iterator[Segment]:
        return iter(self.segments)

    @overload
    def __getitem__(self, key: int) -> Segment: ...

    @overload
    def __getitem__(self, key: slice | tuple[slice, slice]) -> Segmentation: ...

    def __getitem__(self, key: int | slice | tuple[slice, slice]) -> Segment | Segmentation:
        """The segment with an id, or the segmentation of a part of the image: `result[3]`, `result[:100, 50:200]`."""
        if isinstance(key, slice | tuple):
            part: Segmentation = _room("selection").cut_out(self, key)
            return part
        if not 1 <= key <= len(self.segments):
            raise KeyError(f"segment ids are 1..{len(self.segments)}, got {key}")
        return self.segments[key - 1]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Segmentation):
            return NotImplemented
        return self.segments == other.segments and np.array_equal(self.labels, other.labels)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        height, width = self.shape
        return f"Segmentation({len(self)} segments, {height}x{width})"

    def mask(self, segment_id: int) -> Bool[np.ndarray, "h w"]:
        """The (H, W) boolean mask of one segment."""
        mask: Bool[np.ndarray, "h w"] = self.labels == self[segment_id].id
        return mask

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.labels, dtype=dtype, copy=copy)

    def at(self, detail: float) -> Segmentation:
        """The same image at another level of detail, 0 (few, large segments) to 1 (all), without another fit.

        Raises:
            ValueError: If the result has no hierarchy, or `detail` is not in [0, 1].

        Example:
            >>> from upseg.hierarchy import MergeTree
            >>> tree = MergeTree(3, np.array([[0, 1], [0, 2]]), np.array([0.2, 0.7]))
            >>> hierarchy = Hierarchy(np.array([[1, 2, 3]], np.int32), tree, scale=1.0)
            >>> result = Segmentation.from_hierarchy(hierarchy, detail=1.0)
            >>> result.at(0.5).labels.tolist()
            [[1, 1, 2]]
            >>> result.climb(1)
            [0, 3, 4]
            >>> result.pick(0, 2, detail=0.0)
            4
            >>> result.smallest_union(np.array([[False, True, True]]), overlap=1.0)
            Union(nodes=(1, 2), iou=1.0)
        """
        facts = dict(self.provenance)
        if isinstance(facts.get("settings"), Mapping):
            facts["settings"] = {**facts["settings"], "detail": detail}
        return Segmentation.from_hierarchy(self._levels(), detail, facts)

    def pick(self, row: int, column: int, detail: float = 1.0) -> int:
        """The node of the hierarchy at a pixel at a level of detail; `result.hierarchy.mask(node)` is its mask."""
        return self._levels().pick(row, column, detail)

    def climb(self, segment_id: int) -> list[int]:
        """The nodes of the hierarchy that hold a segment: the one nearest to it, and all that this merges into."""
        return self._levels().climb(self._levels().node_of(self.mask(segment_id)))

    def smallest_union(self, mask: Bool[np.ndarray, "h w"], overlap: float = 0.75, most: int = 8) -> Union:
        """The fewest segments of any levels that together match a mask; as `Hierarchy.smallest_union`."""
        return self._levels().smallest_union(mask, overlap, most)

    def _levels(self) -> Hierarchy:
        if self.hierarchy is None:
            raise ValueError(
                "this result has one level only; results of dynaseg (but those of grouping=labels) have a hierarchy, "
                "and files of the format npz keep it"
            )
        return self.hierarchy

    def merge(self, ids: Iterable[int]) -> Segmentation:
        """The same segmentation with some segments made one; what they have in common (class, parent) stays.

        Args:
            ids: Of at least one segment.

        Raises:
            KeyError: If there is no such segment.

        Example:
            >>> Segmentation.from_labels(np.array([[7, 8, 9]])).merge([1, 3]).labels.tolist()
            [[1, 2, 1]]
        """
        merged: Segmentation = _room("selection").merge(self, ids)
        return merged

    def filter(
        self,
        keep: Callable[[Segment], bool] | None = None,
        *,
        min_area: int | None = None,
        max_area: int | None = None,
        clear_border: bool = False,
    ) -> Segmentation:
        """The segments that pass every test, numbered anew; the pixels of others become void.

        Args:
            keep: Any test of one segment.
            min_area: The least area, in pixels.
            max_area: The largest area, in pixels.
            clear_border: Whether to leave out those that touch the image's edge.

        Example:
            >>> result = Segmentation.from_labels(np.array([[7, 7, 0, 9]]), scores={7: 0.4, 9: 0.9})
            >>> result.filter(min_area=2).labels.tolist()
            [[1, 1, 0, 0]]
            >>> result.filter(lambda segment: segment.score > 0.5).labels.tolist()
            [[0, 0, 0, 1]]
        """
        kept: Segmentation = _room("selection").keep_segments(
            self, keep, min_area=min_area, max_area=max_area, clear_border=clear_border
        )
        return kept

    def crop(self, segment_id: int, margin: int = 0) -> Segmentation:
        """The segmentation of one segment's box.

        Args:
            segment_id: Of the segment.
            margin: Pixels more on each side, as far as there are any.

        Example:
            >>> Segmentation.from_labels(np.array([[7, 7, 0, 9]])).crop(1, margin=1).labels.tolist()
            [[1, 1, 0]]
        """
        part: Segmentation = _room("selection").crop(self, segment_id, margin)
        return part

    def cutout(self, segment_id: int, image: ImageLike, margin: int = 0) -> UInt8[np.ndarray, "h w 4"]:
        """One segment's pixels on a transparent background, as large as its box: RGBA.

        Args:
            segment_id: Of the segment.
            image: A path, or an image of the same height and width.
            margin: Pixels more on each side, as far as there are any.

        Example:
            >>> image = np.full((1, 3, 3), 255, np.uint8)
            >>> Segmentation.from_labels(np.array([[7, 0, 7]])).cutout(1, image)[0, :, 3].tolist()
            [255, 0, 255]
        """
        from upseg.images.reading import read_image

        cut: UInt8[np.ndarray, "h w 4"] = _room("selection").cutout(self, segment_id, read_image(image), margin)
        return cut

    def table(self, image: ImageLike | None = None, pixel_size: PixelSize | float | str | None = None) -> Table:
        """Measurements, one row for each segment: see `upseg.measurements`.

        Args:
            image: A path, or an image of the same height and width, for the mean, least, largest value and standard
                deviation of each channel.
            pixel_size: The length of a pixel's side, `"0.32um"`, or a number in micrometres; lengths and areas are then
                also given in that unit.

        Returns:
            Columns by name, (K,) each: `pandas.DataFrame(result.table())` is a data frame.

        Example:
            >>> table = Segmentation.from_labels(np.array([[7, 7, 0, 9]])).table(pixel_size="0.5um")
            >>> table["area"].tolist(), table["area_um2"].tolist()
            ([2, 1], [0.5, 0.25])
        """
        from upseg.images.reading import read_image

        pixels = None if image is None else read_image(image)
        columns: Table = _room("measurements").measure(self, pixels, pixel_size)
        return columns

    def with_provenance(self, provenance: Mapping[str, Any]) -> Segmentation:
        """The same segments with another provenance."""
        return replace(self, provenance=dict(provenance))

    def save(self, path: str | Path) -> Path:
        """Write to a file; its suffix chooses the format (see `upseg.formats`). Whole or not at all."""
        written: Path = _room("formats").write(self, path)
        return written

    @classmethod
    def load(cls, path: str | Path) -> Segmentation:
        """Read any file that `save` writes."""
        found: Segmentation = _room("formats").read(path)
        return found

    def overlay(self, image: ImageLike, *, alpha: float = 0.5, outlines: bool = True) -> UInt8[np.ndarray, "h w 3"]:
        """Draw the segments in colour over the image they came from.

        Args:
            image: A path, or an image of the same height and width.
            alpha: Opacity of the colours, 0 to 1.
            outlines: Whether to draw the segments' borders.

        Returns:
            (H, W, 3) RGB.
        """
        from upseg.images.reading import read_image

        drawn: UInt8[np.ndarray, "h w 3"]
        drawn = _room("formats").draw_overlay(self, read_image(image), alpha=alpha, outlines=outlines)
        return drawn

    def show(self, image: ImageLike | None = None) -> None:
        """Show a picture of the segments, over their image if it is given: in a notebook there, else in a window."""
        from PIL import Image

        drawn = _room("formats").draw_labels(self) if image is None else self.overlay(image)
        Image.fromarray(drawn).show()

    def _repr_png_(self) -> bytes:
        data: bytes = _room("formats").picture_of(self)
        return data

    def _repr_html_(self) -> str:
        text: str = _room("formats").html_of(self)
        return text


def _room(name: str) -> Any:
    """A module of upseg that is built on this one and so is found by name, when it is first needed.

    What a file or a picture of a `Segmentation` looks like, what is measured of it and what becomes of it when segments
    go is known there alone; `save`, `table`, `merge` and so on are other ways to say it. Imports here would tie the
    modules in a circle.
    """
    return importlib.import_module(f"upseg.{name}")


@runtime_checkable
class Segmenter(Protocol):
    """What each method offers: an image in, a `Segmentation` out."""

    def segment(self, image: ImageLike) -> Segmentation:
        """Segment one image: a path, or an array as `upseg.images.reading.read_image` takes it."""
        ...


@runtime_checkable
class DepthSegmenter(Segmenter, Protocol):
    """What segmenters are whose method can predict depth."""

    def segment_with_depth(self, image: ImageLike) -> tuple[Segmentation, PredictedDepth]:
        """Segment one image, given as for `segment`, and predict the depth of its pixels.

        Raises:
            ModelError: If the model is one without depth.
        """
        ...
