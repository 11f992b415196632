"""The loss of a batch: the weights of Eq. 7, and the pixels of the whole batch that Eq. 6 contrasts.

Arithmetic is in float32 (float64 for float64 input) throughout.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn.functional import max_pool2d, normalize, pad

from upseg.functional.precision import wide
from upseg.functional.ranges import check_loss_weights
from upseg.methods.baiseg.equations import balance, boundary_loss, semantic_loss, total_loss, weighted_contrast


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
        anchor_kinds: `boundary` pixels are anchors, as Eq. 6 says, or `both` kinds.
        weighted: Whether Eq. 6 has its factors of alpha; without them it is the plain contrast of Table 9.
        hard: Whether half of the anchors are drawn among those that the boundary map gets wrong (Wang et al. 2021,
            "Exploring Cross-Image Pixel Contrast", the paper's source for L_P), where there are so many.
    """

    contrast: float = 0.3
    boundary: float = 50.0
    semantic: float = 1.0
    temperature: float = 0.2
    anchors: int = 1024
    keys: int = 2048
    anchor_kinds: Literal["boundary", "both"] = "boundary"
    weighted: bool = True
    hard: bool = False

    def __post_init__(self) -> None:
        if self.anchor_kinds not in ("boundary", "both"):
            raise ValueError(f"anchor_kinds must be 'boundary' or 'both', got {self.anchor_kinds!r}")
        check_loss_weights(self, ("contrast", "boundary", "semantic"))
        if not 0 < self.temperature < math.inf:
            raise ValueError(f"temperature must be a finite number above 0, got {self.temperature}")
        for name in ("anchors", "keys"):
            if getattr(self, name) < 2:
                raise ValueError(f"{name} must be at least 2, one for each kind of pixel, got {getattr(self, name)}")


def baiseg_losses(
    outputs: Mapping[str, Tensor],
    targets: Mapping[str, Tensor],
    loss_weights: LossWeights | None = None,
    generator: torch.Generator | None = None,
) -> dict[str, Float[Tensor, ""]]:
    """All losses of a batch, for the outputs that the network has.

    Args:
        outputs: One or more of `boundary` (B, 1, H, W) logits, `semantic` (B, C, H, W) logits and `projection`
            (B, d, h, w).
        targets: Those of `BaisegTargets` that the outputs need: for `boundary` and `projection` the maps `boundary` and
            `valid` (B, H, W), for `semantic` the positions `classes` (B, H, W), below 0 ignored.
        loss_weights: Of the losses; the paper's by default.
        generator: Draws the pixels that are contrasted; None for torch's own.

    Returns:
        `total`, Eq. 7, and its terms `contrast`, Eq. 6, `boundary`, Eq. 1, and `semantic`, all scalars, unweighted, 0
        where the weight is 0 or the output is missing.

    Raises:
        ValueError: If there is no output whose loss has a weight, an unknown one, or targets are missing or of another
            size.
    """
    loss_weights = loss_weights or LossWeights()
    _check(outputs, targets, loss_weights)
    terms: dict[str, Tensor] = {}
    with torch.autocast(next(iter(outputs.values())).device.type, enabled=False):
        if "projection" in outputs and loss_weights.contrast:
            hard = loss_weights.hard and "boundary" in outputs
            predicted = outputs["boundary"].detach()[:, 0] > 0 if hard else None
            terms["contrast"] = pixel_contrast(
                wide(outputs["projection"]), targets["boundary"], targets["valid"], loss_weights, generator, predicted
            )
        if "boundary" in outputs and loss_weights.boundary:
            terms["boundary"] = boundary_loss(wide(outputs["boundary"]), targets["boundary"], targets["valid"])
        if "semantic" in outputs and loss_weights.semantic:
            terms["semantic"] = semantic_loss(wide(outputs["semantic"]), targets["classes"])
    zero = next(iter(terms.values())).new_zeros(())
    found = {name: terms.get(name, zero) for name in ("contrast", "boundary", "semantic")}
    chosen = loss_weights.contrast, loss_weights.boundary, loss_weights.semantic
    return {"total": total_loss(**found, loss_weights=chosen), **found}


def pixel_contrast(
    projection: Float[Tensor, "b d h w"],
    boundary: Bool[Tensor, "b hi wi"],
    valid: Bool[Tensor, "b hi wi"],
    weights: LossWeights | None = None,
    generator: torch.Generator | None = None,
    predicted: Bool[Tensor, "b hi wi"] | None = None,
) -> Float[Tensor, ""]:
    """Eq. 6 on pixels drawn from all images of the batch together.

    Args:
        projection: (B, d, h, w) what the network projects features to, not yet `bounded`.
        boundary: (B, H, W) Y at the size of the images; alpha is that of all its valid pixels.
        valid: (B, H, W) the pixels of which Y is known.
        weights: How many pixels are contrasted, and how; the paper's by default. Keys are drawn anew, so some are
            anchors too.
        generator: Of the random choices; None for torch's own.
        predicted: (B, H, W) where the boundary map has boundaries, for `weights.hard`; None for no such preference.

    Returns:
        A scalar, at least 0; 0 if the batch does not have both kinds of pixels.
    """
    weights = weights or LossWeights()
    height, width = projection.shape[-2:]
    is_boundary, is_valid = cell_labels(boundary, valid, (height, width))
    flat = bounded(wide(projection)).movedim(1, -1).flatten(0, 2)  # (b h w, d)
    both = weights.anchor_kinds == "both"
    candidates = is_valid if both else is_valid & is_boundary
    anchor = sample_pixels(is_boundary, candidates, weights.anchors, generator)
    if predicted is not None:
        wrong = candidates & (cell_labels(predicted, valid, (height, width))[0] != is_boundary)
        hard = sample_pixels(is_boundary, wrong, weights.anchors // 2, generator)
        anchor = torch.cat([hard, anchor[~torch.isin(anchor, hard)][: weights.anchors - len(hard)]])
    key = sample_pixels(is_boundary, is_valid, weights.keys, generator)
    kinds = is_boundary.flatten()
    alpha = balance(boundary.flatten(0, 1)[None], valid.flatten(0, 1)[None])[0]
    same = anchor[:, None] == key
    return weighted_contrast(
        flat[anchor],
        kinds[anchor],
        flat[key],
        kinds[key],
        alpha,
        weights.temperature,
        same,
        both_kinds=both,
        weighted=weights.weighted,
    )


def bounded(projection: Float[Tensor, "b d h w"]) -> Float[Tensor, "b d h w"]:
    """Embeddings whose products lie in [-1, 1], as the temperature expects.

    The paper has one dimension, where unit length would leave no more than a sign: that number goes through tanh. More
    dimensions are brought to unit length.
    """
    return projection.tanh() if projection.shape[1] == 1 else normalize(projection, dim=1)


@torch.no_grad()
def cell_labels(
    boundary: Bool[Tensor, "b hi wi"], valid: Bool[Tensor, "b hi wi"], size: tuple[int, int]
) -> tuple[Bool[Tensor, "b h w"], Bool[Tensor, "b h w"]]:
    """What the pixels of a coarser map are, each of which stands for a square cell of the image.

    The side of a cell is the smallest power of 2 with which the map covers the image; cells beyond the image's last row
    or column are padding, which must be less than half of the map.

    Args:
        boundary: (B, H, W).
        valid: (B, H, W) the pixels whose label is known.
        size: (h, w) of the coarser map.

    Returns:
        (B, h, w) whether a cell has a boundary pixel; and whether that is known: because it has one, or because all its
        pixels are valid.
    """
    rows, columns = boundary.shape[-2:]
    side = 1
    while side * size[0] < rows or side * size[1] < columns:
        side *= 2
    margin = (0, side * size[1] - columns, 0, side * size[0] - rows)
    kinds = torch.stack([boundary & valid, valid, ~valid], 1).float()
    found, known, unknown = (max_pool2d(pad(kinds, margin), side) > 0).unbind(1)
    return found, found | (known & ~unknown)


@torch.no_grad()
def sample_pixels(
    boundary: Bool[Tensor, "b h w"],
    valid: Bool[Tensor, "b h w"],
    count: int,
    generator: torch.Generator | None = None,
) -> Int64[Tensor, " n"]:
    """Draw pixels of a batch without replacement: half of them boundary, half not.

    Where one kind has too few, the other fills up. The choice is made on the generator's device (on the CPU without
    one), so it is the same wherever the maps are.

    Args:
        boundary: (B, H, W).
        valid: (B, H, W) the pixels that can be drawn.
        count: The most pixels, at least 0.
        generator: None for torch's own.

    Returns:
        (n,) indices into the B H W pixels, those of boundaries first; n is `count`, or the number of valid pixels.
    """
    edges = (boundary & valid).flatten().nonzero()[:, 0]
    others = (~boundary & valid).flatten().nonzero()[:, 0]
    share = min(len(edges), max(count // 2, count - len(others)))
    parts = []
    for pixels, number in ((edges, share), (others, min(len(others), count - share))):
        device = "cpu" if generator is None else generator.device
        order = torch.randperm(len(pixels), generator=generator, device=device)
        parts.append(pixels[order[:number].to(pixels.device)])
    return torch.cat(parts)


def _check(outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor], loss_weights: LossWeights) -> None:
    unknown = sorted(outputs.keys() - TARGETS.keys())
    if unknown:
        raise ValueError(f"outputs must be of {', '.join(TARGETS)}, got {', '.join(unknown)}")
    if not any(getattr(loss_weights, _TERMS[name]) for name in outputs):
        raise ValueError(
            f"no loss of the outputs {', '.join(outputs) or '(none)'} has a weight above 0: {loss_weights}"
        )
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
