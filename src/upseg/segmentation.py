"""What every method returns: one label map, and one row of facts for each segment in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Int32, Integer, UInt8

from upseg.functional.label_maps import canonical_order, segment_areas, segment_boxes

if TYPE_CHECKING:
    from upseg.images.reading import ImageLike

BoundingBox = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Category:
    """A class that segments can belong to.

    Attributes:
        id: The class's number in its data set, at least 0.
        name: What people call it.
        is_thing: True for countable objects, False for stuff such as sky or grass.
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
        from upseg.formats import write

        return write(self, Path(path))

    @classmethod
    def load(cls, path: str | Path) -> Segmentation:
        """Read any file that `save` writes."""
        from upseg.formats import read

        return read(Path(path))

    def overlay(self, image: ImageLike, *, alpha: float = 0.5, outlines: bool = True) -> UInt8[np.ndarray, "h w 3"]:
        """Draw the segments in colour over the image they came from.

        Args:
            image: A path, or an image of the same height and width.
            alpha: Opacity of the colours, 0 to 1.
            outlines: Whether to draw the segments' borders.

        Returns:
            (H, W, 3) RGB.
        """
        from upseg.formats.overlay import draw_overlay
        from upseg.images.reading import read_image

        return draw_overlay(self, read_image(image), alpha=alpha, outlines=outlines)


@runtime_checkable
class Segmenter(Protocol):
    """What each method offers: an image in, a `Segmentation` out."""

    def segment(self, image: ImageLike) -> Segmentation:
        """Segment one image: a path, or an array as `upseg.images.reading.read_image` takes it."""
        ...
