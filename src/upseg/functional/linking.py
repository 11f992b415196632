"""Segments of one plane after the other, joined to objects that go through planes by how much they overlap."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float64, Int32, Int64


@dataclass
class PlaneLinker:
    """Gives a segment of a plane the id of the one in the plane before that it overlaps most.

    Pairs are joined from the largest IoU down, each segment in one pair at most. What has no partner begins anew, with
    the next free id; an object that one plane lacks has ended.

    Attributes:
        least_iou: Pairs below it are not joined, in (0, 1].
        spans: First and last plane of each object by its id, from 0.
    """

    least_iou: float
    spans: dict[int, tuple[int, int]] = field(default_factory=dict)
    _plane: int = 0
    _before: Int32[np.ndarray, "h w"] | None = None

    def __post_init__(self) -> None:
        if not 0 < self.least_iou <= 1:
            raise ValueError(f"the least IoU of segments to be joined must be in (0, 1], got {self.least_iou}")

    def add(self, labels: Int32[np.ndarray, "h w"]) -> Int32[np.ndarray, "h w"]:
        """The next plane with the ids of objects.

        Args:
            labels: (H, W) ids of its own, 0 void; of the size of all planes.

        Raises:
            ValueError: If the size is another.
        """
        if self._before is not None and self._before.shape != labels.shape:
            raise ValueError(f"all planes must have one size, got {self._before.shape} and {labels.shape}")
        numbers = np.unique(labels)
        numbers = numbers[numbers > 0]
        partners = {} if self._before is None else _partners(self._before, labels, self.least_iou)
        table = np.zeros(int(labels.max(initial=0)) + 1, np.int32)
        for number in numbers.tolist():
            identity = partners.get(number) or len(self.spans) + 1
            table[number] = identity
            self.spans[identity] = (self.spans.get(identity, (self._plane, 0))[0], self._plane)
        linked: Int32[np.ndarray, "h w"] = table[labels]
        self._before, self._plane = linked, self._plane + 1
        return linked


def _partners(before: Int32[np.ndarray, "h w"], labels: Int32[np.ndarray, "h w"], least_iou: float) -> dict[int, int]:
    """The id in the plane before of each number that has one."""
    earlier, later, iou = _overlaps(before, labels)
    found: dict[int, int] = {}
    taken: set[int] = set()
    for place in np.lexsort((later, earlier, -iou)).tolist():
        identity, number = int(earlier[place]), int(later[place])
        if iou[place] < least_iou:
            break
        if identity not in taken and number not in found:
            found[number] = identity
            taken.add(identity)
    return found


def _overlaps(
    before: Int32[np.ndarray, "h w"], labels: Int32[np.ndarray, "h w"]
) -> tuple[Int64[np.ndarray, " p"], Int64[np.ndarray, " p"], Float64[np.ndarray, " p"]]:
    """All pairs of ids that share pixels, and their IoU."""
    count = int(labels.max(initial=0)) + 1
    both = (before > 0) & (labels > 0)
    pairs, shared = np.unique(before[both].astype(np.int64) * count + labels[both], return_counts=True)
    areas = [np.bincount(one.ravel()) for one in (before, labels)]
    earlier, later = pairs // count, pairs % count
    return earlier, later, shared / (areas[0][earlier] + areas[1][later] - shared)


def tracks_text(spans: dict[int, tuple[int, int]]) -> str:
    """Objects as the Cell Tracking Challenge writes them: a line `id first last parent` each, parent 0 for none."""
    return "".join(f"{identity} {first} {last} 0\n" for identity, (first, last) in sorted(spans.items()))
