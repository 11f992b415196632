"""Depth models of the transformers library, as teachers: what they say of an image is a pseudo label."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float32
from PIL import Image

from upseg.errors import ModelError
from upseg.files import printable
from upseg.models.registry import resolve_device

Prediction = Literal["disparity", "depth"]

_BY_MODEL_TYPE: dict[str, Prediction] = {"zoedepth": "depth", "glpn": "depth", "depth_pro": "depth"}
_ORIGIN = ("_name_or_path", "name_or_path", "_commit_hash", "transformers_version")
_NEAREST = 1e-3  # metres; what a model calls nearer counts as this near


class TransformersDepth:
    """A depth model of transformers; needs the extra `depth`.

    Its weights are read from safetensors files only, and no code that comes with a model is run.

    Args:
        model: The folder of a model, or `owner/name` on the Hugging Face hub, which is downloaded once.
        predicts: What larger numbers mean: `disparity`, nearer; `depth`, farther. None to take what the model's
            configuration says.
        device: `cpu`, `cuda`, or `auto` for the GPU where there is one.

    Attributes:
        predicts: What its numbers are.
        fingerprint: A digest of all that its answers depend on beside the image.

    Raises:
        ModelError: If transformers is not installed, there is no such model, or its configuration does not say what it
            predicts.
    """

    def __init__(self, model: str | Path, predicts: Prediction | None = None, device: str = "auto") -> None:
        if predicts not in (None, "disparity", "depth"):
            raise ModelError(f"a depth model predicts disparity or depth, got {predicts!r}")
        self.device = resolve_device(device)
        self._processor, network = _load(str(model))
        self.predicts: Prediction = predicts or _predicted_by(network.config, model)
        self._network = network.to(self.device).eval()
        self.fingerprint = _fingerprint(self._processor, network, self.predicts)

    @torch.inference_mode()
    def disparity(self, image: Float32[np.ndarray, "h w 3"]) -> Float32[np.ndarray, "h w"]:
        """How near each pixel of an RGB image in [0, 1] is.

        Returns:
            (H, W) of any shift and scale, larger is nearer; not finite where the model's answer is not.
        """
        picture = Image.fromarray(np.rint(image * 255).astype(np.uint8))
        inputs = self._processor(images=picture, return_tensors="pt").to(self.device)
        outputs = self._network(**inputs)
        # the size has the place of `source_sizes` where there is such an argument (ZoeDepth), else of `target_sizes`
        found = self._processor.post_process_depth_estimation(outputs, [image.shape[:2]])
        values: Float32[np.ndarray, "h w"] = found[0]["predicted_depth"].float().cpu().numpy()
        if self.predicts == "disparity":
            return values
        return np.asarray(np.float32(1) / np.maximum(values, np.float32(_NEAREST)))


def _load(model: str) -> tuple[Any, Any]:
    """The image processor and the network."""
    try:
        from transformers import AutoImageProcessor, AutoModelForDepthEstimation
    except ImportError as error:
        raise ModelError("depth models are those of transformers: pip install 'upseg[depth]'") from error
    try:
        processor = AutoImageProcessor.from_pretrained(model, trust_remote_code=False)
        network = AutoModelForDepthEstimation.from_pretrained(model, trust_remote_code=False, use_safetensors=True)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise ModelError(
            f"{printable(model)}: expected a folder with a depth model of transformers and its safetensors file, or "
            f"owner/name of one on the Hugging Face hub; it cannot be loaded: {reason:.300}"
        ) from error
    return processor, network


def _predicted_by(configuration: Any, model: str | Path) -> Prediction:
    """What a model says it predicts."""
    if configuration.model_type == "depth_anything":
        return "disparity" if configuration.depth_estimation_type == "relative" else "depth"
    if configuration.model_type in _BY_MODEL_TYPE:
        return _BY_MODEL_TYPE[configuration.model_type]
    raise ModelError(
        f"{printable(model)}: the configuration of a {configuration.model_type} model does not say whether it predicts "
        "disparity (larger is nearer) or depth (larger is farther); say which with predicts (--predicts)"
    )


def _fingerprint(processor: Any, network: Any, predicts: Prediction) -> str:
    facts = [processor.to_dict(), type(network).__name__, network.config.to_dict(), predicts]
    digest = hashlib.sha256(json.dumps(_without_origin(facts), sort_keys=True, default=str).encode())
    for name, values in sorted(network.state_dict().items()):
        digest.update(f"{name}{tuple(values.shape)}{values.dtype}".encode())
        digest.update(values.detach().cpu().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _without_origin(facts: Any) -> Any:
    """The same without what tells where a model came from and which release wrote it, at any depth."""
    if isinstance(facts, dict):
        return {key: _without_origin(value) for key, value in facts.items() if key not in _ORIGIN}
    return [_without_origin(value) for value in facts] if isinstance(facts, list | tuple) else facts
