"""Class maps that do not come from the model: a ground truth, or what another model said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int64, Integer, Shaped

from upseg.errors import DataError
from upseg.functional.label_maps import canonical_order
from upseg.segmentation import Category, Segmentation

SemanticMap = Integer[np.ndarray, "h w"] | Segmentation
SHOWN = 5  # ids in an error


@dataclass(frozen=True, eq=False)
class GivenClasses:
    """A semantic map that does not come from the model.

    Attributes:
        positions: (H, W) of the pixels' classes, as the targets have them.
        categories: The classes in their order; one None for things without a name.
        provenance: What that of the result says of it.
    """

    positions: Int64[np.ndarray, "h w"]
    categories: tuple[Category | None, ...]
    provenance: dict[str, Any]


def given_classes(
    semantic_map: SemanticMap, shape: tuple[int, int], categories: Sequence[Category], *, background: bool
) -> GivenClasses:
    """Read a semantic map as `BaisegSegmenter.segment` takes it.

    Args:
        semantic_map: Ids of the classes, or a `Segmentation`.
        shape: (H, W) of the image.
        categories: The model's.
        background: Whether positions count from 1, and 0 stands for no class; else they count from 0, and -1 does.

    Raises:
        DataError: If it has another size, or an id that is not one of `categories` while there are any.
    """
    labels = semantic_map.labels if isinstance(semantic_map, Segmentation) else semantic_map
    if labels.shape != shape:
        raise DataError(f"the semantic map must have the image's (H, W) {shape}, got one of {labels.shape}")
    if isinstance(semantic_map, Segmentation):
        return _of_segmentation(semantic_map, background=background)
    return _of_ids(semantic_map, categories, background=background)


def nearest_labels(labels: Shaped[np.ndarray, "h w"], size: tuple[int, int]) -> Shaped[np.ndarray, "h2 w2"]:
    """A label map at another size: each pixel has the label at its centre. Enlarged and brought back it is the same.

    Args:
        labels: (H, W); the map itself is returned where it has this size already.
        size: (H2, W2) in pixels.
    """
    if labels.shape == size:
        return labels
    rows, columns = (((2 * np.arange(new) + 1) * old // (2 * new)) for old, new in zip(labels.shape, size, strict=True))
    return np.asarray(labels[rows[:, None], columns])


def _of_segmentation(semantic_map: Segmentation, *, background: bool) -> GivenClasses:
    classes = [segment.category for segment in semantic_map]
    found: tuple[Category | None, ...] = tuple(dict.fromkeys(classes))  # each once, by its first segment
    table = np.array([-1, *map(found.index, classes)], np.int64)
    return GivenClasses(table[semantic_map.labels] + background, found, dict(semantic_map.provenance))


def _of_ids(labels: Integer[np.ndarray, "h w"], categories: Sequence[Category], *, background: bool) -> GivenClasses:
    places, others = canonical_order(labels)  # numbers from 1 on: 0 stays 0
    values, ids = [0, *others.tolist()], [category.id for category in categories]
    listed = [value for value in values if value > 0 or value in ids]
    unknown = [value for value in listed if value not in ids] if categories else []
    if unknown:
        raise DataError(
            f"the semantic map has the ids {_shown(unknown)}, but the classes of the model have {_shown(ids)}; give "
            "what has no class as 0, or other classes as a Segmentation"
        )
    positions = {value: position for position, value in enumerate(ids or listed)}
    table = np.array([positions.get(value, -1) for value in values], np.int64)
    named: tuple[Category | None, ...] = tuple(categories) or (None,) * len(listed)
    return GivenClasses(table[places] + background, named, {})


def _shown(ids: Sequence[int]) -> str:
    return ", ".join(map(str, sorted(ids)[:SHOWN])) + (", ..." if len(ids) > SHOWN else "")
