"""A label map with the facts about its segments, and what it can be shown and written as."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float64, Int32, UInt8

from upseg.functional.label_maps import segment_areas, segment_centroids
from upseg.hierarchy import Hierarchy
from upseg.segmentation.facts import Segment

if TYPE_CHECKING:
    from upseg.images.pixel_size import PixelSize
    from upseg.images.reading import ImageLike

Table = dict[str, np.ndarray]
"""Columns by name, one value for each segment."""


@dataclass(frozen=True, eq=False)
class LabelledSegments:
    """What a `Segmentation` holds, and what it is as masks, tables, pictures and objects of other programs."""

    labels: Int32[np.ndarray, "h w"]
    segments: tuple[Segment, ...]
    provenance: Mapping[str, Any] = field(default_factory=dict)
    hierarchy: Hierarchy | None = field(default=None, repr=False)
    features: UInt8[np.ndarray, "h2 w2 3"] | None = field(default=None, repr=False)

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

    def __len__(self) -> int:
        return len(self.segments)

    def __iter__(self) -> Iterator[Segment]:
        return iter(self.segments)

    def __getitem__(self, key: int) -> Segment:
        if not 1 <= key <= len(self.segments):
            raise KeyError(f"segment ids are 1..{len(self.segments)}, got {key}")
        return self.segments[key - 1]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, LabelledSegments):
            return NotImplemented
        return self.segments == other.segments and np.array_equal(self.labels, other.labels)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        height, width = self.shape
        return f"Segmentation({len(self)} segments, {height}x{width})"

    def mask(self, segment_id: int, *, parts: bool = False) -> Bool[np.ndarray, "h w"]:
        """The (H, W) boolean mask of one segment, with `parts` also of all the segments that are parts of it.

        Example:
            >>> from upseg import Segmentation
            >>> result = Segmentation.from_labels(np.array([[7, 9, 0]]), parents={9: 7})
            >>> result.mask(1).tolist(), result.mask(1, parts=True).tolist()
            ([[True, False, False]], [[True, True, False]])
        """
        wanted = [self[segment_id].id, *(self.parts_of(segment_id) if parts else ())]
        mask: Bool[np.ndarray, "h w"] = np.isin(self.labels, wanted) if parts else self.labels == segment_id
        return mask

    def parts_of(self, segment_id: int) -> list[int]:
        """The ids of the segments that are parts of one, of parts of it, and so on."""
        return [segment.id for segment in self if self[segment_id].id in self.wholes_of(segment.id)]

    def wholes_of(self, segment_id: int) -> list[int]:
        """The ids of the segments that one is a part of, the nearest first."""
        wholes: list[int] = []
        parent = self[segment_id].parent
        while parent is not None and parent not in wholes:
            wholes.append(parent)
            parent = self[parent].parent
        return wholes

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.labels, dtype=dtype, copy=copy)

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W) in pixels."""
        return self.labels.shape[0], self.labels.shape[1]

    @property
    def centroids(self) -> Float64[np.ndarray, "k 2"]:
        """(K, 2) mean row and column of each segment's pixels, in order of id.

        Example:
            >>> from upseg import Segmentation
            >>> Segmentation.from_labels(np.array([[7, 7, 9]])).centroids.tolist()
            [[0.0, 0.5], [0.0, 2.0]]
        """
        return segment_centroids(self.labels)

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

    def cutout(self, segment_id: int, image: ImageLike, margin: int = 0) -> UInt8[np.ndarray, "h w 4"]:
        """One segment's pixels on a transparent background, as large as its box: RGBA.

        Args:
            segment_id: Of the segment.
            image: A path, or an image of the same height and width.
            margin: Pixels more on each side, as far as there are any.

        Example:
            >>> from upseg import Segmentation
            >>> image = np.full((1, 3, 3), 255, np.uint8)
            >>> Segmentation.from_labels(np.array([[7, 0, 7]])).cutout(1, image)[0, :, 3].tolist()
            [255, 0, 255]
        """
        from upseg.images.reading import read_image

        cut: UInt8[np.ndarray, "h w 4"] = room("selection").cutout(self, segment_id, read_image(image), margin)
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
            >>> from upseg import Segmentation
            >>> table = Segmentation.from_labels(np.array([[7, 7, 0, 9]])).table(pixel_size="0.5um")
            >>> table["area"].tolist(), table["area_um2"].tolist()
            ([2, 1], [0.5, 0.25])
        """
        from upseg.images.reading import read_image

        pixels = None if image is None else read_image(image)
        columns: Table = room("measurements").measure(self, pixels, pixel_size)
        return columns

    def save(self, path: str | Path) -> Path:
        """Write to a file; its suffix chooses the format (see `upseg.formats`). Whole or not at all."""
        written: Path = room("formats").write(self, path)
        return written

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
        drawn = room("formats").draw_overlay(self, read_image(image), alpha=alpha, outlines=outlines)
        return drawn

    def show(self, image: ImageLike | None = None) -> None:
        """Show a picture of the segments, over their image if it is given: in a notebook there, else in a window."""
        from PIL import Image

        drawn = room("formats").draw_labels(self) if image is None else self.overlay(image)
        Image.fromarray(drawn).show()

    def _repr_png_(self) -> bytes:
        data: bytes = room("formats").picture_of(self)
        return data

    def _repr_html_(self) -> str:
        text: str = room("formats").html_of(self)
        return text


def room(name: str) -> Any:
    """A module of upseg that is built on this one and so is found by name, when it is first needed.

    What a file or a picture of a `Segmentation` looks like, what is measured of it and what becomes of it when segments
    go is known there alone; `save`, `table`, `merge` and so on are other ways to say it. Imports here would tie the
    modules in a circle.
    """
    return importlib.import_module(f"upseg.{name}")
