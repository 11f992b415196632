"""The weighted contrast of boundary pixels with others, on pixels drawn from the whole batch."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn.functional import max_pool2d, normalize, pad, softplus

from upseg.functional.precision import full_precision, wide
from upseg.methods.baiseg.pixel_losses import balance


def bounded(projection: Float[Tensor, "b d h w"]) -> Float[Tensor, "b d h w"]:
    """Embeddings whose products lie in [-1, 1], as the temperature expects.

    The paper has one dimension, where unit length would leave no more than a sign: that number goes through tanh. More
    dimensions are brought to unit length.
    """
    return projection.tanh() if projection.shape[1] == 1 else normalize(projection, dim=1)


@full_precision
def weighted_contrast(
    anchors: Float[Tensor, "n d"],
    anchor_is_boundary: Bool[Tensor, " n"],
    keys: Float[Tensor, "m d"],
    key_is_boundary: Bool[Tensor, " m"],
    alpha: Float[Tensor, ""],
    temperature: float = 0.2,
    same: Bool[Tensor, "n m"] | None = None,
) -> Float[Tensor, ""]:
    """Each anchor shall be more similar to the keys of its own kind, boundary or not, than to those of the other.

    Paper: Eq. 6, Sec. 3.4.1. The mean over the anchors i of
    L_P = 1/|P_i| Σ_{i+} -alpha log( exp(i . i⁺ / τ) / (exp(i . i⁺ / τ) + (1 - alpha) Σ_{i-} exp(i . i⁻ / τ)) ).

    Gradients reach anchors and keys. Memory grows with n m: some six tensors of 2 n m bytes, 4 MiB each for 1024
    anchors and 2048 keys, if half of both are boundaries; 12 n m in all.

    Args:
        anchors: (n, d) i, `bounded`.
        anchor_is_boundary: (n,) the kind of each.
        keys: (m, d) P_i and N_i of all anchors together.
        key_is_boundary: (m,).
        alpha: In [0, 1].
        temperature: τ, above 0.
        same: (n, m) where anchor and key are the same pixel, which is no positive; None for nowhere.

    Returns:
        A scalar, at least 0. Anchors without positives or without negatives are left out; 0 if all are.
    """
    anchors, keys, alpha = wide(anchors), wide(keys), wide(alpha)
    losses, used = [], []
    for kind in (True, False):
        row, own = anchor_is_boundary == kind, key_is_boundary == kind
        right = anchors[row] @ keys[own].mT / temperature  # (n of this kind, m of this kind)
        wrong = (anchors[row] @ keys[~own].mT / temperature).logsumexp(1, keepdim=True)
        positive = torch.ones_like(right, dtype=torch.bool) if same is None else ~same[row][:, own]
        of_pairs = alpha * softplus(wrong + torch.log1p(-alpha) - right)  # -log(e^r / (e^r + (1 - alpha) e^w))
        losses.append((of_pairs * positive).sum(1) / positive.sum(1).clamp_min(1))
        used.append(positive.any(1) & (~own).any())
    return torch.cat(losses).sum() / torch.cat(used).sum().clamp_min(1)


def pixel_contrast(
    projection: Float[Tensor, "b d h w"],
    boundary: Bool[Tensor, "b hi wi"],
    valid: Bool[Tensor, "b hi wi"],
    temperature: float = 0.2,
    anchors: int = 1024,
    keys: int = 2048,
    generator: torch.Generator | None = None,
) -> Float[Tensor, ""]:
    """Eq. 6 on pixels drawn from all images of the batch together.

    Args:
        projection: (B, d, h, w) what the network projects features to, not yet `bounded`.
        boundary: (B, H, W) Y at the size of the images; alpha is that of all its valid pixels.
        valid: (B, H, W) the pixels of which Y is known.
        temperature: τ, above 0.
        anchors: The most pixels that are anchors.
        keys: The most that they are compared with; drawn anew, so some are anchors too.
        generator: Of the random choices; None for torch's own.

    Returns:
        A scalar, at least 0; 0 if the batch does not have both kinds of pixels.
    """
    height, width = projection.shape[-2:]
    is_boundary, is_valid = cell_labels(boundary, valid, (height, width))
    flat = bounded(wide(projection)).movedim(1, -1).flatten(0, 2)  # (b h w, d)
    anchor = sample_pixels(is_boundary, is_valid, anchors, generator)
    key = sample_pixels(is_boundary, is_valid, keys, generator)
    kinds = is_boundary.flatten()
    alpha = balance(boundary.flatten(0, 1)[None], valid.flatten(0, 1)[None])[0]
    same = anchor[:, None] == key
    return weighted_contrast(flat[anchor], kinds[anchor], flat[key], kinds[key], alpha, temperature, same)


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
