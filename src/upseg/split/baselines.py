"""What splits class masks: models that have learned it, and two baselines, by the masks alone, that they must beat."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Int32, Integer
from scipy import ndimage
from skimage.morphology import local_maxima, reconstruction
from skimage.segmentation import watershed

from upseg.errors import ModelError
from upseg.files import printable
from upseg.functional.label_maps import canonical_order, connected_components, segment_areas, segment_boxes
from upseg.images.reading import ImageLike
from upseg.models.registry import METHODS, Method, Model, find_model, settings_class
from upseg.segmentation import Segmentation
from upseg.settings import build_settings


def component_objects(
    classes: Integer[np.ndarray, "h w"], *, connectivity: int = 1, minimum_area: int = 0
) -> Int32[np.ndarray, "h w"]:
    """One object for each connected component of each class: touching objects of a class stay one.

    Args:
        classes: (H, W) numbers of classes, 0 no object.
        connectivity: As `ComponentsSettings` has it.
        minimum_area: As `ComponentsSettings` has it.

    Returns:
        (H, W) objects 1..K in the order of their first pixels, 0 for none.
    """
    return remove_small_objects(connected_components(classes, connectivity), minimum_area)


def distance_objects(
    classes: Integer[np.ndarray, "h w"], *, prominence: float = 1.0, connectivity: int = 1, minimum_area: int = 0
) -> Int32[np.ndarray, "h w"]:
    """One object for each peak of the distance to the class's border, cut by a watershed of that distance.

    Touching discs come apart at their neck, and so do long or ragged objects that are one. Every component of a class
    is at least one object.

    Args:
        classes: (H, W) numbers of classes, 0 no object.
        prominence: As `DistanceSettings` has it.
        connectivity: As `DistanceSettings` has it.
        minimum_area: As `DistanceSettings` has it.

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
    return remove_small_objects(canonical_order(objects)[0], minimum_area)


def remove_small_objects(objects: Int32[np.ndarray, "h w"], minimum_area: int) -> Int32[np.ndarray, "h w"]:
    """Leave out the objects with fewer pixels, and number the others anew in the same order.

    Args:
        objects: (H, W) objects 1..K, 0 for none.
        minimum_area: In pixels.
    """
    kept = segment_areas(objects) >= minimum_area
    kept[0] = False
    table: Int32[np.ndarray, " k1"] = np.cumsum(kept, dtype=np.int32)
    table[~kept] = 0
    numbered: Int32[np.ndarray, "h w"] = table[objects]
    return numbered


def _divided(inside: Bool[np.ndarray, "h w"], prominence: float, connectivity: int) -> Int32[np.ndarray, "h w"]:
    """The objects 1..K of one component; what lies beyond the map is no border of it."""
    if inside.all():
        return inside.astype(np.int32)
    distance = ndimage.distance_transform_edt(inside)
    if distance.max() <= 1 + prominence:  # at least 1 between two peaks, so the lower one is above this
        return inside.astype(np.int32)
    neighbours = ndimage.generate_binary_structure(2, connectivity)
    lowered = reconstruction(distance - prominence, distance, footprint=neighbours)  # type: ignore[no-untyped-call]
    maxima = local_maxima(lowered, footprint=neighbours)  # type: ignore[no-untyped-call]
    peaks = ndimage.label(maxima, neighbours)[0]
    flooded: Int32[np.ndarray, "h w"] = watershed(  # type: ignore[no-untyped-call]
        -distance, peaks, connectivity=neighbours, mask=inside
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
    """What decides where a mask is cut.

    Attributes:
        connectivity: 1 for the four neighbours that share an edge, 2 for all eight.
        minimum_area: Smaller instances are left out, in pixels.
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
    """Takes each connected component of a class for an instance.

    Args:
        settings: Of the baseline.
        device: Of no consequence.
    """

    method = "components"
    _objects: Callable[..., Int32[np.ndarray, "h w"]] = staticmethod(component_objects)

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
        objects = self._objects(np.where(is_thing, classes, 0), **asdict(self.settings))
        is_stuff = (classes > 0) & ~is_thing
        labels = np.where(is_stuff, classes + int(objects.max(initial=0)), objects)
        values, first = np.unique(labels, return_index=True)  # all pixels of a label are of one class
        owners = classes.ravel()[first]
        found = {v: semantic_map[c].category for v, c in zip(values.tolist(), owners.tolist(), strict=True) if v}
        return Segmentation.from_labels(
            labels,
            categories={value: category for value, category in found.items() if category is not None},
            provenance={"method": self.method, "settings": asdict(self.settings)},
        )


class DistanceSplitter(ComponentsSplitter):
    """Cuts each class by a watershed of the distance to its border."""

    method = "distance"
    _objects = staticmethod(distance_objects)


BASELINES: Mapping[str, Method] = {
    "components": Method(
        "connected components of each class",
        f"{__name__}:ComponentsSettings",
        f"{__name__}:ComponentsSplitter",
        splits_masks=True,
    ),
    "distance": Method(
        "watershed of the distance to each class's border",
        f"{__name__}:DistanceSettings",
        f"{__name__}:DistanceSplitter",
        splits_masks=True,
    ),
}
"""The baselines by name; neither needs weights nor looks at an image."""
SETTINGS: Mapping[str, type[ComponentsSettings]] = {"components": ComponentsSettings, "distance": DistanceSettings}
"""Their settings."""


@runtime_checkable
class Splitter(Protocol):
    """What cuts the masks of classes into instances."""

    def split(self, image: ImageLike | None, semantic_map: Segmentation) -> Segmentation:
        """Cut each class of things into its instances, and leave each other class in one segment.

        One that takes long has a third parameter `progress`, called with (steps done, those there are).

        Args:
            image: What the masks belong to, of their size; the baselines take None too.
            semantic_map: One segment for each class, with its category.

        Returns:
            Segments with categories.
        """
        ...


PHOTOS_MODEL = "things"
"""The model that comes with upseg for class masks that have a photo."""


def default_splitter(*, has_photos: bool) -> str:
    """What splits class masks where nobody names a model.

    Args:
        has_photos: Whether the masks have photos to look at.

    Raises:
        ModelError: If they have none: components leave together what touches, distances cut what is long, and only who
            knows the objects can choose.
    """
    if not has_photos:
        raise ModelError(
            "class masks alone can be split in two ways: say --model components or --model distance, or, for the "
            f"model {PHOTOS_MODEL}, give the folder of their photos with --images"
        )
    return PHOTOS_MODEL


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


def splitter_settings(model: str | Path) -> type:
    """The settings dataclass of what `find_splitter` finds; argument and errors as there."""
    return SETTINGS.get(str(model)) or settings_class(model)
