"""L_rc: the regional contrast of ReCo (Liu et al., ICLR 2022) with the similarity of lines."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn.functional import embedding

from upseg.functional.precision import BLOCK_ELEMENTS, full_precision, recomputed, wide
from upseg.methods.entity.pixels import PixelGroups, group_pixels, pixel_rows

QUERY_STREAM, ENTITY_STREAM, PIXEL_STREAM = 1, 2, 3


class Draws(NamedTuple):
    """What is compared, for each of the t entities of the batch that have others to be told from.

    Attributes:
        image: (t,) the image of the entity.
        row: (t,) its id.
        queries: (t, q) pixels of the entity, indices into the B N of the batch.
        valid: (t, q) which of them are there: a small entity has fewer than q.
        negatives: (t, m) pixels of other entities.
    """

    image: Int64[Tensor, " t"]
    row: Int64[Tensor, " t"]
    queries: Int64[Tensor, "t q"]
    valid: Bool[Tensor, "t q"]
    negatives: Int64[Tensor, "t m"]


@full_precision
def regional_contrast_loss(
    features: Float[Tensor, "b d h w"],
    labels: Int64[Tensor, "b h w"],
    lines: Float[Tensor, "b rows d"],
    entities: Bool[Tensor, "b rows"],
    seeds: Int64[Tensor, " b"],
    neighbours: Bool[Tensor, "b rows rows"] | None = None,
    queries: int = 256,
    negatives: int = 512,
    temperature: float = 0.5,
) -> Float[Tensor, ""]:
    """L_rc: each query pixel shall be more similar to its own entity's line than to pixels of other entities.

    Paper: Sec. 3.4, after Liu et al.: the mean over an entity's queries q of
    -log( exp(|q . μ_k| / τ) / (exp(|q . μ_k| / τ) + Σ_n exp(|q . n| / τ)) ), over the entities, then over the images.

    All queries of an entity share its negatives. Keys carry no gradient. Entities without any other add 0 to the mean.
    The random choices depend on the image's seed alone, not on the batch, the device or any generator.

    Args:
        features: (B, d, H, W) f.
        labels: (B, H, W) k >= 1 entity, 0 background, below 0 ignored.
        lines: (B, K + 1, d) μ.
        entities: (B, K + 1) which rows are entities that have pixels.
        seeds: (B,) one for each image.
        neighbours: (B, K + 1, K + 1): negatives come from rows near the entity only; None for all.
        queries: The most pixels of an entity that are asked: all of a small entity, else one of each of so many equal
            stretches of its pixels in row-major order.
        negatives: Drawn for each entity: first the other entity, with probabilities softmax(|μ_k . μ_l| / τ), then
            any of its pixels.
        temperature: τ, above 0.

    Returns:
        A scalar, at least 0.
    """
    pixels, lines = pixel_rows(features), wide(lines).detach()
    itself = torch.eye(entities.shape[1], dtype=torch.bool, device=entities.device)
    others = entities[:, :, None] & entities[:, None, :] & ~itself
    if neighbours is not None:
        others &= neighbours
    probabilities = _probabilities(lines, others, temperature)
    draws = _draw(group_pixels(labels, entities.shape[1] - 1), probabilities, seeds, queries, negatives)
    flat = pixels.flatten(0, 1)
    size = max(1, BLOCK_ELEMENTS // (queries * negatives))
    blocks = [torch.split(part, size) for part in (embedding(draws.queries, flat), draws.valid, draws.negatives)]
    positive = torch.split(lines[draws.image, draws.row], size)
    losses = [
        recomputed(_losses_of_entities, len(positive), query, valid, flat.detach()[negative], line, temperature)
        for query, valid, negative, line in zip(*blocks, positive, strict=True)
    ]
    weights = 1 / (entities.sum(1).clamp_min(1) * len(entities)).to(flat.dtype)
    return (torch.cat(losses) * weights[draws.image]).sum()


def _losses_of_entities(
    queries: Float[Tensor, "t q d"],
    valid: Bool[Tensor, "t q"],
    negatives: Float[Tensor, "t m d"],
    positives: Float[Tensor, "t d"],
    temperature: float,
) -> Float[Tensor, " t"]:
    right = (queries @ positives[..., None])[..., 0].abs() / temperature  # (t, q)
    wrong = ((queries @ negatives.mT).abs() / temperature).logsumexp(2)
    losses = torch.logaddexp(right, wrong) - right  # L_rc
    return (losses * valid).sum(1) / valid.sum(1).clamp_min(1)


def _probabilities(
    lines: Float[Tensor, "b rows d"], others: Bool[Tensor, "b rows rows"], temperature: float
) -> Float[Tensor, "b rows rows"]:
    """How often each entity (row) draws from each other one (column), in float64; zero rows where there is none."""
    similarities = (lines.double() @ lines.double().mT).abs() / temperature
    weights = torch.where(others, similarities.exp(), 0)
    return weights / weights.sum(2, keepdim=True).clamp_min(1)


@torch.no_grad()
def _draw(
    groups: PixelGroups,
    probabilities: Float[Tensor, "b rows rows"],
    seeds: Int64[Tensor, " b"],
    queries: int,
    negatives: int,
) -> Draws:
    image, row = (probabilities.sum(2) > 0).nonzero(as_tuple=True)
    seed = seeds.to(image.device)[image]
    chosen = probabilities[image, row].cumsum(1)
    chosen = chosen / chosen[:, -1:]
    negative_row = torch.searchsorted(chosen, _uniform(seed, row, negatives, ENTITY_STREAM), right=True)
    place = _uniform(seed, row, negatives, PIXEL_STREAM)
    negative = _pixels_at(groups, image[:, None], negative_row, place)
    count = groups.counts[image, row][:, None]
    asked = count.clamp(max=queries)
    numbers = torch.arange(queries, device=image.device)
    within = torch.where(count > queries, _uniform(seed, row, queries, QUERY_STREAM), 0.5)
    valid = numbers < asked
    query = _pixels_at(groups, image[:, None], row[:, None], torch.where(valid, (numbers + within) / asked, 0))
    return Draws(image, row, query, valid, negative)


def _pixels_at(
    groups: PixelGroups, image: Int64[Tensor, "t 1"], row: Int64[Tensor, "t m"], place: Float[Tensor, "t n"]
) -> Int64[Tensor, "t n"]:
    """The pixels of a row at places in [0, 1) of their order."""
    count = groups.counts[image, row]
    offset = (place * count).long().clamp(max=count - 1)
    return groups.order[groups.starts[image, row] + offset]


def _uniform(seed: Int64[Tensor, " t"], row: Int64[Tensor, " t"], draws: int, stream: int) -> Float[Tensor, "t n"]:
    """Numbers in [0, 1), a hash of seed, row, stream and number of the draw: float64."""
    key = _mixed(_mixed(_mixed(seed) + row) + stream)
    bits = _mixed(key[:, None] + torch.arange(draws, device=seed.device))
    return (bits >> 11 & (1 << 53) - 1).double() * 2.0**-53


def _mixed(values: Int64[Tensor, "*shape"]) -> Int64[Tensor, "*shape"]:
    """The output function of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014); products overflow on purpose."""
    values = values + -0x61C8864680B583EB
    values = (values ^ (values >> 30 & (1 << 34) - 1)) * -0x40A7B892E31B1A47
    values = (values ^ (values >> 27 & (1 << 37) - 1)) * -0x6B2FB644ECCEEE15
    return values ^ (values >> 31 & (1 << 33) - 1)
