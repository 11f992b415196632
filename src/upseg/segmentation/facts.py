"""What is known of one segment."""

from __future__ import annotations

from dataclasses import dataclass

BoundingBox = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Category:
    """A class that segments can belong to.

    Attributes:
        id: The class's number in its data set, at least 0.
        name: What people call it.
        is_thing: True for countable objects, False for stuff such as sky or grass.

    Example:
        >>> import numpy
        >>> from upseg import Segmentation
        >>> sky = Category(2, "sky", is_thing=False)
        >>> result = Segmentation.from_labels(numpy.array([[7, 7, 0]]), categories={7: sky})
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
        >>> import numpy
        >>> from upseg import Segmentation
        >>> Segmentation.from_labels(numpy.array([[0, 7, 7]]), scores={7: 0.9})[1]
        Segment(id=1, area=2, bbox=(0, 1, 1, 3), score=0.9, category=None, parent=None)
    """

    id: int
    area: int
    bbox: BoundingBox
    score: float | None = None
    category: Category | None = None
    parent: int | None = None
