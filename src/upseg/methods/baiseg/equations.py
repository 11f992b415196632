"""The numbered equations of the paper (Wang and Bai), one pure function each, and the loss of a batch.

Paper: "BAISeg: Boundary Assisted Weakly Supervised Instance Segmentation", Sec. 3. Eq. 1 is in `pixel_losses.py`,
Eq. 6 in `contrast.py`. The losses of Eq. 1 and of the classes are means over the pixels of an image, and then the mean
over the images of the batch is taken, in which an image without a labelled pixel counts as 0. Arithmetic of the losses
is in float32 (float64 for float64 input) throughout.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import conv2d

from upseg.functional.precision import wide
from upseg.functional.ranges import check_loss_weights
from upseg.methods.baiseg.contrast import pixel_contrast, weighted_contrast
from upseg.methods.baiseg.pixel_losses import boundary_loss, semantic_loss


@dataclass(frozen=True, slots=True)
class LossWeights:
    """Eq. 7's weights, and how pixels are contrasted. A term with weight 0 is not computed.

    Attributes:
        contrast: Of L_P, Eq. 6.
        boundary: Of L_B, Eq. 1.
        semantic: Of L_S, the cross-entropy of the classes.
        temperature: τ of Eq. 6, above 0.
        anchors: The most pixels of a batch that Eq. 6 is computed for.
        keys: The most that each of them is compared with. The contrast needs some 12 bytes times anchors times keys.
    """

    contrast: float = 0.3
    boundary: float = 50.0
    semantic: float = 1.0
    temperature: float = 0.2
    anchors: int = 1024
    keys: int = 2048

    def __post_init__(self) -> None:
        check_loss_weights(self, ("contrast", "boundary", "semantic"))
        if not 0 < self.temperature < math.inf:
            raise ValueError(f"temperature must be a finite number above 0, got {self.temperature}")
        for name in ("anchors", "keys"):
            if getattr(self, name) < 2:
                raise ValueError(f"{name} must be at least 2, one for each kind of pixel, got {getattr(self, name)}")


@dataclass(frozen=True, slots=True)
class BaisegLosses:
    """The loss of a batch and its terms, all scalars; unweighted, 0 where the weight is 0 or the output is missing.

    Attributes:
        total: L, Eq. 7.
        contrast: L_P, Eq. 6.
        boundary: L_B, Eq. 1.
        semantic: L_S.
    """

    total: Float[Tensor, ""]
    contrast: Float[Tensor, ""]
    boundary: Float[Tensor, ""]
    semantic: Float[Tensor, ""]

    def terms(self) -> dict[str, Float[Tensor, ""]]:
        """Every attribute by its name, for the log."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def channel_attention(
    average_response: Float[Tensor, "b c 1 1"], maximum_response: Float[Tensor, "b c 1 1"]
) -> Float[Tensor, "b c 1 1"]:
    """How much each channel is attended to.

    Paper: Eq. 2, Sec. 3.3.2. F_c = sigmoid(MLP(AvgPool_c(f)) + MLP(MaxPool_c(f))).

    Args:
        average_response: (B, C, 1, 1) of the MLP to the mean of each channel.
        maximum_response: (B, C, 1, 1) of the same MLP to its maximum.

    Returns:
        (B, C, 1, 1) in [0, 1].
    """
    return (average_response + maximum_response).sigmoid()


def spatial_attention(response: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b 1 h w"]:
    """How much each pixel is attended to.

    Paper: Eq. 3, Sec. 3.3.2. F_s = sigmoid(Conv7x7([AvgPool_s(f); MaxPool_s(f)])).

    Args:
        response: (B, 1, H, W) of the convolution to the mean and the maximum over the channels.

    Returns:
        (B, 1, H, W) in [0, 1].
    """
    return response.sigmoid()


def identity_transform(
    features: Float[Tensor, "b c h w"], weight: Float[Tensor, "o c 1 1"], bias: Float[Tensor, " o"] | None = None
) -> Float[Tensor, "b o h w"]:
    """The features past the attention, so that nothing is lost in it.

    Paper: Eq. 4, Sec. 3.3.2. F_h = Conv1x1(f).

    Args:
        features: (B, C, H, W) f.
        weight: (O, C, 1, 1) of the convolution.
        bias: (O,); None for none.
    """
    return conv2d(features, weight, bias)


def mutual_attention(
    features: Float[Tensor, "b c h w"],
    channel: Float[Tensor, "b c 1 1"],
    spatial: Float[Tensor, "b 1 h w"],
    identity: Float[Tensor, "b c h w"],
    beta: Float[Tensor, ""] | Float[Tensor, " 1"],
) -> Float[Tensor, "b c h w"]:
    """The features with both attentions added to them.

    Paper: Eq. 5, Sec. 3.3.2. F_att = F_h + (f x F_c + f x F_s) x beta, element by element.

    Args:
        features: (B, C, H, W) f.
        channel: (B, C, 1, 1) F_c of `channel_attention`.
        spatial: (B, 1, H, W) F_s of `spatial_attention`.
        identity: (B, C, H, W) F_h of `identity_transform`.
        beta: A learned number.
    """
    return identity + (features * channel + features * spatial) * beta


def total_loss(
    contrast: Float[Tensor, ""],
    boundary: Float[Tensor, ""],
    semantic: Float[Tensor, ""],
    weights: LossWeights | None = None,
) -> Float[Tensor, ""]:
    """The loss of a batch from its three terms.

    Paper: Eq. 7, Sec. 3.5. L = alpha L_P + beta L_B + gamma L_S, with the weights 0.3, 50 and 1.
    """
    weights = weights or LossWeights()
    return weights.contrast * contrast + weights.boundary * boundary + weights.semantic * semantic


def joined(levels: Sequence[Float[Tensor, "b _ h w"]]) -> Float[Tensor, "b c h w"]:
    """The levels of the encoder, each at the same size, side by side.

    Paper: Eq. 8, Appendix. The channels of all levels one after the other, in the order of the levels.
    """
    return torch.cat(list(levels), dim=1)


def baiseg_losses(
    outputs: Mapping[str, Tensor],
    targets: Mapping[str, Tensor],
    weights: LossWeights | None = None,
    generator: torch.Generator | None = None,
) -> BaisegLosses:
    """All losses of a batch, for the outputs that the network has.

    Args:
        outputs: One or more of `boundary` (B, 1, H, W) logits, `semantic` (B, C, H, W) logits and `projection`
            (B, d, h, w).
        targets: Those of `BaisegTargets` that the outputs need: for `boundary` and `projection` the maps `boundary` and
            `valid` (B, H, W), for `semantic` the positions `classes` (B, H, W), below 0 ignored.
        weights: Of the losses; the paper's by default.
        generator: Draws the pixels that are contrasted; None for torch's own.

    Raises:
        ValueError: If there is no output whose loss has a weight, an unknown one, or targets are missing or of another
            size.
    """
    weights = weights or LossWeights()
    _check(outputs, targets, weights)
    terms: dict[str, Tensor] = {}
    with torch.autocast(next(iter(outputs.values())).device.type, enabled=False):
        if "projection" in outputs and weights.contrast:
            options = (weights.temperature, weights.anchors, weights.keys, generator)
            terms["contrast"] = pixel_contrast(
                wide(outputs["projection"]), targets["boundary"], targets["valid"], *options
            )
        if "boundary" in outputs and weights.boundary:
            terms["boundary"] = boundary_loss(wide(outputs["boundary"]), targets["boundary"], targets["valid"])
        if "semantic" in outputs and weights.semantic:
            terms["semantic"] = semantic_loss(wide(outputs["semantic"]), targets["classes"])
    zero = next(iter(terms.values())).new_zeros(())
    found = {name: terms.get(name, zero) for name in ("contrast", "boundary", "semantic")}
    return BaisegLosses(**found, total=total_loss(**found, weights=weights))


def _check(outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor], weights: LossWeights) -> None:
    unknown = sorted(outputs.keys() - TARGETS.keys())
    if unknown:
        raise ValueError(f"outputs must be of {', '.join(TARGETS)}, got {', '.join(unknown)}")
    if not any(getattr(weights, _TERMS[name]) for name in outputs):
        raise ValueError(f"no loss of the outputs {', '.join(outputs) or '(none)'} has a weight above 0: {weights}")
    for name, output in outputs.items():
        missing = [target for target in TARGETS[name] if target not in targets]
        if missing:
            raise ValueError(f"the output {name} needs the targets {', '.join(TARGETS[name])}, missing {missing}")
        for target in TARGETS[name]:
            shape = targets[target].shape
            if len(shape) != 3 or shape[0] != len(output) or (name != "projection" and shape[1:] != output.shape[2:]):
                raise ValueError(
                    f"the output {name} is {tuple(output.shape)}, its targets must be as large, "
                    f"got {target} of {tuple(shape)}"
                )


_TERMS = {"boundary": "boundary", "semantic": "semantic", "projection": "contrast"}

TARGETS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"boundary": ("boundary", "valid"), "semantic": ("classes",), "projection": ("boundary", "valid")}
)
"""The targets of each output."""

EQUATIONS: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        "1": boundary_loss,
        "2": channel_attention,
        "3": spatial_attention,
        "4": identity_transform,
        "5": mutual_attention,
        "6": weighted_contrast,
        "7": total_loss,
        "8": joined,
    }
)
