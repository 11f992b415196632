"""From detections, which may overlap, to one label map: the best on top."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32, Int32

from upseg.methods.mask_rcnn.network import Detections
from upseg.methods.mask_rcnn.settings import MaskRcnnSettings


@dataclass(frozen=True)
class Grouping:
    """The segments of one image.

    Attributes:
        labels: (H, W) ids, 0 void; the number of the detection plus 1.
        classes: Position of the class of each id.
        scores: Of each id, in [0, 1].
    """

    labels: Int32[np.ndarray, "h w"]
    classes: dict[int, int]
    scores: dict[int, float]


def paint_detections(
    found: Detections, size: tuple[int, int], scale: tuple[float, float], settings: MaskRcnnSettings
) -> Grouping:
    """Paint the masks of detections into one label map; a pixel belongs to the highest score whose mask has it.

    From the highest score down, each mask gets those of its pixels that are still free. It is left out, and its pixels
    stay free for the next, if these are fewer than `minimum_area` or less than a share `minimum_visible` of it: most
    often it is the same object found once more.

    Args:
        found: In any order.
        size: (H, W) of the label map.
        scale: Pixels of what the network saw for each pixel of the label map, along its height and its width.
        settings: Of the method: `minimum_score`, `mask_threshold`, `minimum_visible` and `minimum_area`.
    """
    boxes, masks, scores = (part.float().cpu().numpy() for part in (found.boxes, found.masks, found.scores))
    positions = found.positions.tolist()
    labels: Int32[np.ndarray, "h w"] = np.zeros(size, np.int32)
    classes: dict[int, int] = {}
    painted: dict[int, float] = {}
    for number in np.argsort(-scores, kind="stable").tolist():
        if scores[number] < settings.minimum_score:
            break
        window, mask = paste_mask(masks[number], boxes[number], size, scale, settings.mask_threshold)
        free = mask & (labels[window] == 0)
        visible = int(free.sum())
        if visible < settings.minimum_area or visible < settings.minimum_visible * int(mask.sum()):
            continue
        labels[window][free] = number + 1
        classes[number + 1], painted[number + 1] = positions[number], float(scores[number])
    return Grouping(labels, classes, painted)


def paste_mask(
    mask: Float[np.ndarray, "m m"],
    box: Float[np.ndarray, " 4"],
    size: tuple[int, int],
    scale: tuple[float, float],
    threshold: float,
) -> tuple[tuple[slice, slice], Bool[np.ndarray, "h w"]]:
    """The pixels of the label map that belong to a mask, within the box alone.

    Pixels whose centres lie in the box get the probability at their centre, bilinear between the mask's cells. The
    truth that the masks are trained with is taken by torchvision's RoIAlign, for which the centre of pixel i is at i,
    not at i + 0.5: this is its exact inverse.

    Args:
        mask: (m, m) probabilities.
        box: Left, top, right, bottom in pixels of what the network saw.
        size: (H, W) of the label map.
        scale: As for `paint_detections`.
        threshold: Pixels with at least this probability belong to it.

    Returns:
        The window of the label map, and which of its pixels belong to the mask.
    """
    left, top, right, bottom = (float(side) for side in box)
    rows, across = _positions(top, bottom, size[0], scale[0], len(mask))
    columns, along = _positions(left, right, size[1], scale[1], len(mask))
    probabilities = across @ mask.astype(np.float32) @ along.T  # float32: a box may be all of a large photo
    belongs: Bool[np.ndarray, "h w"] = probabilities >= threshold
    return (rows, columns), belongs


def _positions(
    start: float, stop: float, length: int, scale: float, cells: int
) -> tuple[slice, Float32[np.ndarray, "pixels cells"]]:
    """The pixels along one axis whose centres lie in [start, stop), and the weight of each cell in each of them."""
    first = min(length, max(0, int(np.ceil(start / scale - 0.5))))
    last = min(length, max(first, int(np.ceil(stop / scale - 0.5))))
    centres = (np.arange(first, last) + 0.5) * scale
    places = ((centres - 0.5 - start) / max(stop - start, 1e-6) * cells - 0.5).clip(0, cells - 1)
    weights = np.maximum(0, 1 - np.abs(places[:, None] - np.arange(cells)))
    return slice(first, last), weights.astype(np.float32)
