"""Backbones of the timm library as extractors of feature maps at several strides.

timm itself is imported for all but `Lite0`, the encoder of the models that come with the package.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from safetensors import SafetensorError
from torch import Tensor, nn

from upseg.errors import ModelError
from upseg.layers.lite0 import LEVELS, Lite0
from upseg.layers.lite0 import NAMES as LITE0_NAMES
from upseg.layers.pretrained_weights import shipped_weights


class ImageBackbone(nn.Module):
    """What a timm model needs of images: colours as it was trained with, and sizes that it can take.

    The images' values are normalised with the mean and the standard deviation that the model's weights were trained
    with. Images are padded at the bottom and on the right, by repeating their last row and column.

    Args:
        name: Of the model.
        model: A model of timm, or `Lite0`.
        multiple: Pixels; padded sides are multiples of it.
        fewest: How many multiples a padded side has at least.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, name: str, model: Any, *, multiple: int, fewest: int = 1) -> None:
        super().__init__()
        self.name = name
        self.model = model
        self.multiple = multiple
        self.fewest = fewest
        values = model.pretrained_cfg
        self.register_buffer("mean", torch.tensor(values["mean"]).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(values["std"]).view(1, -1, 1, 1), persistent=False)

    def padded_size(self, size: Sequence[int]) -> tuple[int, int]:
        """Height and width in pixels that images of this height and width are padded to."""
        height, width = (self.multiple * max(self.fewest, math.ceil(side / self.multiple)) for side in size)
        return height, width

    def prepare(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h2 w2"]:
        """What the model sees of (B, 3, H, W) RGB values in [0, 1]: normalised, and of the padded size."""
        height, width = self.padded_size(images.shape[-2:])
        padding = (0, width - images.shape[-1], 0, height - images.shape[-2])
        return F.pad((images - self.mean) / self.std, padding, mode="replicate")


class TimmBackbone(ImageBackbone):
    """The feature maps of a timm model, for RGB images of any size from 1x1 up.

    Images are padded up to a multiple of the coarsest stride and at least two of it, so that every level covers the
    whole (padded) image exactly and has more than one value per channel, which batch normalisation needs in training.
    `padded_size` tells the size.

    Args:
        name: A name that `timm.list_models()` knows, with or without a tag such as `resnet18.a1_in1k`.
        pretrained: Whether to start from published weights: those of `tf_efficientnet_lite0` come with the package,
            others are downloaded once from the Hugging Face Hub.
        out_indices: Which of the model's levels to give out, finest first; negative ones count from the coarsest.

    Attributes:
        channels: Of every level, finest first.
        strides: Of every level, finest first, in pixels of the image.

    Raises:
        ModelError: If there is no model of that name, it gives no such feature maps, it takes images of one size only,
            or its weights cannot be had.
    """

    def __init__(self, name: str, *, pretrained: bool = False, out_indices: Sequence[int] = (-4, -3, -2, -1)) -> None:
        model = _feature_model(name, pretrained, tuple(out_indices))
        known = isinstance(model, Lite0)
        strides: list[int] = model.strides if known else model.feature_info.reduction()
        super().__init__(name, model, multiple=math.lcm(*strides), fewest=2)
        self.strides = strides
        self.channels: list[int] = model.channels if known else model.feature_info.channels()
        self.channels_last_levels = str(getattr(model, "output_fmt", "NCHW")).endswith("NHWC")

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> list[Float[Tensor, "b _ _ _"]]:
        """Compute the levels.

        Args:
            images: (B, 3, H, W) RGB values in [0, 1].

        Returns:
            One (B, channels[i], H' / strides[i], W' / strides[i]) map per level, finest first, where H' and W' are
            `padded_size((H, W))`.
        """
        levels: list[Tensor] = list(self.model(self.prepare(images)))
        return [level.permute(0, 3, 1, 2) for level in levels] if self.channels_last_levels else levels


def create_timm_model(name: str, options: Mapping[str, Any], *, pretrained: bool, needed: str) -> Any:
    """A model of timm with options that not every model takes.

    Args:
        name: A name that `timm.list_models()` knows, with or without a tag.
        options: What `timm.create_model` takes.
        pretrained: Whether to start from published weights, downloaded once from the Hugging Face Hub.
        needed: What the options ask for, in words that follow "it has to".

    Raises:
        ModelError: If there is no model of that name, it does not take the options, or its weights cannot be had.
    """
    import timm

    check_timm_name(name)
    options = dict(options)
    file = download_timm_weights(name) if pretrained else None
    if file is not None:
        options["pretrained_cfg_overlay"] = {"file": str(file), "custom_load": False}
    try:
        with _readable(file):
            return timm.create_model(name, pretrained=pretrained, **options)
    except (AssertionError, AttributeError, IndexError, RuntimeError, TypeError, ValueError) as error:
        raise ModelError(
            f"{name} cannot serve as a backbone: it has to {needed} ({type(error).__name__}: {error})"
        ) from error


def download_timm_weights(name: str) -> Path:
    """The published weights of a timm model: those that come with the package, or else those of the Hugging Face Hub.

    The latter are downloaded unless they are there already; not through timm, which falls back to pickled files.

    Args:
        name: A name that `timm.list_models()` knows; without a tag, timm's default weights.

    Returns:
        The `.safetensors` file, in the package or in the Hub's cache.

    Raises:
        ModelError: If there is no such model, it has no published weights, or they cannot be downloaded.
    """
    shipped = shipped_weights(name)
    if name in LITE0_NAMES and shipped.is_file():
        return shipped
    import timm
    from huggingface_hub import hf_hub_download

    check_timm_name(name)
    if shipped.is_file():
        return shipped
    configuration = timm.get_pretrained_cfg(name)
    repository = configuration.hf_hub_id if configuration else None
    filename = (configuration.hf_hub_filename if configuration else None) or "model.safetensors"
    if not repository or not filename.endswith(".safetensors"):
        raise ModelError(f"{name} has no published weights in the .safetensors format; use pretrained=False")
    try:
        return Path(hf_hub_download(repository, filename))
    except Exception as error:
        raise ModelError(
            f"the pretrained weights {repository} could not be downloaded ({type(error).__name__}); "
            "connect to the internet once, or use pretrained=False"
        ) from error


def check_timm_name(name: str) -> None:
    """Refuse names of models, or of weights of a model, that timm does not have.

    Args:
        name: Such as `resnet18` or `resnet18.a1_in1k`.

    Raises:
        ModelError: With the names that are nearest.
    """
    import timm

    if not timm.is_model(name):
        near = difflib.get_close_matches(name.partition(".")[0], timm.list_models(), n=5, cutoff=0.5)
        hint = f"did you mean {', '.join(near)}?" if near else "timm.list_models() lists them"
        raise ModelError(f"there is no backbone called {name!r}; {hint}")
    model, _, tag = name.partition(".")
    tags = [full.partition(".")[2] for full in timm.list_pretrained(f"{model}.*")]
    if tag and tag not in tags:
        raise ModelError(f"the backbone {model} has no weights called {tag!r}; there are {', '.join(tags) or 'none'}")


def _feature_model(name: str, pretrained: bool, out_indices: tuple[int, ...]) -> Any:
    levels = [index % len(LEVELS) for index in out_indices]
    if name in LITE0_NAMES and levels == sorted({*levels}) and not {*out_indices} - {*range(-len(LEVELS), len(LEVELS))}:
        return _lite0(name, pretrained, levels)
    import timm

    check_timm_name(name)
    options: dict[str, Any] = {"features_only": True, "out_indices": out_indices}
    configuration = timm.get_pretrained_cfg(name)
    if configuration and configuration.fixed_input_size:
        options["dynamic_img_size"] = True  # transformers that can do without a fixed size only do when asked
    needed = f"give feature maps {out_indices} for images of any size, as convnext_atto or resnet18 do"
    return create_timm_model(name, options, pretrained=pretrained, needed=needed)


def _lite0(name: str, pretrained: bool, levels: Sequence[int]) -> Lite0:
    model = Lite0(levels)
    if pretrained:
        file = download_timm_weights(name)
        with _readable(file):
            model.load(file)
    return model


@contextmanager
def _readable(weights: Path | None) -> Iterator[None]:
    try:
        yield
    except (OSError, SafetensorError) as error:
        raise ModelError(f"the pretrained weights in {weights} cannot be read ({error}); delete the file") from error
