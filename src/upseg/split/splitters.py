"""What splits class masks into instances: models that have learned it, and two baselines that look at no image."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from upseg.errors import ModelError
from upseg.files import printable
from upseg.images.reading import ImageLike
from upseg.models.registry import METHODS, Model, find_model, settings_class
from upseg.segmentation import Segmentation
from upseg.settings import build_settings
from upseg.split.baselines import BASELINES, SETTINGS


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
