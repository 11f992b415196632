"""Masks as other libraries give them, made into one label map.

Stacks of masks, SAM's records, `Detections` of supervision, and the results of torchvision and transformers: told apart
by what they have, so that none of these libraries has to be installed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Bool, Int32

from upseg.functional.runs import counts_to_runs, decompress_counts, paint_runs

_PROBABILITY = 0.5  # from here up a pixel with a probability is inside


@dataclass
class Masks:
    """Masks of one image.

    Attributes:
        masks: Each (H, W), all of one size.
        scores: Of each; None where the source has none.
        classes: Number of the class of each; None where the source has none.
        names: Of classes by number, where the source has them.
    """

    masks: list[Bool[np.ndarray, "_ _"]]
    scores: list[float] | None = None
    classes: list[int] | None = None
    names: Mapping[int, str] = field(default_factory=dict)

    def check(self) -> None:
        """Refuse masks of several sizes, and scores or classes of another number, with a ValueError."""
        if not self.masks:
            raise ValueError(
                "there is no mask: an image in which nothing was found is Segmentation.from_labels of zeros"
            )
        shapes = {mask.shape for mask in self.masks}
        if len(shapes) > 1 or len(next(iter(shapes))) != 2:
            raise ValueError(f"masks must be (H, W) arrays of one size, got the shapes {sorted(shapes)[:3]}")
        for what, values in (("scores", self.scores), ("classes", self.classes)):
            if values is not None and len(values) != len(self.masks):
                raise ValueError(f"there are {len(self.masks)} masks, but {len(values)} {what}")

    def painted(self) -> Int32[np.ndarray, "h w"]:
        """(H, W): i for the pixels of the i-th mask, from 1; where masks overlap, the higher score lies on top.

        Of equal scores, or without scores, the smaller mask does. Masks that others hide wholly have no pixel.
        """
        areas = [int(mask.sum()) for mask in self.masks]
        scores = self.scores or [0.0] * len(areas)
        labels = np.zeros(self.masks[0].shape, np.int32)
        for number in sorted(range(len(areas)), key=lambda i: (scores[i], -areas[i], -i)):
            labels[self.masks[number]] = number + 1
        return labels


def gather_masks(found: Any, scores: Sequence[float] | None = None) -> Masks:
    """The masks in what another library returned.

    Args:
        found: A (K, H, W) or (K, 1, H, W) array or tensor, or a list of (H, W) ones, of booleans, integers (other than
            0 is inside) or probabilities (from 0.5 up); SAM's list of dictionaries; torchvision's dictionary with
            `masks`; transformers' dictionary with `segmentation` and `segments_info`; supervision's `Detections`.
        scores: Of each mask, in place of the source's own.

    Raises:
        ValueError: If it is none of these, holds no mask, or its parts do not fit together.
    """
    if isinstance(found, Mapping):
        gathered = _from_dictionary(found)
    elif hasattr(found, "mask") and hasattr(found, "confidence"):
        gathered = _from_supervision(found)
    elif isinstance(found, Sequence) and found and all(isinstance(item, Mapping) for item in found):
        gathered = _from_sam(found)
    else:
        gathered = Masks(_stack(found))
    if scores is not None:
        gathered.scores = [float(score) for score in scores]
    gathered.check()
    return gathered


def _from_dictionary(found: Mapping[str, Any]) -> Masks:
    if "segmentation" in found and "segments_info" in found:
        labels = _array(found["segmentation"])
        rows = list(found["segments_info"])
        classes = [int(row["label_id"]) for row in rows if "label_id" in row]
        scores = [float(row["score"]) for row in rows if row.get("score") is not None]
        masks = [labels == int(row["id"]) for row in rows]
        complete = scores if len(scores) == len(rows) else None
        return Masks(masks, complete, classes if len(classes) == len(rows) else None)
    if "masks" in found:
        return Masks(_stack(found["masks"]), _column(found, "scores"), _column(found, "labels"))
    raise ValueError(
        f"a dictionary of masks has masks, or segmentation and segments_info; this one has {list(found)[:5]}"
    )


def _from_supervision(found: Any) -> Masks:
    if found.mask is None:
        raise ValueError("these Detections have boxes but no masks")
    scores = None if found.confidence is None else [float(score) for score in found.confidence]
    classes = None if found.class_id is None else [int(number) for number in found.class_id]
    texts = (getattr(found, "data", None) or {}).get("class_name")
    names = {} if texts is None or classes is None else dict(zip(classes, map(str, texts), strict=True))
    return Masks(_stack(found.mask), scores, classes, names)


def _from_sam(found: Sequence[Mapping[str, Any]]) -> Masks:
    scores = [row.get("predicted_iou", row.get("score")) for row in found]
    masks = [_of_record(row.get("segmentation", row.get("mask"))) for row in found]
    return Masks(masks, None if any(score is None for score in scores) else [float(str(score)) for score in scores])


def _of_record(mask: Any) -> Bool[np.ndarray, "_ _"]:
    if not isinstance(mask, Mapping):
        return _stack([mask])[0]
    height, width = mask["size"]
    counts = mask["counts"]
    texts = [counts.decode() if isinstance(counts, bytes) else counts]
    numbers = decompress_counts(texts)[0] if isinstance(texts[0], str) else np.array(counts, np.int64)
    runs = counts_to_runs(numbers, np.array([0, len(numbers)]), np.array([1]), height * width)
    return paint_runs(runs, height * width)[0].reshape(width, height).T > 0


def _stack(masks: Iterable[Any]) -> list[Bool[np.ndarray, ...]]:
    arrays = [_array(mask) for mask in masks]
    inside = [array >= _PROBABILITY if array.dtype.kind == "f" else array != 0 for array in arrays]
    return [mask[0] if mask.ndim == 3 and len(mask) == 1 else mask for mask in inside]


def _column(found: Mapping[str, Any], key: str) -> Any:
    return None if found.get(key) is None else _array(found[key]).tolist()


def _array(value: Any) -> np.ndarray:
    """An array of what may be a tensor."""
    return np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)
