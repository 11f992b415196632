"""The network of a learned model as a file that other engines run, and a network that such an engine computes.

The file holds what torch computes from pixels to raw maps, for images of any size; grouping stays in Python.
"""

from __future__ import annotations

import importlib.util
import logging
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from upseg.errors import ModelError
from upseg.files import atomic_path, printable
from upseg.functional.random_numbers import seeded_generator
from upseg.layers.backbone import ImageBackbone
from upseg.layers.folding import folded
from upseg.models.calling import torch_threads
from upseg.models.folders import NETWORK_NAME

ENGINES = ("onnxruntime", "openvino")
"""What can compute an ONNX network, torch apart; what is first is preferred."""

CHECKED_SIZES = ((96, 160), (64, 64), (33, 130), (1, 1), (200, 71))
"""Heights and widths for which a file that was written must give what torch gives."""
_EXAMPLE = (448, 672)  # multiples of all strides and patches
_TIMED_SIZE = (512, 512)
_TOLERANCE = 1e-3  # of the largest value of a map
_FASTER = "upseg.times_as_fast"
Compute = Callable[[Float[Tensor, "b 3 h w"]], Sequence[Tensor]]


class FlatNetwork(nn.Module):
    """A network whose outputs are a tuple of tensors, whatever holds them: a tensor, a mapping or a dataclass."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.backbones = [part for part in network.modules() if isinstance(part, ImageBackbone)]

    @contextmanager
    def as_given(self) -> Iterator[None]:
        """Within it images must have sizes that need no padding: how that is computed cannot be recorded."""
        for backbone in self.backbones:
            backbone.padded_size = tuple  # type: ignore[assignment]
        try:
            yield
        finally:
            for backbone in self.backbones:
                del backbone.padded_size

    def padded(self, compute: Compute) -> Compute:
        """Computes images of any size by what takes padded ones: it pads them as the backbone does, and cuts maps."""

        def padded_compute(images: Float[Tensor, "b 3 h w"]) -> list[Tensor]:
            size = images.shape[-2:]
            height, width = self.backbones[0].padded_size(size)
            larger = F.pad(images, (0, width - size[1], 0, height - size[0]), mode="replicate")
            maps = compute(larger)
            kept = ((-(-size[0] * m.shape[-2] // height), -(-size[1] * m.shape[-1] // width)) for m in maps)
            return [m[..., :rows, :columns] for m, (rows, columns) in zip(maps, kept, strict=True)]

        return padded_compute

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> tuple[Tensor, ...]:
        """The tensors in the order of their names."""
        return tuple(_parts(self.network(images)).values())


def export_network(network: nn.Module, folder: Path) -> Path:
    """Write a network into a model folder as ONNX.

    Args:
        network: Of a learned segmenter, on the CPU, in evaluation mode.
        folder: The model folder.

    Returns:
        The file, which gave what torch gives for images of five sizes.

    Raises:
        ModelError: If a package is not installed, the network has no single pass from images to maps or cannot be
            written, or the file's answers are others than torch's.
    """
    target = folder / NETWORK_NAME
    flat = FlatNetwork(network).eval()
    try:
        with torch.inference_mode():
            flat(torch.zeros(1, 3, *CHECKED_SIZES[0]))
    except (TypeError, ValueError) as error:
        raise ModelError(
            "the network of this method has no single pass from an image to maps, so it stays torch's"
        ) from error
    with atomic_path(target) as partial, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's, of what the check below covers
        compute = _write_onnx(flat, partial)
        for size in CHECKED_SIZES:
            check_same(flat, compute, size, target)
    return target


def chosen_engine(folder: Path, engine: str, device: str) -> str:
    """What is to compute a model's network.

    Args:
        folder: The model folder.
        engine: `torch`, one of `ENGINES`, or `auto`: the first that is installed if the folder has a network that was
            faster there than torch when it was written, and the device is the CPU; else torch.
        device: As torch calls it.

    Raises:
        ModelError: If the engine is not known or not installed, or the folder has no network for it.
    """
    if engine == "torch":
        return engine
    path = folder / NETWORK_NAME
    if engine == "auto":
        installed = [name for name in ENGINES if importlib.util.find_spec(name)]
        ready = device == "cpu" and installed and path.is_file()
        return installed[0] if ready and _times_as_fast(path) > 1 else "torch"
    if engine not in ENGINES:
        raise ModelError(f"there is no engine {engine!r}; there are auto, torch, {', '.join(ENGINES)}")
    if device != "cpu":
        raise ModelError(f"the engine {engine} computes on the CPU here, and the device is {device}")
    if importlib.util.find_spec(engine) is None:
        raise ModelError(f"the engine {engine} is not installed: pip install {engine}")
    if not path.is_file():
        raise ModelError(
            f"{printable(folder)} has no {path.name}: upseg export-model {printable(folder)} FOLDER --format onnx"
        )
    return engine


def run_by(engine: str, network: nn.Module, path: Path, threads: int | None) -> None:
    """Let an engine compute a network from now on; weights and whatever else it has stay as they are.

    Args:
        engine: One of `ENGINES`.
        network: In evaluation mode, on the CPU.
        path: The ONNX file.
        threads: Of the processor; None for as many as the engine takes.

    Raises:
        ModelError: If the file cannot be read, or its answer for a small image is another than the network's.
    """
    try:
        compute = _SESSIONS[engine](path, threads)
    except Exception as error:  # engines have errors of their own, and of their own kinds
        raise ModelError(f"{printable(path)} cannot be read by {engine} ({str(error).strip():.200})") from error
    with torch.inference_mode():
        like = network(torch.zeros(1, 3, *CHECKED_SIZES[1]))
    flat = FlatNetwork(network).eval()
    compute = flat.padded(compute)
    check_same(flat, compute, CHECKED_SIZES[1], path)
    logging.getLogger(__name__).info("%s computes the network", engine)
    network.forward = lambda images: _rebuilt(like, compute(images))


def check_same(flat: FlatNetwork, compute: Compute, size: tuple[int, int], path: Path) -> None:
    """Compare a file's answer with torch's.

    Raises:
        ModelError: If they differ by more than a thousandth of the largest value, or there is no answer.
    """
    image = torch.rand(1, 3, *size, generator=seeded_generator(0))
    with torch.inference_mode():
        wanted = flat(image)
    try:
        found = compute(image)
    except Exception as error:
        raise ModelError(f"{printable(path)}: no answer for {size[0]}x{size[1]} pixels ({error!s:.200})") from error
    for ours, theirs in zip(wanted, found, strict=True):
        least = _TOLERANCE * max(1.0, float(ours.abs().max()))
        if ours.shape != theirs.shape or float((ours - theirs).abs().max()) > least:
            raise ModelError(f"{printable(path)} gives other maps than the model's weights do; write it anew")


def _write_onnx(flat: FlatNetwork, path: Path) -> Compute:
    for package in ("onnx", "onnxruntime"):
        if importlib.util.find_spec(package) is None:
            raise ModelError(f"a network is written as ONNX by the package {package}: pip install 'upseg[onnx]'")
    import onnx

    # recorded with an image, not by `dynamo`, whose formulas for free sizes grow from layer to layer
    axes = {"image": {0: "batch", 2: "height", 3: "width"}}
    example = torch.zeros(1, 3, *_EXAMPLE)
    try:
        with flat.as_given():
            torch.onnx.export(flat, (example,), path, input_names=["image"], dynamic_axes=axes, dynamo=False)
    except Exception as error:  # the exporter's are of many kinds
        reason = " ".join(str(error).split())
        raise ModelError(f"torch cannot write this network as ONNX for images of any size ({reason:.200})") from error
    model = onnx.load(path)
    compute = flat.padded(_onnxruntime(path, 1))
    model.metadata_props.add(key=_FASTER, value=f"{_ratio(flat, compute):.2f}")
    onnx.save(model, path)
    return compute


def _ratio(flat: FlatNetwork, compute: Compute) -> float:
    """Torch's time, as segmenters use it, by the other's: the fastest of three passes in turn, of one thread each."""
    image = torch.zeros(1, 3, *_TIMED_SIZE)
    runs: tuple[Callable[[Tensor], Any], ...] = (folded(flat), compute)
    taken: tuple[list[float], ...] = ([], [])
    with torch_threads(1), torch.inference_mode():
        for _ in range(4):  # the first warms up
            for run, seconds in zip(runs, taken, strict=True):
                start = time.perf_counter()
                run(image)
                seconds.append(time.perf_counter() - start)
    torchs, others = (min(seconds[1:]) for seconds in taken)
    return torchs / others


def _times_as_fast(path: Path) -> float:
    import onnxruntime

    try:
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        return float(session.get_modelmeta().custom_metadata_map.get(_FASTER, 0))
    except Exception as error:
        raise ModelError(f"{printable(path)} cannot be read ({str(error).strip():.200})") from error


def _onnxruntime(path: Path, threads: int | None) -> Compute:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or torch.get_num_threads()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda images: [torch.from_numpy(out) for out in session.run(None, {name: images.contiguous().numpy()})]


def _openvino(path: Path, threads: int | None) -> Compute:
    import openvino

    settings = {"INFERENCE_NUM_THREADS": threads or torch.get_num_threads(), "INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(path, "CPU", settings)
    return lambda images: [torch.from_numpy(np.array(out)) for out in compiled(images.contiguous().numpy()).to_tuple()]


_SESSIONS: Mapping[str, Callable[[Path, int | None], Compute]] = {"onnxruntime": _onnxruntime, "openvino": _openvino}


def _parts(outputs: Any) -> dict[str, Tensor]:
    if isinstance(outputs, Tensor):
        return {"": outputs}
    if is_dataclass(outputs):
        return {field.name: getattr(outputs, field.name) for field in fields(outputs)}
    return dict(outputs)


def _rebuilt(like: Any, parts: Sequence[Tensor]) -> Any:
    if isinstance(like, Tensor):
        return parts[0]
    named = dict(zip(_parts(like), parts, strict=True))
    return replace(like, **named) if is_dataclass(like) and not isinstance(like, type) else named
