"""What is in a file, as values with names, so that a difference can be called by its name."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import torch
import yaml
from PIL import Image, UnidentifiedImageError
from safetensors import SafetensorError, safe_open

Facts = dict[str, str]


def facts_of(path: Path, text: str | None = None) -> Facts | None:
    """The values in a file by their names; None for files that have no names, or are not what their name says.

    Args:
        path: The file.
        text: What is to be taken for its content, where that was changed before.
    """
    if ".tfevents." in path.name:
        return dict(_events(path))
    reader = _READERS.get(path.suffix)
    if reader is None:
        return None
    try:
        return dict(reader(path, text))
    except (ValueError, yaml.YAMLError, OSError, SafetensorError):
        return None


def pixels_of(before: Path, after: Path) -> str | None:
    """What differs between two pictures; None if these are none, or have the same pixels."""
    try:
        ours, theirs = (_picture(path) for path in (before, after))
    except (UnidentifiedImageError, OSError, ValueError):
        return None
    if ours.shape != theirs.shape or ours.dtype != theirs.dtype:
        return f"{ours.dtype} {ours.shape} -> {theirs.dtype} {theirs.shape}"
    places = np.argwhere((ours != theirs).reshape(*ours.shape[:2], -1).any(-1))
    if len(places) == 0:
        return None
    row, column = places[0].tolist()
    of = ours.shape[0] * ours.shape[1]
    return f"{len(places)} of {of} pixels, first {row, column}: {ours[row, column]} -> {theirs[row, column]}"


def _picture(path: Path) -> np.ndarray:
    return tifffile.imread(path) if path.suffix == ".tif" else np.asarray(Image.open(path))


def _json(path: Path, text: str | None) -> Iterator[tuple[str, str]]:
    yield from _flat(json.loads((text if text is not None else path.read_text()).replace("<seconds>", '"<seconds>"')))


def _yaml(path: Path, text: str | None) -> Iterator[tuple[str, str]]:
    yield from _flat(yaml.safe_load(text if text is not None else path.read_text(encoding="utf-8")))


def _checkpoint(path: Path, text: str | None) -> Iterator[tuple[str, str]]:  # noqa: ARG001 - it is no text
    yield from _flat(torch.load(path, map_location="cpu", weights_only=True))


def _tensors(path: Path, text: str | None) -> Iterator[tuple[str, str]]:  # noqa: ARG001
    with safe_open(path, "pt") as file:
        yield from _flat({"metadata": file.metadata(), **{name: file.get_tensor(name) for name in file.keys()}})  # noqa: SIM118


def _arrays(path: Path, text: str | None) -> Iterator[tuple[str, str]]:  # noqa: ARG001
    with np.load(path, allow_pickle=False) as file:
        yield from _flat(dict(file))


def _texts_in_picture(path: Path, text: str | None) -> Iterator[tuple[str, str]]:  # noqa: ARG001
    with Image.open(path) as picture:
        for key, value in picture.info.items():
            is_json = isinstance(value, str) and value.startswith("{")
            yield from _flat(json.loads(value) if is_json else value, str(key))


_READERS: Mapping[str, Callable[[Path, str | None], Iterator[tuple[str, str]]]] = {
    ".json": _json,
    ".out": _json,
    ".geojson": _json,
    ".yaml": _yaml,
    ".ckpt": _checkpoint,
    ".safetensors": _tensors,
    ".npz": _arrays,
    ".png": _texts_in_picture,
}


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Every value with the way to it; of arrays their type and shape, and a digest of their numbers."""
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _flat(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list | tuple) and value:
        for index, inner in enumerate(value):
            yield from _flat(inner, f"{name}[{index}]")
    elif isinstance(value, torch.Tensor):
        digest = hashlib.sha256(value.contiguous().flatten().view(torch.uint8).numpy().tobytes()).hexdigest()[:12]
        yield name, f"{value.dtype} {tuple(value.shape)} {digest}"
    elif isinstance(value, np.ndarray):
        digest = hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()[:12]
        yield name, f"{value.dtype} {value.shape} {digest}"
    else:
        yield name, repr(value)


def _events(path: Path) -> Iterator[tuple[str, str]]:
    """What TensorBoard shows, without the times."""
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    for event in EventFileLoader(str(path)).Load():
        for value in event.summary.value:
            content = value.tensor.SerializeToString() or value.SerializeToString()
            yield f"{value.tag}, step {event.step}", hashlib.sha256(content).hexdigest()[:12]
