"""The numbered equations of the paper (Dille et al.), one pure function each, and the loss of a batch.

Paper: "A Bottom-Up Approach to Class-Agnostic Image Segmentation", Sec. 3. Eq. 1 to 3 are in `projective.py`, Eq. 4 in
`lines.py`, Eq. 7 and 8 in `segment_space.py`, L_rc in `contrast.py`. Tables have the background in row 0 and the
entities in rows 1..K (see `pixels.py`). Each loss is computed per image, and then the mean over the images of the batch
is taken, in which an image without the entities that it needs counts as 0. Arithmetic is in float32 (float64 for
float64 input) throughout.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from types import MappingProxyType
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from upseg.functional.precision import full_precision, wide
from upseg.functional.ranges import check_loss_weights
from upseg.methods.entity.contrast import regional_contrast_loss
from upseg.methods.entity.lines import EigenMethod, dominant_lines, neighbour_table
from upseg.methods.entity.projective import projective_distance, unit_features, unit_length_loss
from upseg.methods.entity.segment_space import SCALES, segment_losses, segment_space
from upseg.methods.entity.similarity import similarity_table


@dataclass(frozen=True, slots=True)
class LossWeights:
    """λ of Eq. 9. A term with weight 0 is not computed.

    Attributes:
        attraction: Of L_a.
        repulsion: Of L_r.
        segment: Of L_s.
        contrast: λ_rc.
        gradient: λ_g.
        unit_length: λ_u.
    """

    attraction: float = 1.0
    repulsion: float = 1.0
    segment: float = 1.0
    contrast: float = 0.125
    gradient: float = 0.025
    unit_length: float = 0.05

    def __post_init__(self) -> None:
        check_loss_weights(self, (field.name for field in fields(self)))


@dataclass(frozen=True, slots=True)
class EntityLosses:
    """The loss of a batch and its terms, all scalars.

    Attributes:
        total: L, Eq. 9.
        attraction: L_a, and so on: unweighted; 0 where the weight is 0.
        degenerate: Share of the segments left out of the segment-space losses, mean over the images; 0 where these are
            not computed. Without `reach` an image is left out as a whole.
    """

    total: Float[Tensor, ""]
    attraction: Float[Tensor, ""]
    repulsion: Float[Tensor, ""]
    segment: Float[Tensor, ""]
    contrast: Float[Tensor, ""]
    gradient: Float[Tensor, ""]
    unit_length: Float[Tensor, ""]
    degenerate: Float[Tensor, ""]

    def terms(self) -> dict[str, Float[Tensor, ""]]:
        """Every attribute by its name, for the log."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def attraction_loss(
    table: Float[Tensor, "b rows rows"], present: Bool[Tensor, "b rows"], background_is_entity: bool = False
) -> Float[Tensor, ""]:
    """L_a: the mean distance of the pixels of each entity from its line.

    Paper: Eq. 5, Sec. 3.4. L_a = 1/K Σ_k 1/|E_k| Σ_{i in E_k} (1 - |f_i . μ_k|).

    Args:
        table: (B, K + 1, K + 1) of `similarity_table`.
        present: (B, K + 1) which rows have pixels.
        background_is_entity: Whether row 0 is one of the K.

    Returns:
        A scalar in [0, 1].
    """
    rows = present.clone()
    rows[:, 0] &= background_is_entity
    distances = (1 - table.diagonal(dim1=1, dim2=2)) * rows
    return (distances.sum(1) / rows.sum(1).clamp_min(1)).mean()


def repulsion_loss(
    table: Float[Tensor, "b rows rows"],
    present: Bool[Tensor, "b rows"],
    neighbours: Bool[Tensor, "b rows rows"] | None = None,
) -> Float[Tensor, ""]:
    """L_r: the mean similarity of the pixels of each entity, and of the background, to the lines of all others.

    Paper: Eq. 6, Sec. 3.4. L_r = 1/√(K + 1) (L_r^BG + Σ_k 1/|E_k| Σ_{l≠k} Σ_{i in E_k} |f_i . μ_l|),
    L_r^BG = Σ_k 1/|E_k| Σ_{i in E_k} |f_i . μ_BG| + 1/|BG| Σ_{i in BG} Σ_k |f_i . μ_k|.

    That is the sum of the table off its diagonal: L_r^BG is column 0 and row 0.

    Args:
        table: (B, K + 1, K + 1) of `similarity_table`.
        present: (B, K + 1) which rows have a line; K of an image counts those of its entities.
        neighbours: (B, K + 1, K + 1) the pairs that count; None for all.

    Returns:
        A scalar, at least 0.
    """
    pairs = present[:, :, None] & present[:, None, :]
    pairs &= ~torch.eye(present.shape[1], dtype=torch.bool, device=present.device)
    if neighbours is not None:
        pairs &= neighbours
    entities = present[:, 1:].sum(1)
    return ((table * pairs).sum((1, 2)) / (entities + 1).to(table.dtype).sqrt()).mean()


def total_loss(terms: Mapping[str, Float[Tensor, ""]], weights: LossWeights) -> Float[Tensor, ""]:
    """L: the weighted sum of all losses.

    Paper: Eq. 9, Sec. 3.6. L = L_a + L_r + L_s + λ_rc L_rc + λ_g L_g + λ_u L_u.

    Args:
        terms: By the names of `LossWeights`; a term that is not there counts as 0.
        weights: Of each.

    Raises:
        ValueError: If there is no term, or one that has no weight.
    """
    known = asdict(weights)
    if not terms or not terms.keys() <= known.keys():
        raise ValueError(f"terms must be one or more of {', '.join(known)}, got {', '.join(terms) or 'none'}")
    return torch.stack([known[name] * value for name, value in terms.items()]).sum()


@full_precision
def entity_losses(
    raw: Float[Tensor, "b d h w"],
    labels: Int64[Tensor, "b h w"],
    *,
    seeds: Int64[Tensor, " b"],
    weights: LossWeights | None = None,
    background: Literal["unlabelled", "void"] = "unlabelled",
    reach: int | None = None,
    method: EigenMethod = "iteration",
    queries: int = 256,
    negatives: int = 512,
) -> EntityLosses:
    """All losses of a batch.

    Args:
        raw: (B, d, H, W) output of the network.
        labels: (B, H, W) k >= 1 entity, 0 background, below 0 ignored.
        seeds: (B,) one for each image, of the random choices of L_rc.
        weights: Of Eq. 9; the paper's by default.
        background: What pixels with label 0 are. `unlabelled`: anything, as in the paper; `void`: no object, one
            entity more, whose line is e_1 in every image.
        reach: Entities whose bounding boxes have more pixels than that between them may share a line; None for the
            paper's: all are told apart.
        method: Of `dominant_eigenvectors`.
        queries: Of L_rc, per entity at most.
        negatives: Of L_rc, per entity.

    Raises:
        ValueError: If `background` is neither, or sizes do not agree.
    """
    _check_batch(raw, labels, seeds, background)
    weights = weights or LossWeights()
    terms: dict[str, Tensor] = {}
    zero = raw.new_zeros((), dtype=wide(raw[:0]).dtype)
    degenerate = zero
    if weights.unit_length:
        terms["unit_length"] = unit_length_loss(raw, labels >= 0)
    if any((weights.attraction, weights.repulsion, weights.segment, weights.contrast, weights.gradient)):
        features, void = unit_features(raw), background == "void"
        count = max(0, int(labels.max()))
        lines, present = _target_lines(features.detach(), labels, count, void, method)
        near = None if reach is None else neighbour_table(labels, count, reach)
        with_line = present.clone()
        with_line[:, 0] |= void  # e_1 is the background's also where an image has none
        if weights.attraction or weights.repulsion:
            table = similarity_table(features, labels, lines)
        if weights.attraction:
            terms["attraction"] = attraction_loss(table, present, void)
        if weights.repulsion:
            terms["repulsion"] = repulsion_loss(table, with_line, near)
        if weights.segment or weights.gradient:
            space = segment_space(lines, with_line, near, void)
            found = segment_losses(features, labels, space, near, SCALES if weights.gradient else 0)
            chosen = zip(("segment", "gradient"), found, strict=True)
            terms |= {name: value for name, value in chosen if getattr(weights, name)}
            left_out = (space.rows & ~space.usable).sum(1) / space.rows.sum(1).clamp_min(1)
            degenerate = left_out.to(zero.dtype).mean()
        if weights.contrast:
            terms["contrast"] = regional_contrast_loss(
                features, labels, lines, present, seeds, near, void, queries, negatives
            )
    total = total_loss(terms, weights)
    return EntityLosses(**{name: terms.get(name, zero) for name in asdict(weights)}, total=total, degenerate=degenerate)


def _target_lines(
    features: Float[Tensor, "b d h w"], labels: Int64[Tensor, "b h w"], count: int, void: bool, method: EigenMethod
) -> tuple[Float[Tensor, "b rows d"], Bool[Tensor, "b rows"]]:
    """Eq. 4, and e_1 for a background that is void."""
    if not void:
        return dominant_lines(features, labels, count, method)
    lines, present = dominant_lines(features, torch.where(labels == 0, -1, labels), count, method)
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


EQUATIONS: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        "1": unit_features,
        "2": projective_distance,
        "3": unit_length_loss,
        "4": dominant_lines,
        "5": attraction_loss,
        "6": repulsion_loss,
        "7": segment_space,
        "8": segment_losses,
        "9": total_loss,
    }
)
