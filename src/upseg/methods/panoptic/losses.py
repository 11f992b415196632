"""The loss of a batch: the sum of all losses of `equations.py`, for the heads that the network has.

Arithmetic is in float32 (float64 for float64 input) throughout.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from types import MappingProxyType

import torch
from jaxtyping import Float
from torch import Tensor

from upseg.functional.precision import wide
from upseg.functional.ranges import check_loss_weights
from upseg.methods.panoptic.encodings import Encoding
from upseg.methods.panoptic.equations import (
    cross_entropy,
    dice_loss,
    log_metric_depth,
    metric_depth_loss,
    relative_depth_loss,
    semantic_smoothness,
    weighted_pixel_mean,
)
from upseg.metrics.depth_errors import MINIMUM_DEPTH


@dataclass(frozen=True, slots=True)
class LossWeights:
    """What each loss counts. One with weight 0 is not computed.

    Attributes:
        semantic: Of the cross-entropy of the classes, by Eq. 1.
        instance: Of the encoding's loss, Eq. 4 by Eq. 1.
        depth: Of Eq. 6 or 9.
        total_variation: Of the instance head, Eq. 10.
        semantic_smoothness: Eq. 11.
        dice: Eq. 12.
    """

    semantic: float = 1.0
    instance: float = 1.0
    depth: float = 1.0
    total_variation: float = 0.1
    semantic_smoothness: float = 0.1
    dice: float = 1.0

    def __post_init__(self) -> None:
        check_loss_weights(self, (field.name for field in fields(self)))


def panoptic_losses(
    outputs: Mapping[str, Tensor],
    targets: Mapping[str, Tensor],
    encoding: Encoding,
    loss_weights: LossWeights | None = None,
    maximum_depth: float | None = None,
) -> dict[str, Float[Tensor, ""]]:
    """All losses of a batch, for the heads that the network has outputs of.

    Args:
        outputs: Of the network, one or more of `semantic` (B, N, h, w) logits, `instance` (B, C, h, w) and
            `depth` (B, 1, h, w).
        targets: Those of `PanopticTargets` that the heads need: `semantic` (B, h, w) positions of classes, below 0
            ignored, and `semantic_weight` (B, h, w); `centre` (B, 2, h, w), `inside` (B, h, w), `instances` (B, h, w)
            ids from 1 on, 0 none, below 0 ignored, and `instance_weight` (B, h, w); `depth` (B, h, w), 0 where it is
            not known, metres or, without `maximum_depth`, disparities of any shift and scale.
        encoding: What the channels of `instance` mean.
        loss_weights: Of the losses; the paper's and `PAPER.md`'s by default.
        maximum_depth: Metres that the depth head reaches, for metric depth: valid depths go from 1 mm to there. None
            for relative depth.

    Returns:
        `total`, the weighted sum, and its terms by the names of `LossWeights`, all scalars, unweighted, 0 where the
        weight is 0 or the head is off.

    Raises:
        ValueError: If there is no output, one of an unknown head, or sizes do not agree.
    """
    _check_sizes(outputs, targets)
    loss_weights = loss_weights or LossWeights()
    terms: dict[str, Tensor] = {}
    with torch.autocast(next(iter(outputs.values())).device.type, enabled=False):
        if "semantic" in outputs:
            terms |= _semantic_terms(wide(outputs["semantic"]), targets, loss_weights)
        if "instance" in outputs:
            terms |= _instance_terms(wide(outputs["instance"]), targets, encoding, loss_weights)
        if "depth" in outputs and loss_weights.depth:
            terms["depth"] = _depth_loss(wide(outputs["depth"])[:, 0], targets["depth"], maximum_depth)
    if not terms:
        raise ValueError(f"no loss of the heads {', '.join(outputs)} has a weight above 0: {loss_weights}")
    total = torch.stack([getattr(loss_weights, name) * value for name, value in terms.items()]).sum()
    zero = total.new_zeros(())
    return {"total": total, **{name: terms.get(name, zero) for name in asdict(loss_weights)}}


def _semantic_terms(
    logits: Float[Tensor, "b n h w"], targets: Mapping[str, Tensor], loss_weights: LossWeights
) -> dict[str, Float[Tensor, ""]]:
    terms: dict[str, Tensor] = {}
    log_probabilities = logits.log_softmax(1)
    if loss_weights.semantic:
        labels = targets["semantic"]
        losses = cross_entropy(log_probabilities, labels)
        terms["semantic"] = weighted_pixel_mean(losses, targets["semantic_weight"] * (labels >= 0))
    if loss_weights.semantic_smoothness:
        terms["semantic_smoothness"] = semantic_smoothness(log_probabilities)
    return terms


def _instance_terms(
    predicted: Float[Tensor, "b c h w"], targets: Mapping[str, Tensor], encoding: Encoding, loss_weights: LossWeights
) -> dict[str, Float[Tensor, ""]]:
    if predicted.shape[1] != encoding.channels:
        raise ValueError(f"{encoding} has {encoding.channels} channels, the network's output {predicted.shape[1]}")
    terms: dict[str, Tensor] = {}
    centres, labels = targets["centre"].to(predicted.dtype), targets["instances"]
    if loss_weights.instance:
        losses = encoding.pixel_loss(predicted, centres, targets["inside"])
        terms["instance"] = weighted_pixel_mean(losses, targets["instance_weight"] * (labels >= 0))
    if loss_weights.total_variation:
        terms["total_variation"] = encoding.total_variation(predicted)
    if loss_weights.dice:
        terms["dice"] = dice_loss(predicted, centres, labels, encoding.squared_distances)
    return terms


def _depth_loss(
    output: Float[Tensor, "b h w"], truth: Float[Tensor, "b h w"], maximum: float | None
) -> Float[Tensor, ""]:
    if maximum is None:
        return relative_depth_loss(output, truth.to(output.dtype), truth > 0)
    valid = (truth >= MINIMUM_DEPTH) & (truth <= maximum)
    return metric_depth_loss(log_metric_depth(output, maximum), truth.to(output.dtype), valid)


def _check_sizes(outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> None:
    if not outputs or not outputs.keys() <= TARGETS.keys():
        raise ValueError(f"outputs must be one or more of {', '.join(TARGETS)}, got {', '.join(outputs) or 'none'}")
    for head, output in outputs.items():
        missing = [name for name in TARGETS[head] if name not in targets]
        if missing:
            raise ValueError(f"the head {head} needs the targets {', '.join(TARGETS[head])}, missing {missing}")
        size = (len(output), *output.shape[-2:])
        wrong = [name for name in TARGETS[head] if (len(targets[name]), *targets[name].shape[-2:]) != size]
        if wrong:
            shapes = {name: tuple(targets[name].shape) for name in wrong}
            raise ValueError(f"the output {head} is {tuple(output.shape)}, its targets must be as large, got {shapes}")


TARGETS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "semantic": ("semantic", "semantic_weight"),
        "instance": ("centre", "inside", "instances", "instance_weight"),
        "depth": ("depth",),
    }
)
"""The targets of each head."""
