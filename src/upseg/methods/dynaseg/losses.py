"""The loss of DynaSeg and its gradient in one pass over the image, strip by strip; for batches, each image's own.

Automatic differentiation of the equations writes about twenty tensors of the response's size; on a CPU that costs as
much as the network's forward pass. Here a few rows at a time stay in the cache, and the only full-size tensor made is
the gradient itself. `equations.py` is the definition; the tests hold this to it, values and gradients.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.autograd.function import once_differentiable

from upseg.methods.dynaseg.equations import WEIGHTINGS, Weight, cluster_labels, labels_in_use, total_loss

Weighting = Literal["fsf", "scf", "fixed"]
CPU_STRIP_ELEMENTS = 250_000
"""Elements of the response worked on at a time on a CPU: 1 MB in float32, about what a core's cache holds."""
DEVICE_STRIP_ELEMENTS = 64_000_000
"""The same elsewhere, where fewer and larger kernels are better."""


def fused_total_loss(
    response: Float[Tensor, "b q h w"], labels: Int64[Tensor, "b h w"], weight: Weight
) -> Float[Tensor, ""]:
    """L = L_sim + μ L_con (Eq. 1 to 7) with the gradient computed along the way.

    Fastest where `response` is channels_last. Arithmetic is in float32 (float64 for float64 input), the gradient comes
    back in the response's dtype. The response must not be changed in place before `backward`.

    Args:
        response: (B, q, H, W) r', floating point.
        labels: (B, H, W) c in 0..q-1.
        weight: μ; a tensor must lie on the response's device, and no gradient goes to it.

    Returns:
        L, of means over the pixels of the batch (and its channels).
    """
    loss: Tensor = _FusedLoss.apply(response, labels, weight)
    return loss


class _FusedLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, response: Tensor, labels: Tensor, weight: Weight) -> Tensor:
        b, q, h, w = response.shape
        dtype = torch.float64 if response.dtype == torch.float64 else torch.float32
        gradient = torch.empty_like(response)
        sums = torch.zeros(3, dtype=dtype, device=response.device)  # of -ln p, Δh, Δv
        shares = sums.new_tensor([1 / (b * h * w), 1 / max(b * h * (w - 1) * q, 1), 1 / max(b * (h - 1) * w * q, 1)])
        scales = (shares[0], weight * shares[1], weight * shares[2])
        rows = max(1, (CPU_STRIP_ELEMENTS if response.device.type == "cpu" else DEVICE_STRIP_ELEMENTS) // (w * q))
        by_pixel, gradient_by_pixel = response.permute(0, 2, 3, 1), gradient.permute(0, 2, 3, 1)  # (B, H, W, q)
        for image in range(b):
            from_above = torch.zeros((), dtype=dtype, device=response.device)
            for top in range(0, h, rows):
                bottom = min(top + rows, h)
                strip = by_pixel[image, top : bottom + 1].to(dtype)  # with the first row of the next strip, if any
                strip_gradient, from_above = _strip_gradient(strip, labels[image, top:bottom], from_above, scales, sums)
                gradient_by_pixel[image, top:bottom] = strip_gradient
        ctx.save_for_backward(gradient)
        return total_loss(sums[0] * shares[0], sums[1] * shares[1] + sums[2] * shares[2], weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * outer.to(gradient.dtype), None, None


def _strip_gradient(
    strip: Float[Tensor, "rows_below w q"],
    labels: Int64[Tensor, "rows w"],
    from_above: Float[Tensor, ...],
    scales: tuple[Tensor, Tensor, Tensor],
    sums: Float[Tensor, " three"],
) -> tuple[Float[Tensor, "rows w q"], Float[Tensor, ...]]:
    """dL/dr' for some rows, and what their last row passes on to the row below; adds to `sums` in place."""
    rows = len(labels)
    index = labels.unsqueeze(-1)  # (rows, W, 1)
    gradient = torch.log_softmax(strip[:rows], dim=-1)
    chosen = gradient.gather(-1, index)
    sums[0] -= chosen.sum()  # Eq. 1
    gradient.exp_().scatter_(-1, index, chosen.expm1())  # softmax - one-hot
    gradient *= scales[0]

    across = strip[:rows, 1:] - strip[:rows, :-1]  # Eq. 2, signed
    sums[1] += across.abs().sum()  # Eq. 4
    across.sign_().mul_(scales[1])
    gradient[:, 1:] += across
    gradient[:, :-1] -= across

    down = strip[1:] - strip[:-1]  # Eq. 3, signed: (rows, W, q), or (rows - 1, W, q) in the last strip
    sums[2] += down.abs().sum()  # Eq. 5
    down.sign_().mul_(scales[2])
    gradient[: len(down)] -= down
    gradient[1:] += down[: rows - 1]
    gradient[0] += from_above
    return gradient, down[-1].clone() if len(down) == rows else from_above


def image_losses(
    response: Float[Tensor, "b q h w"], weighting: Weighting, alpha: float
) -> tuple[Float[Tensor, " b"], Int64[Tensor, " b"]]:
    """L of each image with the mu of its own q', and q'.

    Paper: Eq. 7 to 9.

    Args:
        response: (B, Q, H, W) r'.
        weighting: Of Eq. 8, Eq. 9, or a constant.
        alpha: Of the weighting, above 0.

    Returns:
        (B,) losses, and (B,) labels in use.
    """
    labels = cluster_labels(response)
    counts = [labels_in_use(labels[i : i + 1], response.shape[1]).sum() for i in range(len(labels))]
    losses = [
        fused_total_loss(response[i : i + 1], labels[i : i + 1], WEIGHTINGS[weighting](count, alpha))
        for i, count in enumerate(counts)
    ]
    return torch.stack(losses), torch.stack(counts)
