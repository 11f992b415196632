"""`Segmentation`: made of labels, masks or a hierarchy, and of other segmentations."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, overload

import numpy as np
from jaxtyping import Bool, Integer

from upseg.functional.label_maps import canonical_order, segment_areas, segment_boxes
from upseg.functional.masks import gather_masks
from upseg.functional.strokes import Stroke
from upseg.hierarchy import Hierarchy, Union
from upseg.segmentation.facts import Category, Segment
from upseg.segmentation.labelled import LabelledSegments, room

if TYPE_CHECKING:
    from upseg.images.reading import ImageLike


@dataclass(frozen=True, eq=False, repr=False)
class Segmentation(LabelledSegments):
    """One segment id for each pixel, and the facts about each segment.

    Build one with `Segmentation.from_labels`, which puts the ids into canonical order; the constructor only checks.

    Attributes:
        labels: (H, W) int32; 0 is void (belongs to no segment), k >= 1 is the segment with id k.
        segments: One `Segment` for each id 1..K, in order of id.
        provenance: How the result came to be (method, settings, seed): anything JSON can hold.
        hierarchy: All levels of detail that the segments were chosen from, of methods that have them; else None.
        features: (H2, W2, 3) uint8 RGB, of methods that group features of pixels (entity): those of the lowest
            resolution as colours, by their principal components; else None. Files do not hold it.

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
        chosen: Sequence[Category | None] | None = None if isinstance(categories, Mapping) else categories
        if found.classes is not None and chosen is None:
            known = categories if isinstance(categories, Mapping) else {}
            table = known or {n: Category(n, found.names.get(n, f"class {n}")) for n in found.classes}
            missing = sorted({n for n in found.classes if n >= 0} - table.keys())
            if missing:
                raise ValueError(f"the class {missing[0]} is not among the categories, which are {sorted(table)}")
            # supervision and `to_supervision` have -1 for what is of no class
            chosen = [table[number] if number >= 0 else None for number in found.classes]
        if chosen is not None and len(chosen) != len(found.masks):
            raise ValueError(f"there are {len(found.masks)} masks, but {len(chosen)} categories")
        return cls.from_labels(
            found.painted(),
            scores=None if found.scores is None else dict(enumerate(found.scores, start=1)),
            categories={n: category for n, category in enumerate(chosen or (), start=1) if category is not None},
            provenance=provenance,
        )

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

    @overload
    def __getitem__(self, key: int) -> Segment: ...

    @overload
    def __getitem__(self, key: slice | tuple[slice, slice]) -> Segmentation: ...

    def __getitem__(self, key: int | slice | tuple[slice, slice]) -> Segment | Segmentation:
        """The segment with an id, or the segmentation of a part of the image: `result[3]`, `result[:100, 50:200]`."""
        if isinstance(key, slice | tuple):
            return cast("Segmentation", room("selection").cut_out(self, key))
        return super().__getitem__(key)

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
        """What is at a pixel, at a level of detail from 0 (the largest) to 1 (the smallest).

        Returns:
            A node of the hierarchy, whose mask is `result.hierarchy.mask(node)`. Of a result without one the id of a
            segment, 0 for void: at 1 the pixel's own, at 0 the outermost that it is a part of, whose whole mask is
            `result.mask(id, parts=True)`.

        Example:
            >>> result = Segmentation.from_labels(np.array([[7, 9, 0]]), parents={9: 7})
            >>> [result.pick(0, 1, detail) for detail in (1.0, 0.0)]
            [2, 1]
        """
        if self.hierarchy is not None:
            return self.hierarchy.pick(row, column, detail)
        height, width = self.shape
        if not (0 <= row < height and 0 <= column < width and 0 <= detail <= 1):
            raise ValueError(
                f"give a pixel of the {height}x{width} image and detail from 0 to 1, got {row}, {column}, {detail}"
            )
        own = int(self.labels[row, column])
        chain = [own, *(self.wholes_of(own) if own else ())]
        return int(chain[round((1 - detail) * (len(chain) - 1))])

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
        return cast("Segmentation", room("selection").merge(self, ids))

    def split(self, segment_id: int, strokes: Sequence[Stroke], image: ImageLike | None = None) -> Segmentation:
        """The same segmentation with one segment cut: along one line, or between two or more that mark its parts.

        Args:
            segment_id: Of the segment.
            strokes: Lines of points (row, column), in pixels. Of one line the cut comes to lie on the strongest edge
                near it; of several each marks one part.
            image: A path, or an image of the same height and width, whose edges guide the cut; None for none.

        Raises:
            KeyError: If there is no such segment.
            ValueError: If there is no stroke, or the image has another size.

        Example:
            >>> whole = Segmentation.from_labels(np.ones((3, 6), int))
            >>> whole.split(1, [[(0, 0), (2, 0)], [(0, 5), (2, 5)]]).labels[0].tolist()
            [1, 1, 1, 2, 2, 2]
        """
        from upseg.images.reading import read_image

        pixels = None if image is None else read_image(image)
        return cast("Segmentation", room("selection").split(self, segment_id, strokes, pixels))

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
        tests = {"min_area": min_area, "max_area": max_area, "clear_border": clear_border}
        return cast("Segmentation", room("selection").keep_segments(self, keep, **tests))

    def crop(self, segment_id: int, margin: int = 0) -> Segmentation:
        """The segmentation of one segment's box.

        Args:
            segment_id: Of the segment.
            margin: Pixels more on each side, as far as there are any.

        Example:
            >>> Segmentation.from_labels(np.array([[7, 7, 0, 9]])).crop(1, margin=1).labels.tolist()
            [[1, 1, 0]]
        """
        return cast("Segmentation", room("selection").crop(self, segment_id, margin))

    def with_provenance(self, provenance: Mapping[str, Any]) -> Segmentation:
        """The same segments with another provenance."""
        return replace(self, provenance=dict(provenance))

    @classmethod
    def load(cls, path: str | Path) -> Segmentation:
        """Read any file that `save` writes."""
        return cast("Segmentation", room("formats").read(path))
