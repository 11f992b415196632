"""What splits class masks: models that have learned it, and two baselines, by the masks alone, that they must beat."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Int32, Integer
from scipy import ndimage
from skimage.segmentation import watershed

from upseg.errors import ModelError
from upseg.files import printable
from upseg.functional.label_maps import canonical_order, connected_components, segment_areas, segment_boxes
from upseg.functional.peaks import prominent_peaks
from upseg.images.reading import ImageLike
from upseg.models.registry import METHODS, Method, Model, find_model
from upseg.segmentation import Segmentation
from upseg.settings import build_settings


def distance_objects(
    classes: Integer[np.ndarray, "h w"], *, prominence: float = 1.0, connectivity: int = 1
) -> Int32[np.ndarray, "h w"]:
    """One object for each peak of the distance to the class's border, cut by a watershed of that distance.

    Touching discs come apart at their neck, and so do long or ragged objects that are one. Every component of a class
    is at least one object.

    Args:
        classes: (H, W) numbers of classes, 0 no object.
        prominence: As `DistanceSettings` has it.
        connectivity: As `DistanceSettings` has it.

    Returns:
        (H, W) objects 1..K in the order of their first pixels, 0 for none.

    Raises:
        ValueError: If `prominence` is not above 0.
    """
    if not prominence > 0:
        raise ValueError(f"prominence must be above 0, got {prominence}")
    components = connected_components(classes, connectivity)
    objects = np.zeros(classes.shape, np.int32)
    count = 0
    for number, (top, left, bottom, right) in enumerate(segment_boxes(components), start=1):
        around = slice(max(0, top - 1), bottom + 1), slice(max(0, left - 1), right + 1)
        inside = components[around] == number  # one at a time, so that time and memory are those of its box
        parts = _divided(inside, prominence, connectivity)
        objects[around][inside] = parts[inside] + count
        count += int(parts.max())
    return canonical_order(objects)[0]


def remove_small_objects(objects: Int32[np.ndarray, "h w"], minimum_area: int) -> Int32[np.ndarray, "h w"]:
    """Leave out the objects with fewer pixels, and number the others by their first pixels; 0 is none."""
    return canonical_order(np.where(segment_areas(objects)[objects] >= minimum_area, objects, 0))[0]


def _divided(inside: Bool[np.ndarray, "h w"], prominence: float, connectivity: int) -> Int32[np.ndarray, "h w"]:
    """The objects 1..K of one component; what lies beyond the map is no border of it."""
    if inside.all():
        return inside.astype(np.int32)
    distance = ndimage.distance_transform_edt(inside)
    if distance.max() <= 1 + prominence:  # at least 1 between two peaks, so the lower one is above this
        return inside.astype(np.int32)
    peaks = prominent_peaks(distance, inside, prominence, connectivity)
    flooded: Int32[np.ndarray, "h w"] = watershed(  # type: ignore[no-untyped-call]
        -distance, peaks, connectivity=connectivity, mask=inside
    ).astype(np.int32)
    return flooded


@dataclass(frozen=True, slots=True)
class ComponentsSettings:
    """What decides which pixels are connected.

    Attributes:
        connectivity: 1 for the four neighbours that share an edge, 2 for all eight.
        minimum_area: Smaller instances are left out, in pixels.
    """

    connectivity: int = 1
    minimum_area: int = 0

    def __post_init__(self) -> None:
        if self.connectivity not in (1, 2):
            raise ValueError(f"connectivity must be 1 or 2, got {self.connectivity}")
        if self.minimum_area < 0:
            raise ValueError(f"minimum_area must be at least 0, got {self.minimum_area}")


@dataclass(frozen=True, slots=True)
class DistanceSettings(ComponentsSettings):
    """What decides where a mask is cut, beside what pixels are connected and how small instances may be.

    Attributes:
        prominence: Two peaks of the distance to the mask's border are two instances if the way between them falls by
            more than this below the lower one, in pixels, above 0.
    """

    # the best of both photos and nuclei: `benchmarks/split_distance.py` measures them
    minimum_area: int = 20
    prominence: float = 8.0

    def __post_init__(self) -> None:
        ComponentsSettings.__post_init__(self)
        if not self.prominence > 0:
            raise ValueError(f"prominence must be above 0, got {self.prominence}")


class ComponentsSplitter:
    """Takes each connected component of a class for an instance; the device is of no consequence."""

    method = "components"
    _objects: Callable[..., Int32[np.ndarray, "h w"]] = staticmethod(connected_components)

    def __init__(self, settings: ComponentsSettings, device: str = "cpu") -> None:
        self.settings, self.device = settings, device

    def segment(self, image: ImageLike | None, semantic_map: Segmentation | None = None) -> Segmentation:
        """Like `split`, as models with a way to split have it.

        Raises:
            ModelError: If no `semantic_map` is given.
        """
        if semantic_map is None:
            raise ModelError(
                f"{self.method} cannot tell which pixels are objects; give class masks with `upseg split`, or "
                "segment(image, semantic_map)"
            )
        return self.split(image, semantic_map)

    def split(self, image: ImageLike | None, semantic_map: Segmentation) -> Segmentation:  # noqa: ARG002
        """Cut the masks of classes; as `Splitter` says. The image is not looked at."""
        classes = semantic_map.labels
        is_thing = np.array([False, *(s.category is None or s.category.is_thing for s in semantic_map)])[classes]
        how = asdict(self.settings)
        least = how.pop("minimum_area")
        objects = remove_small_objects(self._objects(np.where(is_thing, classes, 0), **how), least)
        is_stuff = (classes > 0) & ~is_thing
        labels = np.where(is_stuff, classes + int(objects.max(initial=0)), objects)
        values, first = np.unique(labels, return_index=True)  # all pixels of a label are of one class
        owners = zip(values.tolist(), classes.ravel()[first].tolist(), strict=True)
        known = {value: category for value, c in owners if value and (category := semantic_map[c].category)}
        facts = {"method": self.method, "settings": asdict(self.settings)}
        return Segmentation.from_labels(labels, categories=known, provenance=facts)


class DistanceSplitter(ComponentsSplitter):
    """Cuts each class by a watershed of the distance to its border."""

    method = "distance"
    _objects = staticmethod(distance_objects)


SETTINGS: Mapping[str, type[ComponentsSettings]] = {"components": ComponentsSettings, "distance": DistanceSettings}
"""The settings of the baselines by name."""
BASELINES: Mapping[str, Method] = {
    name: Method(what, f"{__name__}:{SETTINGS[name].__name__}", f"{__name__}:{splitter.__name__}", splits_masks=True)
    for name, splitter, what in (
        ("components", ComponentsSplitter, "connected components of each class"),
        ("distance", DistanceSplitter, "watershed of the distance to each class's border"),
    )
}
"""The baselines by name; neither needs weights nor looks at an image."""


def find_splitter(name_path_or_hub_id: str | Path, **settings: Any) -> Model:
    """Find a model that splits class masks, and check its settings without loading it.

    Args:
        name_path_or_hub_id: A name in `BASELINES`, or a model as `upseg.load_model` takes it (`./name` for a folder
            that is called like a baseline).
        settings: What shall differ from its own settings.

    Raises:
        ModelError: If there is no such model or setting, or the model cannot split masks.
    """
    name = str(name_path_or_hub_id)
    if isinstance(name_path_or_hub_id, str) and name in BASELINES:
        preset = settings.pop("preset", None)
        return Model(name, name, BASELINES[name], build_settings(SETTINGS[name], settings, preset=preset))
    try:
        model = find_model(name_path_or_hub_id, **settings)
    except ModelError as error:
        if isinstance(name_path_or_hub_id, str) and (name in METHODS or Path(name).exists() or "/" in name):
            raise
        raise ModelError(f"{error}; class masks are also split by {' and '.join(BASELINES)}") from error
    if not model.implementation.splits_masks:
        raise ModelError(
            f"{printable(name)} is a model of the method {model.method}, which cannot split class masks; give a model "
            f"of the method baiseg, or {' or '.join(BASELINES)}"
        )
    return model
