"""What Mask R-CNN learns from an image: a box, a class and a mask of each object."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Int64
from torch import Tensor

from upseg.data.sample import TruthSegment
from upseg.segmentation import Category


def learned_segments(segments: Sequence[TruthSegment], categories: Sequence[Category]) -> dict[int, int]:
    """The objects that are learned from, and the position of each one's class.

    Left out are stuff, crowds (whose boxes are no objects' boxes), and what has none of the classes; a model without
    classes takes every thing for its one class.

    Args:
        segments: Of one image.
        categories: The model's classes of things; empty for one class without a name.

    Returns:
        For the id of each object the position of its class, from 0.
    """
    positions = {category.id: position for position, category in enumerate(categories)}
    things = [segment for segment in segments if segment.is_thing and not segment.is_crowd]
    if not categories:
        return {segment.id: 0 for segment in things}
    return {
        segment.id: positions[segment.category.id]
        for segment in things
        if segment.category is not None and segment.category.id in positions
    }


def instance_targets(
    segment_map: Int64[Tensor, "h w"], segments: Sequence[TruthSegment], categories: Sequence[Category]
) -> dict[str, Tensor]:
    """The objects of one image, as torchvision's Mask R-CNN takes them.

    Args:
        segment_map: (H, W) 0 unlabelled, k >= 1 the segment with id k; on any device.
        segments: Its table.
        categories: As for `learned_segments`.

    Returns:
        On the map's device, for n objects: `boxes` (n, 4) left, top, right, bottom in pixels, half-open, so that an
        object of one pixel has a box of one pixel; `labels` (n,) from 1; `masks` (n, H, W) of 0 and 1. Objects without
        any pixel in the map are left out, and n may be 0.
    """
    learned = learned_segments(segments, categories)
    ids = torch.tensor(list(learned), dtype=torch.long, device=segment_map.device)
    labels = torch.tensor(list(learned.values()), dtype=torch.long, device=segment_map.device) + 1
    masks = segment_map == ids[:, None, None]
    present = masks.flatten(1).any(1)
    masks = masks[present]
    left, right = _extent(masks.any(1))
    top, bottom = _extent(masks.any(2))
    return {
        "boxes": torch.stack([left, top, right, bottom], dim=1).float(),
        "labels": labels[present],
        "masks": masks.to(torch.uint8),
    }


def _extent(occupied: Tensor) -> tuple[Tensor, Tensor]:
    """The first position of each row of (n, length) that is true, and the one after the last."""
    numbers = occupied.to(torch.uint8)
    return numbers.argmax(1), occupied.shape[1] - numbers.flip(1).argmax(1)
