"""Semantic masks to what the losses of `baiseg` learn from. Instances have no say here: only classes are looked at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Int64
from scipy import ndimage
from torch import Tensor

from upseg.data.sample import IGNORE, Sample
from upseg.functional.label_maps import border_pixels
from upseg.segmentation import Category


def class_count(categories: Sequence[Category], background: bool) -> int:
    """How many classes a semantic map has.

    Args:
        categories: Of the data; without any there is one nameless class of things.
        background: Whether pixels without a label are a class of their own, the first.
    """
    return max(1, len(categories)) + background


def things(categories: Sequence[Category], background: bool) -> Bool[np.ndarray, " c"]:
    """Whether each class, by its position in the semantic map, is one of things; the background is none."""
    kinds = [category.is_thing for category in categories] or [True]
    return np.array([False] * background + kinds)


def semantic_positions(sample: Sample, categories: Sequence[Category], background: bool) -> Int64[np.ndarray, "h w"]:
    """The class of each pixel, by its position.

    Args:
        sample: Its segments are looked at for their classes alone.
        categories: As for `class_count`; without any, all segments are of the nameless class.
        background: As for `class_count`.

    Returns:
        (H, W) positions: with a background 0 where there is no label, and k + 1 for category k; without, category k is
        k. `IGNORE` where nothing is known: without a background where there is no label, and in both cases where a
        segment is of no class or of one that is not in `categories`.
    """
    labelled = sample.segment_map > 0
    found = sample.semantic_map(categories) if categories else np.where(labelled, 0, IGNORE)
    positions = found.astype(np.int64)
    if background:
        positions[positions != IGNORE] += 1
        positions[~labelled] = 0
    return positions


class BaisegTargets:
    """Computes the targets of a sample; a `DataLoader` calls it in its workers.

    Paper: Sec. 3.2: the contours of the semantic mask are the boundaries. Where objects of one class touch there is
    none.

    Without a background class, pixels without a label are void: VOC has a band of them around objects. Narrow void goes
    to the nearest classes on either side, so the contour lies in the middle of it. In wide void nobody knows where
    there are contours: no boundary is learned there.

    Args:
        categories: In the order of the semantic head's channels; a recipe leaves them out, and those of the training
            data are taken. Data without classes has one nameless class.
        background: Whether pixels without a label are a class of their own, the first. Their contours are boundaries
            then.
        void_reach: Void is narrow where no disc of a larger radius fits in, in pixels, at least 0.
        background_reach: Pixels beside what is labelled, at least 1, in which it is known that the background has no
            boundary; None for all of it. Where only things were labelled, what is far from them may have contours too.
        contours: Of `classes`, or of `segments` as well, where those of one class are not objects that somebody
            annotated but `ClassMasks` with objects pasted in (`PastedObjects`), whose contours are known.

    Raises:
        ValueError: If a reach is out of range, or `contours` is not as listed.
    """

    def __init__(
        self,
        categories: Sequence[Category] = (),
        background: bool = False,
        void_reach: int = 8,
        background_reach: int | None = None,
        contours: Literal["classes", "segments"] = "classes",
    ) -> None:
        if void_reach < 0 or (background_reach is not None and background_reach < 1):
            raise ValueError(
                f"void_reach must be at least 0 pixels and background_reach at least 1 or null, "
                f"got {void_reach} and {background_reach}"
            )
        if contours not in ("classes", "segments"):
            raise ValueError(f"contours must be 'classes' or 'segments', got {contours!r}")
        self.categories = tuple(categories)
        self.background = background
        self.void_reach = void_reach
        self.background_reach = background_reach
        self.contours = contours

    def __call__(self, sample: Sample) -> Mapping[str, Tensor]:
        """Compute the targets of one sample.

        Returns:
            `classes`: (H, W) int64, as `semantic_positions`.
            `boundary`: (H, W) bool, the pixels on both sides of each contour of the semantic map, and of the segments'
            if theirs are asked for.
            `valid`: (H, W) bool, where it is known whether there is a boundary; none elsewhere.
        """
        classes = semantic_positions(sample, self.categories, self.background)
        filled, valid = fill_void(classes, self.void_reach)
        boundary = border_pixels(filled)
        if self.contours == "segments":
            boundary |= border_pixels(sample.segment_map)
        if self.background_reach is not None:
            side = 2 * self.background_reach + 1
            valid &= ndimage.maximum_filter(sample.segment_map > 0, side, mode="constant")
        return {
            "classes": torch.from_numpy(classes),
            "boundary": torch.from_numpy(boundary & valid),
            "valid": torch.from_numpy(valid),
        }


def fill_void(
    classes: Int64[np.ndarray, "h w"], reach: int
) -> tuple[Int64[np.ndarray, "h w"], Bool[np.ndarray, "h w"]]:
    """Give void pixels the class of the nearest pixel that has one.

    Args:
        classes: (H, W) positions, `IGNORE` in the void. Not changed.
        reach: In pixels, at least 0.

    Returns:
        (H, W) classes without void, and which of them hold: all but the void in which a disc larger than `reach` fits,
        none if all is void.
    """
    void = classes == IGNORE
    if void.all() or not void.any():
        return classes, ~void
    distances, (rows, columns) = ndimage.distance_transform_edt(void, return_indices=True)
    deep = distances > reach
    if not deep.any():
        return classes[rows, columns], np.ones_like(void)
    # all of every disc that fits in, not only the pixels farther than `reach` from any class
    wide = void & (ndimage.distance_transform_edt(~deep) <= reach)
    return classes[rows, columns], ~wide
