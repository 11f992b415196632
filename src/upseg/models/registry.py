"""Finding and loading models: the methods that come with upseg, model folders, and models on the Hugging Face hub.

Methods are named here as text and imported when one is asked for: their segmenters inherit from `upseg.models.learned`,
which finds models with this module.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib
import json
import logging
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, cast

from upseg.errors import ModelError
from upseg.files import printable
from upseg.images.options import ReadingOptions
from upseg.images.reading import ImageLike
from upseg.models.folders import (
    CONFIG_NAME,
    NETWORK_NAME,
    WEIGHTS_NAME,
    ModelConfig,
    model_folder,
    packaged_models,
    read_config,
)
from upseg.models.methods import METHODS, Method
from upseg.segmentation import Category, Segmentation, Segmenter
from upseg.settings import build_settings, current_names

__all__ = [  # `METHODS` and `Method` are public here
    "METHODS",
    "Method",
    "Model",
    "build_model",
    "find_model",
    "load_model",
    "resolve_device",
    "segment",
    "settings_class",
]

_LOGGER = logging.getLogger(__name__)
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(@[\w./-]+)?")


@dataclass(frozen=True, slots=True)
class Model:
    """A model that was found and checked, but not loaded: small, and it can be sent to other processes.

    Attributes:
        name: What it was asked for by.
        method: The name of its method.
        implementation: How the method is made.
        settings: An instance of the method's settings.
        weights: Its weights; None for methods that are not learned.
        categories: The classes it knows; empty for class-agnostic models.
        training: How it came to be, as its `config.json` says.
        description: One line for people.
        reading: How images are read for it.
        engine: What computes its network on the CPU, as `load_model` takes it.
    """

    name: str
    method: str
    implementation: Method
    settings: Any
    weights: Path | None = None
    categories: tuple[Category, ...] = ()
    training: Mapping[str, Any] = field(default_factory=dict, hash=False)
    description: str = ""
    reading: ReadingOptions = ReadingOptions()  # noqa: RUF009 - frozen
    engine: str = "auto"

    @property
    def predicts_depth(self) -> bool:
        """Whether it was trained for depth."""
        return self.implementation.predicts_depth and bool(self.settings.predicts_depth)

    @property
    def has_hierarchy(self) -> bool:
        """Whether its results have several levels."""
        return self.implementation.has_hierarchy and bool(self.settings.has_hierarchy)

    def load(self, device: str = "auto") -> Segmenter:
        """Make the segmenter.

        Args:
            device: `cpu`, `cuda`, another name that torch knows, or `auto` for the GPU where there is one.

        Raises:
            ModelError: If there is no such device, or the weights cannot be read.
        """
        make = _resolve(self.implementation.segmenter)
        place = resolve_device(device)
        _LOGGER.info("loading the model %s on %s", printable(self.name), place)
        if not self.implementation.learned:
            return cast("Segmenter", make(self.settings, place))
        segmenter = make(self.settings, place, weights=self.weights, categories=self.categories)
        if (engine := self.chosen_engine(place)) != "torch":
            segmenter.use_engine(engine, cast("Path", self.weights).parent)
        # so that a model saved again still says how it came to be
        segmenter.training, segmenter.description = self.training, self.description
        segmenter.image_reading = self.reading
        return cast("Segmenter", segmenter)

    def chosen_engine(self, device: str) -> str:
        """What computes its network on a device, as `upseg.models.engines.chosen_engine` says.

        Raises:
            ModelError: As that function raises it.
        """
        if self.weights is None or self.engine == "torch":
            return "torch"
        if self.engine == "auto" and not (self.weights.parent / NETWORK_NAME).is_file():
            return "torch"
        from upseg.models.engines import chosen_engine

        return chosen_engine(self.weights.parent, self.engine, device)

    def fingerprint(self) -> str:
        """A digest of method, settings, classes and weights: the same for two models that give the same results."""
        facts = {
            "method": self.method,
            "settings": asdict(self.settings),
            "categories": [asdict(category) for category in self.categories],
            "weights": _digest(self.weights) if self.weights else None,
            **self.reading.of_model(),
            **({} if (engine := self.chosen_engine("cpu")) == "torch" else {"engine": engine}),
        }
        return hashlib.sha256(json.dumps(facts, sort_keys=True, default=repr).encode()).hexdigest()


def load_model(name_path_or_hub_id: str | Path = "dynaseg", device: str = "auto", **settings: Any) -> Segmenter:
    """Load a model.

    Args:
        name_path_or_hub_id: What is looked for, in this order: a method that needs no weights (`dynaseg`); a model
            that comes with upseg, as `upseg models` lists them; a model folder with `config.json` and
            `model.safetensors`, or the folder of a training, which holds one as `model` (`./name` where the name alone
            means one of the former); a model on the Hugging Face
            hub, `owner/name` or `owner/name@revision`, which is downloaded once.
        device: `cpu`, `cuda`, or `auto` for the GPU where there is one.
        settings: What shall differ from the model's own settings; `preset` chooses a named set of them, and `engine`
            what computes a learned network on the CPU: `torch`, `onnxruntime` or `openvino`, or `auto` for the fastest
            that is installed, if the model folder has the network as ONNX (`upseg export-model ... --format onnx`).

    Returns:
        Its `segment(image)` returns a `Segmentation`.

    Raises:
        ModelError: If there is no such model, setting or device, or the model is broken.

    Example:
        >>> import numpy as np
        >>> model = load_model("dynaseg", "cpu", steps=3)
        >>> model.segment(np.zeros((32, 48, 3), np.uint8))
        Segmentation(1 segments, 32x48)
    """
    return find_model(name_path_or_hub_id, **settings).load(device)


def segment(image: ImageLike, model: str | Path = "dynaseg", *, device: str = "auto", **settings: Any) -> Segmentation:
    """Segment one image; for many, load the model once with `load_model`.

    Args:
        image: A path, an array, a Pillow image or a tensor, as `upseg.images.reading.read_image` takes it.
        model: As `load_model` takes it.
        device: As `load_model` takes it.
        settings: As `load_model` takes them.

    Raises:
        ImageError: If the image cannot be read.
        ModelError: If there is no such model, setting or device, or the model is broken.

    Example:
        >>> import numpy as np
        >>> image = np.zeros((32, 48, 3), np.uint8)
        >>> image[:, 24:] = 255
        >>> segment(image, device="cpu", steps=3)
        Segmentation(2 segments, 32x48)
    """
    return load_model(model, device, **settings).segment(image)


def find_model(name_path_or_hub_id: str | Path, **settings: Any) -> Model:
    """Find a model and check its settings without loading it; arguments and errors as for `load_model`."""
    name = str(name_path_or_hub_id)
    if isinstance(name_path_or_hub_id, str) and name in METHODS:
        return _from_method(name, settings)
    packaged = packaged_models()
    if isinstance(name_path_or_hub_id, str) and name in packaged:
        return _from_folder(name, packaged[name], settings)
    folder = Path(name_path_or_hub_id)
    if folder.is_dir():
        return _from_folder(name, model_folder(folder), settings)
    if isinstance(name_path_or_hub_id, str) and _HUB_ID.fullmatch(name) and not folder.exists():
        return _from_folder(name, _download(name), settings)
    if folder.exists():
        raise ModelError(f"{printable(name)} is a file; a model is a folder with {CONFIG_NAME} and {WEIGHTS_NAME}")
    names = [*(key for key, method in METHODS.items() if not method.learned), *packaged]
    close = difflib.get_close_matches(name, names, 1)
    hint = f" (did you mean {close[0]}?)" if close else ""
    raise ModelError(
        f"there is no model {name!r}{hint}; give one of {', '.join(names)}, a model folder, "
        "or owner/name of a model on the Hugging Face hub"
    )


def build_model(name: str, config: ModelConfig, weights: Path, settings: Mapping[str, Any] | None = None) -> Model:
    """The model that a configuration describes.

    Args:
        name: What it is called.
        config: What its `config.json` says.
        weights: The path of its weights, if the method is learned; not looked at.
        settings: What shall differ from the configuration's settings.

    Raises:
        ModelError: If there is no such method, or a setting is wrong.
    """
    if config.method not in METHODS:
        raise ModelError(f"there is no method {config.method!r}; the methods are {', '.join(METHODS)}")
    method, chosen = METHODS[config.method], dict(settings or {})
    preset, engine = chosen.pop("preset", None), chosen.pop("engine", "auto")
    known = _resolve(method.settings)
    stored = current_names(config.settings, known)
    if preset is not None and (presets := getattr(known, "presets", None)):  # of some settings, over those stored
        if preset not in presets:
            raise ModelError(f"the presets of {config.method} are {', '.join(presets)}, got {preset!r}")
        stored, preset = {**stored, **presets[preset]}, None
    changed = current_names(chosen, known)
    usual = {**{f.name: f.default for f in fields(known)}, **stored}
    for key in getattr(known, "trained_with", ()):
        if key in changed and changed[key] != usual[key]:
            raise ModelError(
                f"the setting {key} is {usual[key]!r} for this model, which was trained with it; {changed[key]!r} "
                "would make its answers wrong: train one with it"
            )
    named = {**stored, **changed}
    built = build_settings(known, named, preset=preset)
    found = weights if method.learned else None
    told = (config.training, config.description, config.reading)
    return Model(name, config.method, method, built, found, config.categories, *told, engine)


def settings_class(model: str | Path) -> type:
    """The settings dataclass of a model's method; argument and errors as for `load_model`."""
    if isinstance(model, str) and model in METHODS:
        return cast("type", _resolve(METHODS[model].settings))
    return type(find_model(model).settings)


def resolve_device(device: str) -> str:
    """Turn `auto` into `cuda`, `mps` or `cpu`, and refuse what is not there.

    Raises:
        ModelError: If torch does not know the device or cannot use it.
    """
    if device == "cpu":
        return device
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # torch without CUDA asserts
        reason = str(error).partition("\n")[0]
        raise ModelError(f"the device {device!r} cannot be used ({reason}); try 'auto' or 'cpu'") from error
    return device


def _from_method(name: str, settings: dict[str, Any]) -> Model:
    method = METHODS[name]
    if method.learned:
        known = [key for key, folder in packaged_models().items() if read_config(folder).method == name]
        own = f"one of the models that come with upseg ({', '.join(known)}), " if known else ""
        raise ModelError(
            f"{name} is a method that needs weights; give {own}a model folder, or owner/name of a hub model"
        )
    preset = settings.pop("preset", None)
    return Model(name, name, method, build_settings(_resolve(method.settings), settings, preset=preset))


def _from_folder(name: str, folder: Path, settings: dict[str, Any]) -> Model:
    config_path, weights = folder / CONFIG_NAME, folder / WEIGHTS_NAME
    try:
        model = build_model(name, read_config(folder), weights, settings)
    except ModelError as error:
        raise ModelError(f"{printable(config_path)}: {error}") from error
    if model.implementation.learned and not weights.is_file():
        raise ModelError(f"{printable(folder)} has no {WEIGHTS_NAME}; other kinds of weights are not read")
    if not model.implementation.learned and (weights.exists() or model.categories):
        raise ModelError(f"{printable(folder)} has weights or classes, but the method {model.method} takes none")
    return model


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
