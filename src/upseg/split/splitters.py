"""What splits class masks into instances: models that have learned it, and two baselines that look at no image."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int32

from upseg.errors import ModelError
from upseg.files import printable
from upseg.functional.mask_objects import component_objects, distance_objects
from upseg.images.reading import ImageLike
from upseg.models.registry import METHODS, Method, Model, find_model, settings_class
from upseg.segmentation import Category, Segmentation
from upseg.settings import build_settings


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

    prominence: float = 1.0

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
        table = np.array([0, *(s.id if _is_thing(s.category) else 0 for s in semantic_map)], np.int32)
        things: Int32[np.ndarray, "h w"] = table[semantic_map.labels]
        objects = self._objects(things, **asdict(self.settings))
        others = (semantic_map.labels > 0) & (things == 0)
        labels = np.where(others, semantic_map.labels + int(objects.max(initial=0)), objects)
        return Segmentation.from_labels(
            labels,
            categories=_categories(labels, semantic_map),
            provenance={"method": self.method, "settings": asdict(self.settings)},
        )


class DistanceSplitter(ComponentsSplitter):
    """Cuts each class by a watershed of the distance to its border.

    Args:
        settings: Of the baseline.
        device: Of no consequence.
    """

    method = "distance"
    _objects = staticmethod(distance_objects)

    def __init__(self, settings: DistanceSettings, device: str = "cpu") -> None:
        super().__init__(settings, device)


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
_SETTINGS: Mapping[str, type] = {"components": ComponentsSettings, "distance": DistanceSettings}


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
        return Model(name, name, BASELINES[name], build_settings(_SETTINGS[name], settings, preset=preset))
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
    return _SETTINGS.get(str(model)) or settings_class(model)


def _is_thing(category: Category | None) -> bool:
    return category is None or category.is_thing


def _categories(labels: Int32[np.ndarray, "h w"], semantic_map: Segmentation) -> dict[int, Category]:
    """The category of each label, all of whose pixels are of one class."""
    values, first = np.unique(labels, return_index=True)
    classes = semantic_map.labels.ravel()[first]
    found = {
        int(value): semantic_map[int(number)].category for value, number in zip(values, classes, strict=True) if value
    }
    return {value: category for value, category in found.items() if category is not None}
