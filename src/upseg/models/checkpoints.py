"""From a checkpoint of a training to a model folder.

`upseg.training.task.Task`, the base of all tasks, puts what `checkpoint_record` returns into `checkpoint["upseg"]`, in
its `on_save_checkpoint`; nothing else ties the two together.
"""

from __future__ import annotations

import pickle
import re
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from upseg.errors import ModelError
from upseg.files import printable
from upseg.models.folders import ModelConfig, read_categories, read_options
from upseg.models.registry import METHODS, settings_class
from upseg.models.saving import save_pretrained
from upseg.settings import current_names

RECORD_KEY = "upseg"
_RECORD_TYPES = {"method": str, "settings": dict, "classes": list, "training": dict, "prefix": str, "reading": dict}


@dataclass(frozen=True, slots=True)
class Checkpoint(ModelConfig):
    """The model in a checkpoint: what its `config.json` is to say, and its weights.

    Attributes:
        weights: The network's `state_dict`.
    """

    weights: Mapping[str, Tensor] = field(default_factory=dict)

    def save_pretrained(
        self,
        folder: str | Path,
        *,
        half: bool = False,
        description: str = "",
        settings: Mapping[str, Any] | None = None,
        training: Mapping[str, Any] | None = None,
    ) -> Path:
        """Write the model as a model folder; folder, `half`, result and errors as of the function `save_pretrained`.

        Args:
            folder: Made if need be; an older model in it is replaced.
            half: Store the weights as 16-bit floats.
            description: One line for people.
            settings: What shall differ from the settings it was trained with, for instance those of the grouping.
            training: What shall be added to the provenance of the training.
        """
        changed = {**self.settings, **(settings or {})}, self.categories, {**self.training, **(training or {})}
        config = ModelConfig(self.method, *changed, description, self.reading)
        return save_pretrained(folder, config, self.weights, half=half)


def checkpoint_record(config: ModelConfig, prefix: str = "network.") -> dict[str, Any]:
    """What a LightningModule stores as `checkpoint["upseg"]`: plain types, which load without running code.

    Args:
        config: What the `config.json` of the trained model is to say.
        prefix: What the names of the weights to export begin with in the checkpoint's `state_dict`.
    """
    return {
        "method": config.method,
        "settings": dict(config.settings),
        "classes": [asdict(category) for category in config.categories],
        "training": dict(config.training),
        "prefix": prefix,
        "reading": config.reading.of_model(),
    }


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Read the model in a checkpoint; no code in it is run.

    Raises:
        ModelError: If the file is no checkpoint of a training with upseg, or is broken.
    """
    file = Path(path)
    try:
        return _read(_load(file))
    except ModelError as error:
        raise ModelError(f"{printable(file)}: {error}") from error


def read_start(name_or_path: str | Path) -> Checkpoint:
    """What a training starts from: a checkpoint, or any model with weights that `upseg.load_model` takes.

    Args:
        name_or_path: A checkpoint's file; or a model that comes with upseg, its folder, or `owner/name` of a hub model.

    Raises:
        ModelError: If there is no such thing, it has no weights, or it is broken.
    """
    if Path(name_or_path).is_file() or Path(name_or_path).suffix == ".ckpt":
        return read_checkpoint(name_or_path)
    from upseg.models.registry import find_model  # it names what the tasks that import this module are for

    model = find_model(name_or_path)
    if model.weights is None:
        raise ModelError(f"{printable(model.name)} has no weights that a training could start from")
    try:
        weights = load_file(model.weights)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{printable(model.weights)}: this is not a readable safetensors file ({error})") from error
    return Checkpoint(model.method, asdict(model.settings), model.categories, model.training, weights=weights)


def take_over_weights(
    network: nn.Module,
    path: str | Path,
    may_differ: tuple[str, ...] = (),
    anew: tuple[str, ...] = (),
    *,
    only: str = "",
) -> Mapping[str, Any]:
    """Fill a network with the weights of a checkpoint, the averaged ones where it has them, or of another model.

    Args:
        network: Of the architecture that the checkpoint is of.
        path: The checkpoint or model, as `read_start` takes it.
        may_differ: What the names of weights begin with that the checkpoint may lack, have beside them, or have in
            another shape, such as heads for other classes: these keep the values that they have in the network.
        anew: What the names of weights begin with that keep those values even if the checkpoint has others for them.
        only: What the names of weights begin with that are taken over; all others keep their values.

    Returns:
        How the checkpoint's model came to be.

    Raises:
        ModelError: If there is no such checkpoint or model, or it is one of another network.
    """
    checkpoint = read_start(path)
    own = network.state_dict()
    found = {name: value for name, value in checkpoint.weights.items() if name.startswith(only)}

    def differs(name: str) -> bool:
        if not name.startswith(only) or (name.startswith(may_differ) and (name not in own or name not in found)):
            return True
        return name.startswith(anew) or (name.startswith(may_differ) and own[name].shape != found[name].shape)

    kept = {name: value for name, value in own.items() if differs(name)}
    try:
        network.load_state_dict({**kept, **{name: value for name, value in found.items() if not differs(name)}})
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise ModelError(
            f"{printable(Path(path))} has the weights of another network: the settings that the network is built by "
            f"must be those of the checkpoint ({reason:.300})"
        ) from error
    return checkpoint.training


def load_checkpoint(path: str | Path) -> Any:
    """Read all that a checkpoint holds, tensors on the CPU; no code in it is run.

    Tensors are read from the file when they are used.

    Raises:
        ModelError: If the file is no checkpoint, or is broken.
    """
    file = Path(path)
    try:
        return _load(file)
    except ModelError as error:
        raise ModelError(f"{printable(file)}: {error}") from error


def _load(path: Path) -> Any:
    if not path.is_file():
        raise ModelError("this is a folder, not a checkpoint" if path.is_dir() else "there is no such file")
    try:
        if not zipfile.is_zipfile(path):
            raise ModelError("this is not a checkpoint as `upseg train` saves it (or only a part of one)")
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except pickle.UnpicklingError as error:
        named = re.search(r"GLOBAL (\S+)", str(error))
        what = f" ({named.group(1)})" if named else ""
        raise ModelError(
            f"the checkpoint asks for code to be run{what}, which upseg does not do; export one of `upseg train`"
        ) from error
    except ModelError:
        raise
    except Exception as error:  # torch raises whatever it stumbles over in broken files
        reason = str(error).partition("\n")[0] or type(error).__name__
        if "weights_only" in str(error):  # its advice is to load the file unsafely
            reason = "it is of an old kind, or damaged"
        raise ModelError(f"the checkpoint cannot be read ({reason:.200})") from error


def _read(content: Any) -> Checkpoint:
    record = content.get(RECORD_KEY) if isinstance(content, dict) else None
    state = content.get("state_dict") if isinstance(content, dict) else None
    if not isinstance(record, dict) or not isinstance(state, dict):
        raise ModelError("this is a checkpoint of something else: it does not say which of upseg's methods it is of")
    for key, expected in _RECORD_TYPES.items():
        value = record.get(key, {} if key == "reading" else None)  # those of before have none
        if not isinstance(value, expected):
            raise ModelError(f"the checkpoint's {key} must be a {expected.__name__}, got {value!r:.100}")
    if record["method"] not in METHODS or not METHODS[record["method"]].learned:
        raise ModelError(f"the checkpoint is of the method {record['method']!r}, which has no models with weights here")
    prefix = record["prefix"]
    weights = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
    if not weights or not all(isinstance(value, Tensor) for value in weights.values()):
        raise ModelError(f"the checkpoint has no weights whose names begin with {prefix!r}")
    categories = read_categories(record["classes"])
    settings = current_names(record["settings"], settings_class(record["method"]))
    reading = read_options(record.get("reading", {}))
    told = (record["method"], settings, categories, record["training"])
    return Checkpoint(*told, reading=reading, weights=weights)
