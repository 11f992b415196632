"""Vision transformers of the timm library as extractors of the patch tokens of several of their layers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from upseg.errors import ModelError
from upseg.layers.backbone import ImageBackbone, create_timm_model

POSITION_AMPLITUDE = 0.25
"""Of the sines and cosines that position embeddings start as."""
_NEEDED = "be a vision transformer for images of any size, as vit_base_patch14_dinov2 or vit_tiny_patch16_224 are"
_LAYERS = {12: (3, 6, 9, 12), 24: (5, 12, 18, 24)}  # by depth: Prisadnikov et al., Sec. 5.1


class VitBackbone(ImageBackbone):
    """The patch tokens of several layers of a timm vision transformer, for RGB images of any size from 1x1 up.

    Images are padded up to a multiple of the model's own patch size, and its position embeddings are resampled to the
    number of patches. Each layer's tokens pass the model's last normalisation, as in DINOv2's own dense heads; a model
    that normalises only the mean of its tokens does that with each of them here. Without published weights the position
    embeddings start as sines and cosines (Vaswani et al., 2017) in place of timm's faint noise, from which a network
    takes long to learn where a patch is. What the layers do not need (later
    blocks, the classifier) is not part of the module, so that each parameter gets a gradient.

    Args:
        name: A name that `timm.list_models()` knows, with or without a tag.
        layers: Which blocks' tokens to give out, counted from 1, in growing order; None for `default_layers`.
        patch: Side of the patches in pixels, other than the model's own; published weights are resampled to it.
        pretrained: Whether to start from published weights, downloaded once from the Hugging Face Hub.

    Attributes:
        patch: Side of a patch, in pixels of the image; where convolutions come first, that of a token.
        layers: As given, or chosen.
        channels: Of every layer, in their order.

    Raises:
        ModelError: If there is no model of that name, it is no vision transformer with square patches for images of any
            size, it has no such layers or patches, or its weights cannot be had.
    """

    def __init__(
        self, name: str, layers: Sequence[int] | None = None, *, patch: int | None = None, pretrained: bool = False
    ) -> None:
        options: dict[str, Any] = {"num_classes": 0, "dynamic_img_size": True}
        if patch is not None:
            if patch < 1:
                raise ModelError(f"the side of a patch must be at least 1 pixel, got {patch}")
            options["patch_size"] = patch
        model = create_timm_model(name, options, pretrained=pretrained, needed=_NEEDED)
        super().__init__(name, model, multiple=_patch_size(name, model))
        self.patch = self.multiple
        self.layers = default_layers(len(model.blocks)) if layers is None else tuple(layers)
        _check_layers(name, self.layers, len(model.blocks))
        if not pretrained:
            _start_with_positions(model)
        if isinstance(model.norm, nn.Identity):
            model.norm = model.fc_norm
        model.prune_intermediate_layers([layer - 1 for layer in self.layers], prune_norm=False, prune_head=True)
        self.channels = [int(model.embed_dim)] * len(self.layers)

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> list[Float[Tensor, "b c h2 w2"]]:
        """Compute the layers' tokens of RGB images in [0, 1].

        Returns:
            One (B, channels[i], H' / patch, W' / patch) map per layer, where H' and W' are `padded_size((H, W))`.
        """
        tokens: list[Tensor] = self.model.forward_intermediates(
            self.prepare(images), indices=[layer - 1 for layer in self.layers], norm=True, intermediates_only=True
        )
        return tokens


def default_layers(depth: int) -> tuple[int, ...]:
    """The four layers, counted from 1, of a transformer with so many that a decoder takes; fewer if it has fewer.

    Paper: Prisadnikov et al., Sec. 5.1: 3, 6, 9 and 12 of 12, and 5, 12, 18 and 24 of 24. Of other depths: evenly
    spaced, the last one included.
    """
    return _LAYERS.get(depth) or tuple(sorted({math.ceil(depth * quarter / 4) for quarter in range(1, 5)}))


def _start_with_positions(model: Any) -> None:
    """Sines and cosines for the position embeddings of patches, if there are any; prefix tokens keep theirs."""
    from timm.layers.pos_embed_sincos import build_sincos2d_pos_embed

    if model.pos_embed is None or model.embed_dim % 4:  # rotary ones alone; a width without room for both axes
        return
    with torch.no_grad():
        patches = model.pos_embed[0, -model.patch_embed.num_patches :]
        waves = build_sincos2d_pos_embed(list(model.patch_embed.grid_size), int(model.embed_dim))
        patches.copy_(POSITION_AMPLITUDE * waves)


def _patch_size(name: str, model: Any) -> int:
    """Side in image pixels of what one token stands for, the same in all layers; other models are refused."""
    height, width = getattr(getattr(model, "patch_embed", None), "patch_size", (0, 0))
    sides = {level["reduction"] for level in model.feature_info}  # of a hybrid with convolutions more than its patches
    if not (height == width > 0 and len(sides) == 1 and hasattr(model, "blocks")):
        raise ModelError(f"{name} cannot serve as a backbone: it has to {_NEEDED}, with square patches")
    return int(sides.pop())


def _check_layers(name: str, layers: tuple[int, ...], depth: int) -> None:
    if not layers or list(layers) != sorted(set(layers)) or not (layers[0] >= 1 and layers[-1] <= depth):
        raise ModelError(f"{name} has the layers 1 to {depth}; those to take must be some, growing, got {layers}")
