"""Eq. 1 to 9, in the order of the paper.

Paper: Dille et al., "A Bottom-Up Approach to Class-Agnostic Image Segmentation", Sec. 3. Tables have the background in
row 0 and the entities in rows 1..K (see `pixels.py`). Each loss is computed per image, and then the mean over the
images of the batch is taken, in which an image without the entities that it needs counts as 0. Arithmetic is in float32
(float64 for float64 input) throughout. L_rc, which has no number, is in `contrast.py`; `losses.py` computes all losses
of a batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from upseg.functional.precision import BLOCK_ELEMENTS, full_precision, recomputed, wide
from upseg.functional.ranges import check_loss_weights
from upseg.methods.entity.extensions.reach import inverse_of_neighbours
from upseg.methods.entity.linear_algebra import dominant_eigenvectors, inverse_of_gram
from upseg.methods.entity.pixels import entity_moments, group_pixels, pixel_rows, row_of_pixels

SMALLEST_NORM = 1e-6
SMALLEST_SINE = 0.1
"""Of the angle between a line and the span of the others. P_k is as long as its inverse: at most 10."""
SCALES = 4


@full_precision
def unit_features(raw: Float[Tensor, "b d h w"]) -> Float[Tensor, "b d h w"]:
    """f: the network's output as unit vectors, of which f and -f are the same point of the projective sphere.

    Paper: Eq. 1, Sec. 3.1. F = { f in R^d : ‖f‖ = 1, f ≡ -f }.

    Args:
        raw: (B, d, H, W) output of the network, any floating dtype.

    Returns:
        (B, d, H, W) in channels_last, so that the rows of pixels in which the losses work need no copy. Vectors
        shorter than `SMALLEST_NORM` stay shorter than 1.
    """
    raw = wide(raw).contiguous(memory_format=torch.channels_last)
    lengths: Tensor = torch.linalg.vector_norm(raw, dim=1, keepdim=True)
    # Eq. 1; the gradient of a reciprocal takes less memory than a division's
    return raw * lengths.clamp_min(SMALLEST_NORM).reciprocal()


def projective_distance(first: Float[Tensor, "*batch d"], second: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch"]:
    """The cosine distance between two lines.

    Paper: Eq. 2, Sec. 3.1. dist(f, g) = 1 - |f . g|.

    Args:
        first: (..., d) unit vectors.
        second: Likewise.

    Returns:
        (...) in [0, 1]: 0 for parallel, 1 for orthogonal lines.
    """
    return 1 - (first * second).sum(-1).abs()  # Eq. 2


@full_precision
def unit_length_loss(raw: Float[Tensor, "b d h w"], valid: Bool[Tensor, "b h w"]) -> Float[Tensor, ""]:
    """L_u: how far the network's output is from unit length.

    Paper: Eq. 3, Sec. 3.1. L_u = Σ_i | 1 - ‖raw_i‖ |; here the mean over the pixels.

    Args:
        raw: (B, d, H, W) output of the network.
        valid: (B, H, W) the pixels that count.
    """
    lengths: Tensor = torch.linalg.vector_norm(wide(raw), dim=1)
    errors = (1 - lengths).abs() * valid  # Eq. 3
    return (errors.sum((1, 2)) / valid.sum((1, 2)).clamp_min(1)).mean()


@torch.no_grad()
def dominant_lines(
    features: Float[Tensor, "b d h w"], labels: Int64[Tensor, "b h w"], count: int
) -> tuple[Float[Tensor, "b rows d"], Bool[Tensor, "b rows"]]:
    """μ_k: the line closest to the features of each entity, and the background's μ_BG in row 0; without gradient.

    Paper: Eq. 4, Sec. 3.2. μ_k = argmax_{‖v‖=1} vᵀ M_k v. Its sign means nothing.

    Args:
        features: (B, d, H, W) f.
        labels: (B, H, W) k >= 1 entity, 0 background, below 0 ignored.
        count: K, the largest id.

    Returns:
        lines: (B, K + 1, d) unit vectors, zero where there is no pixel.
        present: (B, K + 1) which rows have pixels.
    """
    moments = entity_moments(features, labels, count)  # M_k
    lines = dominant_eigenvectors(moments.flatten(0, 1)).view(moments.shape[:3])  # Eq. 4
    present = group_pixels(labels, count).counts > 0
    return lines * present[..., None], present


def attraction_loss(table: Float[Tensor, "b rows rows"], entities: Bool[Tensor, "b rows"]) -> Float[Tensor, ""]:
    """L_a: the mean distance of the pixels of each entity from its line.

    Paper: Eq. 5, Sec. 3.4. L_a = 1/K Σ_k 1/|E_k| Σ_{i in E_k} (1 - |f_i . μ_k|).

    Args:
        table: (B, K + 1, K + 1) of `similarity_table`.
        entities: (B, K + 1) which rows are entities that have pixels; the paper's background, row 0, is none.

    Returns:
        A scalar in [0, 1].
    """
    distances = (1 - table.diagonal(dim1=1, dim2=2)) * entities  # means of Eq. 2
    return (distances.sum(1) / entities.sum(1).clamp_min(1)).mean()  # Eq. 5


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
    return ((table * pairs).sum((1, 2)) / (entities + 1).to(table.dtype).sqrt()).mean()  # Eq. 6


class SegmentSpace(NamedTuple):
    """The map from features to segment space.

    Attributes:
        projection: (B, K + 1, d) P, zero in rows that are not usable.
        rows: (B, K + 1) which rows are entities.
        usable: (B, K + 1) which of them have a row of a left inverse that exists and is well conditioned.
    """

    projection: Float[Tensor, "b rows d"]
    rows: Bool[Tensor, "b rows"]
    usable: Bool[Tensor, "b rows"]


@full_precision
def segment_space(
    lines: Float[Tensor, "b rows d"],
    entities: Bool[Tensor, "b rows"],
    neighbours: Bool[Tensor, "b rows rows"] | None = None,
    smallest_sine: float = SMALLEST_SINE,
) -> SegmentSpace:
    """P: the left inverse of the matrix whose columns are the entities' lines, as far as these are independent.

    Paper: Eq. 7, Sec. 3.5. P μ_k = e_k for all k; P = (AᵀA)⁻¹Aᵀ, A = [μ_1 ... μ_K].

    ‖P_k‖ is the inverse of the sine between μ_k and the span of the other lines. An image is left out if one of these
    sines is below `smallest_sine`, or if it has more lines than dimensions. Solved in float64.

    Args:
        lines: (B, K + 1, d) μ, unit vectors.
        entities: (B, K + 1) which rows are entities that have a line.
        neighbours: (B, K + 1, K + 1) symmetric, the diagonal true: the pairs that are told apart (see
            `inverse_of_neighbours`); None for all pairs.
        smallest_sine: In (0, 1].
    """
    lines = lines * entities[..., None]
    gram, dimensions = lines.double() @ lines.double().mT, lines.shape[-1]  # AᵀA
    if neighbours is None:
        inverse, usable = inverse_of_gram(gram, entities, dimensions, smallest_sine)
    else:
        inverse, usable = inverse_of_neighbours(gram, entities, neighbours, dimensions, smallest_sine)
    usable = usable & entities
    projection = (inverse @ lines.double()).to(wide(lines).dtype) * usable[..., None]  # Eq. 7
    return SegmentSpace(projection, entities, usable)


@full_precision
def segment_losses(
    features: Float[Tensor, "b d h w"],
    labels: Int64[Tensor, "b h w"],
    space: SegmentSpace,
    neighbours: Bool[Tensor, "b rows rows"] | None = None,
    scales: int = SCALES,
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """L_s and L_g: soft masks against the entities' binary masks, values and differences of neighbouring pixels.

    Paper: Eq. 8, Sec. 3.5. L_s = 1/K Σ_k MSE(S_k, Ŝ_k), L_g = 1/K Σ_k Σ_m MSE(∇S_k^m, ∇Ŝ_k^m), S_k(i) = |P f_i|_k.

    ∇ is linear, so both are read from one map of S - Ŝ. Scale m takes every 2^m-th row and column; its MSE is over the
    differences along x and y together, of pairs of pixels that both count. The mean is over all images, with 0 for
    those left out. The maps of as many entities at a time as `BLOCK_ELEMENTS` allows are held in memory.

    Args:
        features: (B, d, H, W) f.
        labels: (B, H, W) k >= 1 entity, 0 background, below 0 ignored.
        space: Of the same rows as `labels`.
        neighbours: (B, K + 1, K + 1): pixels count for k where they belong to a row near it; None where to any.
        scales: Of L_g; with 0 it is 0.

    Returns:
        L_s and L_g, at least 0.
    """
    pixels, owners = pixel_rows(features), row_of_pixels(labels, space.rows.shape[1] - 1)
    near = torch.ones_like(space.rows)[:, None] if neighbours is None else neighbours
    # one more column for the pixels to ignore
    near = torch.cat([near, torch.zeros_like(near[..., :1])], dim=2)
    sizes = max(1, BLOCK_ELEMENTS // labels.numel())
    numbers = torch.split(torch.arange(space.rows.shape[1], device=labels.device), sizes)
    shape = (labels.shape[1], labels.shape[2], scales)
    parts = [
        recomputed(
            _errors_of_rows,
            len(numbers),
            pixels,
            owners,
            space.projection[:, block],
            block,
            near if neighbours is None else near[:, block],
            shape,
        )
        for block in numbers
    ]
    return tuple(_mean_of_rows(torch.cat(errors, dim=1), space) for errors in zip(*parts, strict=True))  # type: ignore[return-value]


def _errors_of_rows(
    pixels: Float[Tensor, "b n d"],
    owners: Int64[Tensor, "b n"],
    projection: Float[Tensor, "b r d"],
    numbers: Int64[Tensor, " r"],
    near: Bool[Tensor, "b s owners"],
    shape: tuple[int, int, int],
) -> tuple[Float[Tensor, "b r"], Float[Tensor, "b r"]]:
    """Both sides of Eq. 8 for some entities, without the mean over them."""
    height, width, scales = shape
    # S - Ŝ: (B, N, r)
    errors = (pixels @ projection.mT).abs() - (owners[..., None] == numbers).to(pixels.dtype)
    counted = near.mT[torch.arange(len(owners), device=owners.device)[:, None], owners]  # (B, N, r or 1)
    errors = errors.reshape(len(errors), height, width, -1)
    counted = counted.reshape(len(errors), height, width, -1)
    segment = (errors * counted).square().sum((1, 2)) / counted.sum((1, 2)).clamp_min(1)  # Eq. 8, L_s
    gradient = torch.zeros_like(segment)
    for scale in range(scales):
        coarse, known = errors[:, :: 2**scale, :: 2**scale], counted[:, :: 2**scale, :: 2**scale]
        gradient = gradient + _mean_square_difference(coarse, known)  # Eq. 8, L_g
    return segment, gradient


def _mean_square_difference(values: Float[Tensor, "b h w r"], counted: Bool[Tensor, "b h w s"]) -> Float[Tensor, "b r"]:
    down = (values[:, 1:] - values[:, :-1]) * (both_down := counted[:, 1:] & counted[:, :-1])
    right = (values[:, :, 1:] - values[:, :, :-1]) * (both_right := counted[:, :, 1:] & counted[:, :, :-1])
    pairs = both_down.sum((1, 2)) + both_right.sum((1, 2))
    return (down.square().sum((1, 2)) + right.square().sum((1, 2))) / pairs.clamp_min(1)


def _mean_of_rows(values: Float[Tensor, "b rows"], space: SegmentSpace) -> Float[Tensor, ""]:
    """Over the segments of each image, 0 for those left out, and over the images."""
    return ((values * space.usable).sum(1) / space.rows.sum(1).clamp_min(1)).mean()  # Eq. 8, 1/K Σ_k


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


def total_loss(terms: Mapping[str, Float[Tensor, ""]], loss_weights: LossWeights) -> Float[Tensor, ""]:
    """L: the weighted sum of all losses.

    Paper: Eq. 9, Sec. 3.6. L = L_a + L_r + L_s + λ_rc L_rc + λ_g L_g + λ_u L_u.

    Args:
        terms: By the names of `LossWeights`; a term that is not there counts as 0.
        loss_weights: Of each.

    Raises:
        ValueError: If there is no term, or one that has no weight.
    """
    known = asdict(loss_weights)
    if not terms or not terms.keys() <= known.keys():
        raise ValueError(f"terms must be one or more of {', '.join(known)}, got {', '.join(terms) or 'none'}")
    return torch.stack([known[name] * value for name, value in terms.items()]).sum()  # Eq. 9
