"""Finding and loading models: the methods that come with upseg, model folders, and models on the Hugging Face hub."""

from __future__ import annotations

import difflib
import hashlib
import importlib
import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from upseg.errors import ModelError
from upseg.inference.images import ImageLike, printable
from upseg.inference.settings import build_settings
from upseg.segmentation import Category, Segmentation, Segmenter

CONFIG_NAME = "config.json"
WEIGHTS_NAME = "model.safetensors"
_CONFIG_KEYS = ("method", "settings", "classes", "training")
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(@[\w./-]+)?")


@dataclass(frozen=True, slots=True)
class Method:
    """One segmentation method, described without importing it.

    Attributes:
        description: One line for people.
        settings: `module:class` of its settings, a frozen dataclass that checks its own values.
        segmenter: `module:class` of its segmenter, made with `(settings, device)`, and for learned methods also
            with `weights` (the path of a safetensors file) and `categories` (a tuple of `Category`).
        learned: Whether it needs weights.
    """

    description: str
    settings: str
    segmenter: str
    learned: bool = False


METHODS: dict[str, Method] = {
    "dynaseg": Method(
        "fits a small network to the one image: needs no weights and no training",
        "upseg.methods.dynaseg:DynaSegSettings",
        "upseg.methods.dynaseg:DynaSegSegmenter",
    ),
}
"""The methods by name. A name without a learned method's weights is no model; `load_model` says so."""


@dataclass(frozen=True, slots=True)
class Model:
    """A model that was found and checked, but not loaded: small, and it can be sent to other processes.

    Attributes:
        name: What it was asked for by.
        method: The name of its method.
        description: How the method is made.
        settings: An instance of the method's settings.
        weights: Its weights; None for methods that are not learned.
        categories: The classes it knows; empty for class-agnostic models.
    """

    name: str
    method: str
    description: Method
    settings: Any
    weights: Path | None = None
    categories: tuple[Category, ...] = ()

    def load(self, device: str = "auto") -> Segmenter:
        """Make the segmenter.

        Args:
            device: `cpu`, `cuda`, another name that torch knows, or `auto` for the GPU where there is one.

        Raises:
            ModelError: If there is no such device, or the weights cannot be read.
        """
        make = _resolve(self.description.segmenter)
        place = resolve_device(device)
        if not self.description.learned:
            return cast("Segmenter", make(self.settings, place))
        return cast("Segmenter", make(self.settings, place, weights=self.weights, categories=self.categories))

    def fingerprint(self) -> str:
        """A digest of method, settings, classes and weights: the same for two models that give the same results."""
        facts = {
            "method": self.method,
            "settings": asdict(self.settings),
            "categories": [asdict(category) for category in self.categories],
            "weights": _digest(self.weights) if self.weights else None,
        }
        return hashlib.sha256(json.dumps(facts, sort_keys=True, default=repr).encode()).hexdigest()


def load_model(name_path_or_hub_id: str | Path = "dynaseg", device: str = "auto", **settings: Any) -> Segmenter:
    """Load a model.

    Args:
        name_path_or_hub_id: A method that needs no weights (`dynaseg`); a model folder with `config.json` and
            `model.safetensors`; or a model on the Hugging Face hub, `owner/name` or `owner/name@revision`, which is
            downloaded once.
        device: `cpu`, `cuda`, or `auto` for the GPU where there is one.
        settings: What shall differ from the model's own settings; `preset` chooses a named set of them.

    Returns:
        Its `segment(image)` returns a `Segmentation`.

    Raises:
        ModelError: If there is no such model, setting or device, or the model is broken.
    """
    return find_model(name_path_or_hub_id, **settings).load(device)


def segment(image: ImageLike, model: str | Path = "dynaseg", *, device: str = "auto", **settings: Any) -> Segmentation:
    """Segment one image; for many, load the model once with `load_model`.

    Args:
        image: A path, an array, a Pillow image or a tensor, as `upseg.inference.images.read_image` takes it.
        model: As `load_model` takes it.
        device: As `load_model` takes it.
        settings: As `load_model` takes them.

    Raises:
        ImageError: If the image cannot be read.
        ModelError: If there is no such model, setting or device, or the model is broken.
    """
    return load_model(model, device, **settings).segment(image)


def find_model(name_path_or_hub_id: str | Path, **settings: Any) -> Model:
    """Find a model and check its settings without loading it; arguments and errors as for `load_model`."""
    name = str(name_path_or_hub_id)
    if isinstance(name_path_or_hub_id, str) and name in METHODS:
        return _from_method(name, settings)
    folder = Path(name_path_or_hub_id)
    if folder.is_dir():
        return _from_folder(name, folder, settings)
    if isinstance(name_path_or_hub_id, str) and _HUB_ID.fullmatch(name) and not folder.exists():
        return _from_folder(name, _download(name), settings)
    if folder.exists():
        raise ModelError(f"{printable(name)} is a file; a model is a folder with {CONFIG_NAME} and {WEIGHTS_NAME}")
    close = difflib.get_close_matches(name, METHODS, 1)
    hint = f" (did you mean {close[0]}?)" if close else ""
    raise ModelError(
        f"there is no model {name!r}{hint}; give one of {', '.join(METHODS)}, a model folder, "
        "or owner/name of a model on the Hugging Face hub"
    )


def settings_class(model: str | Path) -> type:
    """The settings dataclass of a model's method; argument and errors as for `load_model`."""
    if isinstance(model, str) and model in METHODS:
        return cast("type", _resolve(METHODS[model].settings))
    return type(find_model(model).settings)


def resolve_device(device: str) -> str:
    """Turn `auto` into `cuda` or `cpu`, and refuse what is not there.

    Raises:
        ModelError: If torch does not know the device or cannot use it.
    """
    if device == "cpu":
        return device
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # torch without CUDA asserts
        reason = str(error).partition("\n")[0]
        raise ModelError(f"the device {device!r} cannot be used ({reason}); try 'auto' or 'cpu'") from error
    return device


def _from_method(name: str, settings: dict[str, Any]) -> Model:
    method = METHODS[name]
    if method.learned:
        raise ModelError(f"{name} is a method that needs weights; give a model folder, or owner/name of a hub model")
    preset = settings.pop("preset", None)
    return Model(name, name, method, build_settings(_resolve(method.settings), settings, preset=preset))


def _from_folder(name: str, folder: Path, settings: dict[str, Any]) -> Model:
    config_path, weights = folder / CONFIG_NAME, folder / WEIGHTS_NAME
    try:
        config = _read_config(config_path)
        method = METHODS[config["method"]]
        preset = settings.pop("preset", None)
        values = {**config.get("settings", {}), **settings}
        built = build_settings(_resolve(method.settings), values, preset=preset)
        categories = _read_categories(config.get("classes", []))
    except ModelError as error:
        raise ModelError(f"{printable(config_path)}: {error}") from error
    if method.learned and not weights.is_file():
        raise ModelError(f"{printable(folder)} has no {WEIGHTS_NAME}; other kinds of weights are not read")
    if not method.learned and (weights.exists() or categories):
        raise ModelError(f"{printable(folder)} has weights or classes, but the method {config['method']} takes none")
    return Model(name, config["method"], method, built, weights if method.learned else None, categories)


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise ModelError("there is no such file; a model is a folder that has one") from error
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"this is not a readable JSON file ({error})") from error
    if not isinstance(config, dict) or not isinstance(config.get("settings", {}), dict):
        raise ModelError("a model's configuration, and the settings in it, must be JSON objects")
    unknown = sorted(set(config) - set(_CONFIG_KEYS))
    if unknown:
        raise ModelError(f"unknown keys {', '.join(unknown)}; a configuration has {', '.join(_CONFIG_KEYS)}")
    if not isinstance(config.get("method"), str) or config["method"] not in METHODS:
        raise ModelError(f"there is no method {config.get('method')!r}; the methods are {', '.join(METHODS)}")
    return config


def _read_categories(classes: Any) -> tuple[Category, ...]:
    expected = 'classes must be a list of {"id": number, "name": text, "is_thing": true or false}'
    try:
        categories = tuple(Category(**entry) for entry in classes)
    except TypeError as error:
        raise ModelError(f"{expected} ({error})") from error
    types = {(type(c.id), type(c.name), type(c.is_thing)) for c in categories}
    if not types <= {(int, str, bool)} or len({c.id for c in categories}) < len(categories):
        raise ModelError(f"{expected}, each id once")
    return categories


def _download(hub_id: str) -> Path:
    from huggingface_hub import snapshot_download

    repository, _, revision = hub_id.partition("@")
    try:
        folder = snapshot_download(repository, revision=revision or None, allow_patterns=[CONFIG_NAME, WEIGHTS_NAME])
    except Exception as error:  # the hub's client raises errors of several libraries
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise ModelError(
            f"the model {hub_id!r} cannot be downloaded from the Hugging Face hub ({reason}); check the name and the "
            "connection, or download its folder elsewhere and give the path"
        ) from error
    return Path(folder)


def _resolve(reference: str) -> Any:
    module, _, name = reference.partition(":")
    return getattr(importlib.import_module(module), name)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
