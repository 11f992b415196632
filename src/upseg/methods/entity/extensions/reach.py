"""`reach`: only entities near each other are told apart, for images with more entities than orthogonal lines."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from upseg.methods.entity.linear_algebra import cholesky_factors
from upseg.methods.entity.pixels import row_of_pixels


@torch.no_grad()
def neighbour_table(labels: Int64[Tensor, "b h w"], count: int, reach: int) -> Bool[Tensor, "b rows rows"]:
    """Which entities are near each other: those whose bounding boxes have at most `reach` pixels between them.

    Args:
        labels: (B, H, W) k >= 1 entity, 0 background, below 0 ignored.
        count: K, the largest id.
        reach: The most pixels between two boxes, along rows and along columns; touching boxes have 0 between them.

    Returns:
        (B, K + 1, K + 1), symmetric. The diagonal, row 0 and column 0 are true: everybody is near the background.

    Raises:
        ValueError: If `reach` is negative.
    """
    if reach < 0:
        raise ValueError(f"reach must be at least 0 pixels, got {reach}")
    rows = row_of_pixels(labels, count)
    height, width = labels.shape[1:]
    pixel = torch.arange(height * width, device=labels.device).expand_as(rows)
    near = torch.ones(len(labels), count + 1, count + 1, dtype=torch.bool, device=labels.device)
    for position, length in ((pixel // width, height), (pixel % width, width)):
        far = torch.full((len(labels), count + 2), 2 * length + reach, device=labels.device)
        first = far.scatter_reduce(1, rows, position, "amin")[:, :-1]
        last = (-far).scatter_reduce(1, rows, position, "amax")[:, :-1]
        between = first[:, :, None] - last[:, None, :] - 1  # from l's last to k's first, negative where l ends later
        near &= (between <= reach) & (between.mT <= reach)
    near |= torch.eye(count + 1, dtype=torch.bool, device=labels.device)
    near[:, 0] = near[:, :, 0] = True
    return near


def inverse_of_neighbours(
    gram: Float[Tensor, "b rows rows"],
    entities: Bool[Tensor, "b rows"],
    neighbours: Bool[Tensor, "b rows rows"],
    dimensions: int,
    smallest_sine: float,
) -> tuple[Float[Tensor, "b rows rows"], Bool[Tensor, "b rows"]]:
    """For Eq. 7 among neighbours: row k is row k of the inverse of the Gram matrix of k's neighbours.

    So only P_k μ_l = 0 for these, and only the entities are left out whose own system is singular; the background,
    everybody's neighbour, keeps its own line. Each system is gathered into a small one: memory is B (K + 1) n², n the
    most neighbours of an entity.

    Args:
        gram: (B, K + 1, K + 1) AᵀA.
        entities: (B, K + 1) which rows have a line.
        neighbours: (B, K + 1, K + 1) symmetric, the diagonal true.
        dimensions: d, of the lines.
        smallest_sine: Of the angle between a line and the span of its neighbours' lines.

    Returns:
        (B, K + 1, K + 1) rows of inverses, and (B, K + 1) which of them exist and are well conditioned.
    """
    near = neighbours & entities[:, :, None] & entities[:, None, :]
    near[:, 0, 1:] = False
    most = int(near.sum(2).max())
    members = near.to(torch.uint8).sort(dim=2, descending=True, stable=True).indices[..., :most]  # (B, K + 1, n)
    valid = near.gather(2, members)
    images = torch.arange(len(gram), device=gram.device)[:, None, None, None]
    factors, regular = cholesky_factors(gram[images, members[..., :, None], members[..., None, :]], valid)
    own = (members == torch.arange(gram.shape[1], device=gram.device)[:, None]) & valid
    solved = torch.cholesky_solve(own[..., None].to(gram.dtype), factors)[..., 0]
    lengths = (solved.detach() * own).sum(2)
    usable = regular & (valid.sum(2) <= dimensions) & (lengths <= smallest_sine**-2)
    return torch.zeros_like(gram).scatter(2, members, solved * valid), usable
