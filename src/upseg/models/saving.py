"""Saving, loading and publishing models with weights.

A learned method's segmenter inherits `PretrainedMixin`, which gives it `save_pretrained`, `from_pretrained` and
`push_to_hub`; in return the segmenter has the attributes `method`, `settings`, `network` and `categories`. Its
constructor `(settings, device, *, weights, categories, network)` gets the network from `choose_network`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any, ClassVar, TypeVar

import torch
from jaxtyping import Shaped
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from upseg.errors import ModelError
from upseg.files import printable
from upseg.models.folders import WEIGHTS_NAME, ModelConfig, written_folder
from upseg.segmentation import Category

_SHOWN = 3  # names in an error
_Network = TypeVar("_Network", bound=nn.Module)
_Segmenter = TypeVar("_Segmenter", bound="PretrainedMixin")  # the shape checks in the tests cannot read `Self`


class PretrainedMixin:
    """Gives a learned method's segmenter its way to and from model folders and the Hugging Face hub.

    Attributes:
        method: The name of the method, a key of `upseg.models.registry.METHODS`.
        settings: A frozen dataclass.
        network: What the weights fill.
        categories: The classes the model knows; empty for class-agnostic methods.
        training: How the model came to be, from its `config.json`; as there, `data` says what it was trained on.
        description: One line for people, from its `config.json`.
    """

    method: ClassVar[str]
    settings: Any
    network: nn.Module
    categories: tuple[Category, ...]
    training: Mapping[str, Any] = MappingProxyType({})
    description: str = ""

    @classmethod
    def from_pretrained(
        cls: type[_Segmenter], name_path_or_hub_id: str | Path, device: str = "auto", **settings: Any
    ) -> _Segmenter:
        """Load a model of this method; arguments and errors as for `upseg.load_model`.

        Raises:
            ModelError: Also if it is a model of another method.
        """
        from upseg.models.registry import find_model  # it names this class's subclasses

        model = find_model(name_path_or_hub_id, **settings)
        if model.method != cls.method:
            raise ModelError(
                f"{printable(model.name)} is a model of the method {model.method}, {cls.__name__} takes those of "
                f"{cls.method}; upseg.load_model takes all"
            )
        segmenter = model.load(device)
        assert isinstance(segmenter, cls), f"METHODS makes a {type(segmenter).__name__} for {cls.method}"  # noqa: S101
        return segmenter

    def save_pretrained(self, folder: str | Path, *, half: bool = False) -> Path:
        """Write a model folder that `from_pretrained` and `--model` take; arguments and errors as for the function."""
        return save_pretrained(
            folder,
            method=self.method,
            settings=asdict(self.settings),
            weights=self.network.state_dict(),
            categories=self.categories,
            training=self.training,
            description=self.description,
            half=half,
        )

    def push_to_hub(self, repo_id: str, *, private: bool = False, half: bool = False) -> str:
        """Publish the model; arguments, result and errors as for `upseg.models.hub.push_to_hub`."""
        from upseg.models.hub import push_to_hub

        with TemporaryDirectory() as folder:
            return push_to_hub(self.save_pretrained(folder, half=half), repo_id, private=private)


def save_pretrained(
    folder: str | Path,
    *,
    method: str,
    settings: Mapping[str, Any],
    weights: Mapping[str, Tensor],
    categories: tuple[Category, ...] = (),
    training: Mapping[str, Any] | None = None,
    description: str = "",
    half: bool = False,
) -> Path:
    """Write a model folder: `config.json` and `model.safetensors`, whole or not at all.

    The model is loaded once from what was written before the files get their names: a folder that was saved, loads.

    Args:
        folder: Made if need be; an older model in it is replaced.
        method: A name in `upseg.models.registry.METHODS`.
        settings: Its settings by name, as JSON can hold them.
        weights: The network's `state_dict`.
        categories: The classes the model knows.
        training: How the model came to be, as JSON can hold it; `data` says in a few words what it was trained on.
        description: One line for people.
        half: Store the weights as 16-bit floats, which halves the file; they are loaded as 32-bit ones.

    Returns:
        The folder.

    Raises:
        ModelError: If method, settings and weights do not make a model, a weight is not finite (or too large for 16
            bits), or `folder` holds something else or cannot be written.
    """
    from upseg.models.registry import build_model  # it names the methods whose segmenters import this module

    target = Path(folder)
    config = ModelConfig(method, settings, tuple(categories), training or {}, description)
    stored = {key: _stored(key, value, half=half) for key, value in weights.items()}
    with written_folder(target, config) as path:
        try:
            model = build_model(target.name, config, path)
            if not model.implementation.learned:
                raise ModelError(f"the method {method} takes no weights")
            path.write_bytes(save(stored, metadata={"format": "pt"}))  # save_file makes files that only the owner reads
            model.load("cpu")
        except (ModelError, SafetensorError) as error:  # for the user there is no file of the temporary name
            reason = str(error).replace(printable(path), printable(target / WEIGHTS_NAME))
            raise ModelError(f"{printable(target)}: the model cannot be saved: {reason}") from error
    return target


def choose_network(
    make: Callable[[], _Network], weights: Path | None, network: _Network | None, device: torch.device
) -> _Network:
    """The network of a segmenter: one that is given, or a new one filled with weights.

    Args:
        make: Makes a network of the segmenter's settings.
        weights: A safetensors file, as `load_weights` takes it; None if there is a network.
        network: One in evaluation mode on the device, which is taken as it is; None if there are weights.
        device: Where a new network is to compute.

    Raises:
        ModelError: If the weights cannot be read or are not those of the network.
        ValueError: If there are neither weights nor a network, or both, or the network is in training mode.
    """
    if network is not None and network.training:
        raise ValueError("the network is in training mode; call its eval() first")
    if network is not None and weights is None:
        return network
    if network is not None or weights is None:
        raise ValueError("give either weights (the path of a safetensors file) or a network")
    with torch.random.fork_rng(devices=[]):  # first weights are drawn, and then replaced
        new = make()
    load_weights(new, weights)
    return new.eval().to(device)


def load_weights(network: nn.Module, path: str | Path) -> None:
    """Fill a network with the weights of a safetensors file; 16-bit floats become what the network computes with.

    Args:
        network: Every parameter and buffer of its `state_dict` gets its value from the file.
        path: The file.

    Raises:
        ModelError: If the file cannot be read, holds other weights than the network has, or a weight is not finite.
    """
    file = Path(path)
    try:
        weights = load_file(file)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{printable(file)}: this is not a readable safetensors file ({error})") from error
    problem = _misfit(weights, network.state_dict())
    if problem:
        raise ModelError(
            f"{printable(file)}: these are not the weights of the network that the settings describe: {problem}; the "
            "settings of the network must be those it was trained with"
        )
    for key, value in weights.items():
        if not torch.isfinite(value).all():
            raise ModelError(f"{printable(file)}: the weight {key} has values that are not finite; the file is broken")
    network.load_state_dict(weights)


def _stored(key: str, value: Shaped[Tensor, "*shape"], *, half: bool) -> Shaped[Tensor, "*shape"]:
    """A weight as the file will hold it."""
    if not torch.isfinite(value).all():
        raise ModelError(f"the weight {key} has values that are not finite: the training went wrong")
    small = half and value.is_floating_point()
    stored = value.detach().to("cpu", torch.float16 if small else value.dtype, copy=True).contiguous()
    if not torch.isfinite(stored).all():
        raise ModelError(f"the weight {key} has values too large for 16-bit floats; save the model without half")
    return stored


def _misfit(weights: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> str:
    """What keeps weights from filling a network, in a few words; empty if nothing does."""
    shared = sorted(weights.keys() & expected.keys())
    facts = {
        "missing": sorted(expected.keys() - weights.keys()),
        "unknown": sorted(weights.keys() - expected.keys()),
        "of another shape or type": [
            f"{key} is {_described(weights[key])}, not {_described(expected[key])}"
            for key in shared
            if _described(weights[key]) != _described(expected[key])
        ],
    }
    listed = {
        fact: ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "") for fact, names in facts.items()
    }
    return "; ".join(f"{len(names)} {fact} ({listed[fact]})" for fact, names in facts.items() if names)


def _described(weight: Shaped[Tensor, "*shape"]) -> str:
    """Shape and kind; any floating type does."""
    kind = "float" if weight.is_floating_point() else str(weight.dtype).removeprefix("torch.")
    return f"{kind} {tuple(weight.shape)}"
