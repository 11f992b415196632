"""The numbered equations of the paper (Wang and Bai) in their order, each a pure function.

Paper: "BAISeg: Boundary Assisted Weakly Supervised Instance Segmentation", Sec. 3. Eq. 4 is a convolution and Eq. 8 a
concatenation, which stand where they are needed: in `mutual_attention` and in the network. `losses.py` has the weights
of Eq. 7 and draws the pixels of Eq. 6. The losses of Eq. 1 and of the classes are means over the pixels of an image,
and then the mean over the images of the batch is taken, in which an image without a labelled pixel counts as 0.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn.functional import softplus

from upseg.functional.precision import full_precision, wide

Layer = Callable[[Tensor], Tensor]
"""A learned function of (B, C, H, W) features."""


def boundary_loss(
    logits: Float[Tensor, "b 1 h w"], boundary: Bool[Tensor, "b h w"], valid: Bool[Tensor, "b h w"]
) -> Float[Tensor, ""]:
    """The cross-entropy of the boundary map, in which boundaries and all else weigh the same.

    Paper: Eq. 1, Sec. 3.2. L_B = -Σ_ij (alpha Y_ij log B_ij + (1 - alpha) (1 - Y_ij) log(1 - B_ij)), where alpha is
    `balance`. Here the mean over the valid pixels takes the place of the sum, so that the weight of the loss does not
    depend on the size of the images. As in the paper, an image without any boundary has alpha = 1: it teaches nothing.

    Args:
        logits: (B, 1, H, W), B is their sigmoid.
        boundary: (B, H, W) Y.
        valid: (B, H, W) the pixels that count.

    Returns:
        A scalar, at least 0: the mean over the images.
    """
    alpha = balance(boundary, valid).to(logits.dtype)[:, None, None]
    values = logits[:, 0]
    losses = torch.where(boundary, alpha * softplus(-values), (1 - alpha) * softplus(values))  # Eq. 1
    return _mean_of_images(losses, valid)


def balance(boundary: Bool[Tensor, "b h w"], valid: Bool[Tensor, "b h w"]) -> Float[Tensor, " b"]:
    """The share of each image's pixels that are no boundary.

    Paper: alpha of Eq. 1 and 6, Sec. 3.2. alpha = |Y⁻| / (|Y⁻| + |Y⁺|), over the valid pixels.

    Args:
        boundary: (B, H, W) Y.
        valid: (B, H, W) the pixels of which Y is known.

    Returns:
        (B,) alpha in [0, 1], float32; 0 for an image without any valid pixel.
    """
    others = (valid & ~boundary).sum((1, 2))
    return others / valid.sum((1, 2)).clamp_min(1)


def mutual_attention(
    features: Float[Tensor, "b c h w"],
    perceptron: Layer,
    places: Layer,
    identity: Layer,
    beta: Float[Tensor, ""] | Float[Tensor, " 1"],
) -> Float[Tensor, "b c h w"]:
    """The features with both attentions added to them.

    Paper: Eq. 2 to 5, Sec. 3.3.2. F_att = F_h + (f x F_c + f x F_s) x beta, element by element, where
    F_h = Conv1x1(f), so that nothing is lost in the attention.

    Args:
        features: (B, C, H, W) f.
        perceptron: As for `channel_attention`.
        places: As for `spatial_attention`.
        identity: The 1x1 convolution, of as many channels.
        beta: A learned number.
    """
    channel = channel_attention(features, perceptron)  # Eq. 2
    spatial = spatial_attention(features, places)  # Eq. 3
    transformed = identity(features)  # Eq. 4
    return transformed + (features * channel + features * spatial) * beta  # Eq. 5


def channel_attention(features: Float[Tensor, "b c h w"], perceptron: Layer) -> Float[Tensor, "b c 1 1"]:
    """How much each channel is attended to.

    Paper: Eq. 2, Sec. 3.3.2. F_c = sigmoid(MLP(AvgPool_c(f)) + MLP(MaxPool_c(f))).

    Args:
        features: (B, C, H, W) f.
        perceptron: The MLP, from (B, C, 1, 1) to the same shape.

    Returns:
        (B, C, 1, 1) in [0, 1].
    """
    average, largest = features.mean((2, 3), keepdim=True), features.amax((2, 3), keepdim=True)
    return (perceptron(average) + perceptron(largest)).sigmoid()  # Eq. 2


def spatial_attention(features: Float[Tensor, "b c h w"], places: Layer) -> Float[Tensor, "b 1 h w"]:
    """How much each pixel is attended to.

    Paper: Eq. 3, Sec. 3.3.2. F_s = sigmoid(Conv7x7([AvgPool_s(f); MaxPool_s(f)])).

    Args:
        features: (B, C, H, W) f.
        places: The convolution, from two channels to one.

    Returns:
        (B, 1, H, W) in [0, 1].
    """
    pooled = torch.cat([features.mean(1, keepdim=True), features.amax(1, keepdim=True)], dim=1)
    return places(pooled).sigmoid()  # Eq. 3


@full_precision
def weighted_contrast(
    anchors: Float[Tensor, "n d"],
    anchor_is_boundary: Bool[Tensor, " n"],
    keys: Float[Tensor, "m d"],
    key_is_boundary: Bool[Tensor, " m"],
    alpha: Float[Tensor, ""],
    temperature: float = 0.2,
    same: Bool[Tensor, "n m"] | None = None,
    *,
    both_kinds: bool = False,
    weighted: bool = True,
) -> Float[Tensor, ""]:
    """Each boundary pixel shall be more similar to other boundary pixels than to the background.

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
        both_kinds: Whether pixels of the background are anchors too, with positives of the background; ours.
        weighted: Without it both factors of alpha are 1: the plain contrast of Table 9.

    Returns:
        A scalar, at least 0. Anchors without positives or without negatives are left out; 0 if all are.
    """
    anchors, keys, alpha = wide(anchors), wide(keys), wide(alpha)
    losses, used = [], []
    share, against = (alpha, torch.log1p(-alpha)) if weighted else (torch.ones_like(alpha), torch.zeros_like(alpha))
    for kind in (True, False) if both_kinds else (True,):
        row, own = anchor_is_boundary == kind, key_is_boundary == kind
        right = anchors[row] @ keys[own].mT / temperature  # (n of this kind, m of this kind)
        wrong = (anchors[row] @ keys[~own].mT / temperature).logsumexp(1, keepdim=True)
        positive = torch.ones_like(right, dtype=torch.bool) if same is None else ~same[row][:, own]
        # Eq. 6: -log(e^r / (e^r + (1 - alpha) e^w))
        of_pairs = share * softplus(wrong + against - right)
        losses.append((of_pairs * positive).sum(1) / positive.sum(1).clamp_min(1))
        used.append(positive.any(1) & (~own).any())
    return torch.cat(losses).sum() / torch.cat(used).sum().clamp_min(1)


def total_loss(
    contrast: Float[Tensor, ""],
    boundary: Float[Tensor, ""],
    semantic: Float[Tensor, ""],
    loss_weights: tuple[float, float, float] = (0.3, 50.0, 1.0),
) -> Float[Tensor, ""]:
    """The loss of a batch from its three terms.

    Paper: Eq. 7, Sec. 3.5. L = alpha L_P + beta L_B + gamma L_S; `loss_weights` are alpha, beta and gamma.
    """
    alpha, beta, gamma = loss_weights
    return alpha * contrast + beta * boundary + gamma * semantic  # Eq. 7


def semantic_loss(logits: Float[Tensor, "b c h w"], classes: Int64[Tensor, "b h w"]) -> Float[Tensor, ""]:
    """L_S of Eq. 7: the cross-entropy of the classes over the pixels that have one.

    Args:
        logits: (B, C, H, W).
        classes: (B, H, W) positions, below 0 ignored.

    Returns:
        A scalar, at least 0: the mean over the images, 0 if nothing has a class.
    """
    # not `cross_entropy`: on a GPU its gradient is not reproducible
    losses = -logits.log_softmax(1).gather(1, classes.clamp_min(0)[:, None])[:, 0]
    return _mean_of_images(losses, classes >= 0)


def _mean_of_images(losses: Float[Tensor, "b h w"], counted: Bool[Tensor, "b h w"]) -> Float[Tensor, ""]:
    return ((losses * counted).sum((1, 2)) / counted.sum((1, 2)).clamp_min(1)).mean()
