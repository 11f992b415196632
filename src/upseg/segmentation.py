"""What every method returns: one label map, and one row of facts for each segment in it."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Int32, Integer, UInt8

from upseg.functional.label_maps import canonical_order, segment_areas, segment_boxes
from upseg.functional.masks import gather_masks
from upseg.predicted_depth import PredictedDepth

if TYPE_CHECKING:
    from upseg.images.reading import ImageLike

BoundingBox = tuple[int, int, int, int]
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

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W) in pixels."""
        return self.labels.shape[0], self.labels.shape[1]

    def __len__(self) -> int:
        return len(self.segments)

    def __iter__(self) -> Iterator[Segment]:
        return iter(self.segments)

    def __getitem__(self, segment_id: int) -> Segment:
        if not 1 <= segment_id <= len(self.segments):
            raise KeyError(f"segment ids are 1..{len(self.segments)}, got {segment_id}")
        return self.segments[segment_id - 1]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Segmentation):
            return NotImplemented
        return (
            self.segments == other.segments
            and dict(self.provenance) == dict(other.provenance)
            and np.array_equal(self.labels, other.labels)
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        height, width = self.shape
        return f"Segmentation({len(self)} segments, {height}x{width})"

    def mask(self, segment_id: int) -> Bool[np.ndarray, "h w"]:
        """The (H, W) boolean mask of one segment."""
        mask: Bool[np.ndarray, "h w"] = self.labels == self[segment_id].id
        return mask

    def with_provenance(self, provenance: Mapping[str, Any]) -> Segmentation:
        """The same segments with another provenance."""
        return replace(self, provenance=dict(provenance))

    def save(self, path: str | Path) -> Path:
        """Write to a file; its suffix chooses the format (see `upseg.formats`). Whole or not at all."""
        written: Path = _formats().write(self, path)
        return written

    @classmethod
    def load(cls, path: str | Path) -> Segmentation:
        """Read any file that `save` writes."""
        found: Segmentation = _formats().read(path)
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
        drawn = _formats().draw_overlay(self, read_image(image), alpha=alpha, outlines=outlines)
        return drawn


def _formats() -> Any:
    """`upseg.formats`, which is built on this module and so is found by name, when it is first needed.

    What a file or a picture of a `Segmentation` looks like is known there alone; `save`, `load` and `overlay` are other
    ways to say `write`, `read` and `draw_overlay`. Imports inside them would tie the two modules in a circle.
    """
    return importlib.import_module("upseg.formats")


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
