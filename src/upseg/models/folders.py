"""Models on disk: a folder with `config.json` and, for methods that are trained, `model.safetensors`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from upseg.errors import ImageError, ModelError
from upseg.files import atomic_path, printable, read_json
from upseg.images.options import ReadingOptions, options_from_json
from upseg.segmentation import Category

CONFIG_NAME = "config.json"
WEIGHTS_NAME = "model.safetensors"
MODEL_OF_RUN = "model"
"""The model folder in the folder of a training: a run is a model too."""
NETWORK_NAME = "network.onnx"
"""The network, in a model folder that has it for other engines too."""
PACKAGED_MODELS = Path(__file__).parents[1] / "pretrained"
"""Each folder in it is a model that comes with upseg, found by the folder's name."""

_MOST_BYTES = 4 << 20
_MOST_CLASSES = 65_536
_KEYS = ("method", "description", "settings", "classes", "reading", "training")
_OBJECTS = ("settings", "reading", "training")


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """What `config.json` says.

    Attributes:
        method: The name of the method.
        settings: What differs from the method's own settings, as JSON can hold it.
        categories: The classes the model knows; `classes` in the file.
        training: How the model came to be, as JSON can hold it; `data` says in a few words what it was trained on.
        description: One line for people.
        reading: How the images were read that it was trained on, and are read where nobody says otherwise.
    """

    method: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    categories: tuple[Category, ...] = ()
    training: Mapping[str, Any] = field(default_factory=dict)
    description: str = ""
    reading: ReadingOptions = ReadingOptions()  # noqa: RUF009 - frozen

    @property
    def only_splits(self) -> bool:
        """Whether the model cuts class masks that it is given, and segments nothing without them."""
        return self.method == "baiseg" and self.settings.get("semantic_width", 0) is None

    def as_json(self) -> dict[str, Any]:
        """What the file holds; keys without content are left out."""
        values = {
            "method": self.method,
            "description": self.description,
            "settings": dict(self.settings),
            "classes": [asdict(category) for category in self.categories],
            "reading": self.reading.of_model(),
            "training": dict(self.training),
        }
        return {key: value for key, value in values.items() if value}


def read_config(folder: Path) -> ModelConfig:
    """Read the configuration of a model folder; that there is such a method, with such settings, is not checked here.

    Raises:
        ModelError: If there is none, or it is not as it should be; the message does not name the file.
    """
    try:
        config = read_json(folder / CONFIG_NAME, most_bytes=_MOST_BYTES)
    except FileNotFoundError as error:
        raise ModelError("there is no such file; a model is a folder that has one") from error
    except (OSError, ValueError) as error:
        raise ModelError(f"this is not a readable JSON file ({error})") from error
    if not isinstance(config, dict) or not all(isinstance(config.get(k, {}), dict) for k in _OBJECTS):
        raise ModelError(f"a model's configuration, and {', '.join(_OBJECTS)} in it, must be JSON objects")
    unknown = sorted(set(config) - set(_KEYS))
    if unknown:
        raise ModelError(f"unknown keys {', '.join(unknown)}; a configuration has {', '.join(_KEYS)}")
    method, description = config.get("method"), config.get("description", "")
    if not isinstance(method, str) or not isinstance(description, str):
        raise ModelError(f"method and description must be texts, got {method!r:.100} and {description!r:.100}")
    categories = read_categories(config.get("classes", []))
    reading = read_options(config.get("reading", {}))
    return ModelConfig(method, config.get("settings", {}), categories, config.get("training", {}), description, reading)


def read_options(values: Mapping[str, Any]) -> ReadingOptions:
    """How images are read, as `config.json` and checkpoints have it.

    Raises:
        ModelError: If it is not as `ReadingOptions.of_model` makes it.
    """
    try:
        return options_from_json(values)
    except ImageError as error:
        raise ModelError(f"reading: {error}") from error


def read_categories(classes: Any) -> tuple[Category, ...]:
    """Classes as `config.json` and checkpoints list them.

    Raises:
        ModelError: If they are not a list of objects with `id`, `name` and perhaps `is_thing`, each id once.
    """
    expected = 'classes must be a list of {"id": number, "name": text, "is_thing": true or false}'
    if not isinstance(classes, list | tuple) or len(classes) > _MOST_CLASSES:
        raise ModelError(f"{expected}, at most {_MOST_CLASSES}")
    try:
        categories = tuple(Category(**entry) for entry in classes)
    except TypeError as error:
        raise ModelError(f"{expected} ({error})") from error
    types = {(type(c.id), type(c.name), type(c.is_thing)) for c in categories}
    if not types <= {(int, str, bool)} or len({c.id for c in categories}) < len(categories):
        raise ModelError(f"{expected}, each id once")
    return categories


@contextmanager
def written_folder(folder: Path, config: ModelConfig) -> Iterator[Path]:
    """Write a model folder: the block writes the weights to the path it is given, then both files appear.

    Of a folder that is there already, only these two files are replaced. If the block fails, it is as it was.

    Args:
        folder: Made if need be.
        config: What `config.json` shall say.

    Yields:
        The path to write the weights to.

    Raises:
        ModelError: If `folder` is something else than a model folder, or cannot be written, or `config` holds what
            JSON cannot.
    """
    try:
        text = json.dumps(config.as_json(), indent=2, ensure_ascii=False, allow_nan=False).encode() + b"\n"
    except (TypeError, ValueError) as error:
        raise ModelError(f"the settings and training of a model must be what JSON can hold ({error})") from error
    _check_replaceable(folder)
    is_new = not folder.exists()
    try:
        with atomic_path(folder / CONFIG_NAME) as config_path, atomic_path(folder / WEIGHTS_NAME) as weights_path:
            yield weights_path
            config_path.write_bytes(text)
            # no moment in which an old configuration stands beside new weights
            (folder / CONFIG_NAME).unlink(missing_ok=True)
            (folder / NETWORK_NAME).unlink(missing_ok=True)  # of the old weights
    except OSError as error:
        raise ModelError(f"{printable(folder)}: the model cannot be written ({error.strerror or error})") from error
    finally:
        if is_new and folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def model_folder(folder: Path) -> Path:
    """The model folder that a folder is, or has in it as that of a training."""
    is_run = not (folder / CONFIG_NAME).exists() and (folder / MODEL_OF_RUN / CONFIG_NAME).is_file()
    return folder / MODEL_OF_RUN if is_run else folder


def packaged_models() -> dict[str, Path]:
    """The folders of the models that come with upseg, by name."""
    if not PACKAGED_MODELS.is_dir():
        return {}
    return {path.parent.name: path.parent for path in sorted(PACKAGED_MODELS.glob(f"*/{CONFIG_NAME}"))}


def _check_replaceable(folder: Path) -> None:
    """Refuse to write into what is there and is no model folder."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise ModelError(f"{printable(folder)} is a file; give the folder to write the model to")
    try:
        read_config(folder)
    except ModelError as error:
        names = {path.name for path in folder.iterdir() if not path.name.endswith(".partial")}
        if names - {WEIGHTS_NAME, NETWORK_NAME}:
            raise ModelError(
                f"{printable(folder)} is not empty and not a model folder ({CONFIG_NAME}: {error}); "
                "give a new folder, or remove this one"
            ) from error
