"""All losses of a batch."""

from __future__ import annotations

from dataclasses import asdict
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from upseg.functional.precision import full_precision, wide
from upseg.methods.entity.contrast import regional_contrast_loss
from upseg.methods.entity.equations import (
    SCALES,
    LossWeights,
    attraction_loss,
    dominant_lines,
    repulsion_loss,
    segment_losses,
    segment_space,
    total_loss,
    unit_features,
    unit_length_loss,
)
from upseg.methods.entity.extensions.reach import neighbour_table
from upseg.methods.entity.pixels import similarity_table


@full_precision
def entity_losses(
    raw: Float[Tensor, "b d h w"],
    labels: Int64[Tensor, "b h w"],
    *,
    seeds: Int64[Tensor, " b"],
    loss_weights: LossWeights | None = None,
    background: Literal["unlabelled", "void"] = "unlabelled",
    reach: int | None = None,
    queries: int = 256,
    negatives: int = 512,
) -> dict[str, Float[Tensor, ""]]:
    """All losses of a batch.

    Args:
        raw: (B, d, H, W) output of the network.
        labels: (B, H, W) k >= 1 entity, 0 background, below 0 ignored.
        seeds: (B,) one for each image, of the random choices of L_rc.
        loss_weights: Of Eq. 9; the paper's by default.
        background: What pixels with label 0 are. `unlabelled`: anything, as in the paper; `void`: no object, one
            entity more, whose line is e_1 in every image.
        reach: Entities whose bounding boxes have more pixels than that between them may share a line; None for the
            paper's: all are told apart.
        queries: Of L_rc, per entity at most.
        negatives: Of L_rc, per entity.

    Returns:
        `total`, Eq. 9; its terms by the names of `LossWeights`, unweighted, 0 where the weight is 0; and `degenerate`,
        the share of the segments left out of the segment-space losses, mean over the images, 0 where these are not
        computed (without `reach` an image is left out as a whole).

    Raises:
        ValueError: If `background` is neither, or sizes do not agree.
    """
    _check_batch(raw, labels, seeds, background)
    loss_weights = loss_weights or LossWeights()
    terms: dict[str, Tensor] = {}
    zero = raw.new_zeros((), dtype=wide(raw[:0]).dtype)
    degenerate = zero
    if loss_weights.unit_length:
        terms["unit_length"] = unit_length_loss(raw, labels >= 0)
    if any(value for name, value in asdict(loss_weights).items() if name != "unit_length"):
        features, void = unit_features(raw), background == "void"
        count = max(0, int(labels.max()))
        lines, present = _target_lines(features.detach(), labels, count, void)
        near = None if reach is None else neighbour_table(labels, count, reach)
        entities, with_line = present.clone(), present.clone()
        entities[:, 0] &= void
        with_line[:, 0] |= void  # e_1 is the background's also where an image has none
        if loss_weights.attraction or loss_weights.repulsion:
            table = similarity_table(features, labels, lines)
        if loss_weights.attraction:
            terms["attraction"] = attraction_loss(table, entities)
        if loss_weights.repulsion:
            terms["repulsion"] = repulsion_loss(table, with_line, near)
        if loss_weights.segment or loss_weights.gradient:
            rows = entities.clone()
            rows[:, 0] = void
            space = segment_space(lines, rows, near)
            found = segment_losses(features, labels, space, near, SCALES if loss_weights.gradient else 0)
            chosen = zip(("segment", "gradient"), found, strict=True)
            terms |= {name: value for name, value in chosen if getattr(loss_weights, name)}
            left_out = (space.rows & ~space.usable).sum(1) / space.rows.sum(1).clamp_min(1)
            degenerate = left_out.to(zero.dtype).mean()
        if loss_weights.contrast:
            terms["contrast"] = regional_contrast_loss(
                features, labels, lines, entities, seeds, near, queries, negatives
            )
    known = {name: terms.get(name, zero) for name in asdict(loss_weights)}
    return {"total": total_loss(terms, loss_weights), **known, "degenerate": degenerate}


def _target_lines(
    features: Float[Tensor, "b d h w"], labels: Int64[Tensor, "b h w"], count: int, void: bool
) -> tuple[Float[Tensor, "b rows d"], Bool[Tensor, "b rows"]]:
    """Eq. 4, and e_1 for a background that is void."""
    if not void:
        return dominant_lines(features, labels, count)
    lines, present = dominant_lines(features, torch.where(labels == 0, -1, labels), count)
    lines[:, 0, 0] = 1
    present[:, 0] = (labels == 0).flatten(1).any(1)
    return lines, present


def _check_batch(raw: Tensor, labels: Tensor, seeds: Tensor, background: str) -> None:
    if background not in ("unlabelled", "void"):
        raise ValueError(f"background must be one of unlabelled, void, got {background!r}")
    if labels.shape != (raw.shape[0], *raw.shape[2:]) or seeds.shape != raw.shape[:1]:
        raise ValueError(
            f"raw (B, d, H, W), labels (B, H, W) and seeds (B,) must agree, got {tuple(raw.shape)}, "
            f"{tuple(labels.shape)} and {tuple(seeds.shape)}"
        )
