"""Weights to and from files, and whole model folders that are known to load."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from jaxtyping import Shaped
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn

from upseg.errors import ModelError
from upseg.files import printable
from upseg.models.folders import WEIGHTS_NAME, ModelConfig, written_folder
from upseg.models.registry import build_model

_SHOWN = 3  # names in an error
# how safetensors calls what torch has
_KINDS = {
    **{f"I{bits}": f"int{bits}" for bits in (8, 16, 32, 64)},
    **{f"F{bits}": f"float{bits}" for bits in (16, 32, 64)},
    "U8": "uint8",
    "BF16": "bfloat16",
    "BOOL": "bool",
}


def save_pretrained(
    folder: str | Path, config: ModelConfig, weights: Mapping[str, Tensor], *, half: bool = False
) -> Path:
    """Write a model folder: `config.json` and `model.safetensors`, whole or not at all.

    The model is loaded once from what was written before the files get their names: a folder that was saved, loads.

    Args:
        folder: Made if need be; an older model in it is replaced.
        config: What `config.json` shall say.
        weights: The network's `state_dict`.
        half: Store the weights as 16-bit floats, which halves the file; they are loaded as 32-bit ones.

    Returns:
        The folder.

    Raises:
        ModelError: If method, settings and weights do not make a model, a weight is not finite (or too large for 16
            bits), or `folder` holds something else or cannot be written.
    """
    target = Path(folder)
    stored = {key: _stored(key, value, half=half) for key, value in weights.items()}
    with written_folder(target, config) as path:
        try:
            model = build_model(target.name, config, path, {"engine": "torch"})
            if not model.implementation.learned:
                raise ModelError(f"the method {config.method} takes no weights")
            path.write_bytes(save(stored, metadata={"format": "pt"}))  # save_file makes files that only the owner reads
            model.load("cpu")
        except (ModelError, SafetensorError) as error:  # for the user there is no file of the temporary name
            reason = str(error).replace(printable(path), printable(target / WEIGHTS_NAME))
            raise ModelError(f"{printable(target)}: the model cannot be saved: {reason}") from error
    return target


def load_weights(network: nn.Module, path: str | Path) -> None:
    """Fill a network with the weights of a safetensors file; 16-bit floats become what the network computes with.

    Args:
        network: Every parameter and buffer of its `state_dict` gets its value from the file.
        path: The file.

    Raises:
        ModelError: If the file cannot be read, holds other weights than the network has, or a weight is not finite.
    """
    file = Path(path)
    check_fit(network, file)
    try:
        weights = load_file(file)
    except (OSError, SafetensorError) as error:
        raise _unreadable(file, error) from error
    for key, value in weights.items():
        if not torch.isfinite(value).all():
            raise ModelError(f"{printable(file)}: the weight {key} has values that are not finite; the file is broken")
    network.load_state_dict(weights)


def check_fit(network: nn.Module, path: str | Path) -> None:
    """Look at what a safetensors file says it holds, without reading weights; the network may be on the device `meta`.

    Raises:
        ModelError: If the file cannot be read, or holds other weights than the network has.
    """
    file = Path(path)
    try:
        if not file.is_file():
            raise OSError("it is not a regular file")
        with safe_open(file, "pt") as content:
            slices = {key: content.get_slice(key) for key in content.keys()}  # noqa: SIM118 - it is no mapping
            found = {key: _described(part.get_dtype(), part.get_shape()) for key, part in slices.items()}
    except (OSError, SafetensorError, ValueError) as error:
        raise _unreadable(file, error) from error
    needed = {key: _described(str(value.dtype), value.shape) for key, value in network.state_dict().items()}
    problem = _misfit(found, needed)
    if problem:
        raise ModelError(
            f"{printable(file)}: these are not the weights of the network that the settings describe: {problem}; the "
            "settings of the network must be those it was trained with"
        )


def _unreadable(file: Path, error: Exception) -> ModelError:
    return ModelError(f"{printable(file)}: this is not a readable safetensors file ({error})")


def _stored(key: str, value: Shaped[Tensor, "*shape"], *, half: bool) -> Shaped[Tensor, "*shape"]:
    """A weight as the file will hold it."""
    if not torch.isfinite(value).all():
        raise ModelError(f"the weight {key} has values that are not finite: the training went wrong")
    small = half and value.is_floating_point()
    stored = value.detach().to("cpu", torch.float16 if small else value.dtype, copy=True).contiguous()
    if not torch.isfinite(stored).all():
        raise ModelError(f"the weight {key} has values too large for 16-bit floats; save the model without half")
    return stored


def _misfit(weights: Mapping[str, str], expected: Mapping[str, str]) -> str:
    """What keeps weights from filling a network, in a few words; empty if nothing does."""
    shared = sorted(weights.keys() & expected.keys())
    facts = {
        "missing": sorted(expected.keys() - weights.keys()),
        "unknown": sorted(weights.keys() - expected.keys()),
        "of another shape or type": [
            f"{key} is {weights[key]}, not {expected[key]}" for key in shared if weights[key] != expected[key]
        ],
    }
    listed = {
        fact: ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "") for fact, names in facts.items()
    }
    return "; ".join(f"{len(names)} {fact} ({listed[fact]})" for fact, names in facts.items() if names)


def _described(kind: str, shape: Sequence[int]) -> str:
    """Kind, as torch or safetensors calls it, and shape; any floating type does."""
    name = kind.removeprefix("torch.")
    plain = _KINDS.get(name, name)
    return f"{'float' if 'float' in plain else plain} {tuple(shape)}"
