"""From instance channels to centres: the nearest cell of the grid, or void, for every pixel (Sec. 3.3.1)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from jaxtyping import Float, Float32, Int32, Int64
from torch import Tensor

from upseg.functional.precision import full_precision
from upseg.methods.panoptic.encodings import AxisCosts, Encoding

VOID = -1
"""The number of pixels that are nearer to void than to any centre."""
CACHED_VALUES = 2**19
"""Computed at once on a processor: they stay in its cache."""
LARGEST_VALUES = 2**26
"""Computed at once on other devices, where calls cost more than memory: 256 MiB."""


class Nearest(NamedTuple):
    """What each of N pixels is nearest to.

    Attributes:
        numbers: (N,) of the cell, row by row, or of the centre; `VOID` where void is nearer than all of them.
        costs: (N,) how far it is away, by the encoding.
    """

    numbers: Int32[Tensor, " n"]
    costs: Float32[Tensor, " n"]


@torch.inference_mode()
@full_precision
def decode_pixels(
    predicted: Float[Tensor, "c n"], encoding: Encoding, centres: Int64[Tensor, "k 2"] | None = None
) -> Nearest:
    """The nearest cell of the whole grid for every pixel, or the nearest of some centres.

    Done in blocks, so that memory is bounded whatever the number of pixels.

    Args:
        predicted: (C, N) instance channels of any floating type and strides.
        encoding: What they mean; it knows the grid.
        centres: (K, 2) row and column of cells, and only these count; None for all cells.

    Raises:
        ValueError: If predictions are not finite.
    """
    count, device = predicted.shape[1], predicted.device
    numbers = torch.empty(count, dtype=torch.int32, device=device)
    costs = torch.empty(count, dtype=torch.float32, device=device)
    for part in blocks_of(count, max(sum(encoding.grid), 0 if centres is None else len(centres)), device):
        found = encoding.axis_costs(predicted[:, part].float())
        numbers[part], costs[part] = nearest_cells(found) if centres is None else nearest_centres(found, centres)
    if not bool(torch.isfinite(costs).all()):
        raise ValueError("instance channels must be finite, but some are NaN or infinite; check the network's weights")
    return Nearest(numbers, costs)


def blocks_of(pixels: int, values: int, device: torch.device) -> Iterator[slice]:
    """Stretches of N pixels for which so many values each may be computed at once."""
    elements = CACHED_VALUES if device.type == "cpu" else LARGEST_VALUES
    step = max(1, elements // max(1, values))
    for start in range(0, pixels, step):
        yield slice(start, min(start + step, pixels))


def nearest_cells(costs: AxisCosts) -> Nearest:
    """The nearest cell of the grid, or void.

    A cell's cost is the sum of its row's and its column's, so the nearest cell is the one in the nearest row and the
    nearest column: G_r + G_c costs for a pixel decide among G_r G_c cells. Of equally near rows or columns the first is
    taken; void only where it is nearer than every cell.

    Args:
        costs: Of N pixels, without further dimensions. Their tensors are overwritten.
    """
    (row, row_cost), (column, column_cost) = first_smallest(costs.rows), first_smallest(costs.columns)
    return _or_void(row * len(costs.columns) + column, row_cost + column_cost, costs.void)


def nearest_centres(costs: AxisCosts, centres: Int64[Tensor, "k 2"]) -> Nearest:
    """The nearest of some cells, by their position among them, or void; of equally near ones the first.

    Args:
        costs: Of N pixels, without further dimensions.
        centres: (K, 2) row and column of the cells, on the costs' device.
    """
    if len(centres) == 0:
        return Nearest(torch.full_like(costs.void, VOID, dtype=torch.int32), costs.void)
    rows, columns = centres.unbind(1)
    return _or_void(*first_smallest(costs.rows[rows] + costs.columns[columns]), costs.void)


def first_smallest(values: Float[Tensor, "g n"]) -> tuple[Int32[Tensor, " n"], Float[Tensor, " n"]]:
    """For each column the number of the first row that has its smallest value, and the value.

    Three passes that processors do in vectors: `torch.min`, which finds both at once, takes seven times as long there,
    and promises no order among equals.

    Args:
        values: (G, N), G below 2^24. Overwritten.
    """
    smallest = values.amin(0)
    last = torch.arange(len(values), 0, -1, device=values.device, dtype=values.dtype)  # 0 is no row's
    first = len(values) - values.le_(smallest).mul_(last[:, None]).amax(0)
    return first.to(torch.int32), smallest


def _or_void(numbers: Int32[Tensor, " n"], costs: Float[Tensor, " n"], void: Float[Tensor, " n"]) -> Nearest:
    return Nearest(torch.where(void < costs, VOID, numbers), torch.minimum(void, costs))
