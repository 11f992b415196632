"""How the centre of a pixel's instance is coded in the channels of the instance head.

Rows and columns: the paper's u is the row coordinate here, v the column one. Both lie in [-1 + 1/G, 1 - 1/G], G
the grid's cells on that axis: half a cell off the ends, since the embeddings of -1 and 1 are the same. The G cells have
their coordinates in equal steps of 2/G over just that range: the first and the last lie on the image's edges.

Three encodings with one interface: `PositionalEncoding` is the paper's method, the others are those of its ablation.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int32, Int64, Shaped
from torch import Tensor

from upseg.functional.precision import wide
from upseg.methods.panoptic.equations import (
    centre_embedding,
    cross_entropy,
    embedding_distance,
    positional_embedding,
    semantic_smoothness,
    total_variation,
)
from upseg.methods.panoptic.settings import PanopticSettings

Numbers = TypeVar("Numbers", float, np.ndarray, Tensor)


def normalise(positions: Numbers, size: float | int, cells: int) -> Numbers:
    """The coordinate u (of rows) or v (of columns) of positions on an axis of an image.

    Args:
        positions: In pixels: 0 is the centre of the first pixel, `size` - 1 that of the last.
        size: Height of the image for rows, width for columns, in pixels.
        cells: G, of the grid on that axis.

    Returns:
        (2 (position + ½) / size - 1) (1 - 1/G).
    """
    return (2 * (positions + 0.5) / size - 1) * (1 - 1 / cells)


def grid_coordinates(cells: int, like: Tensor) -> Float[Tensor, " g"]:
    """The coordinates of the G cells of an axis: -1 + 1/G to 1 - 1/G in steps of 2/G; type and device of `like`."""
    numbers = torch.arange(cells, dtype=torch.float64, device=like.device)
    return ((2 * numbers + 1) / cells - 1).to(like.dtype)


class AxisCosts(NamedTuple):
    """How far predictions are from the cells of a grid, and from void; smaller is nearer.

    Attributes:
        rows: (..., G_r, N) from each row of cells.
        columns: (..., G_c, N) from each column; cell (i, j) is rows[i] + columns[j] away.
        void: (..., N) from void.
    """

    rows: Float[Tensor, "*batch gr n"]
    columns: Float[Tensor, "*batch gc n"]
    void: Float[Tensor, "*batch n"]


class AxisMinima(NamedTuple):
    """The nearest row and the nearest column of cells for each of N predictions.

    Attributes:
        rows: (N,) number of the row.
        columns: (N,) number of the column.
        costs: (N,) how far the cell in both is.
        void: (N,) how far void is.
    """

    rows: Int32[Tensor, " n"]
    columns: Int32[Tensor, " n"]
    costs: Float[Tensor, " n"]
    void: Float[Tensor, " n"]

    @classmethod
    def of(cls, costs: AxisCosts) -> AxisMinima:
        """From the costs of all, without further dimensions, which are overwritten; among equals the first."""
        (rows, row_costs), (columns, column_costs) = first_smallest(costs.rows), first_smallest(costs.columns)
        return cls(rows, columns, row_costs + column_costs, costs.void)


@dataclass(frozen=True, slots=True)
class Encoding(ABC):
    """What the channels of the instance head mean.

    Attributes:
        grid: G_r and G_c, each at least 2: rows and columns of the grid of centres that predictions are decoded to.
    """

    grid: tuple[int, int] = (80, 80)

    def __post_init__(self) -> None:
        if min(self.grid) < 2:
            raise ValueError(f"a grid must have at least 2 rows and 2 columns, got {self.grid}")

    @property
    @abstractmethod
    def channels(self) -> int:
        """C."""

    @abstractmethod
    def targets(self, centres: Float[Tensor, "b 2 h w"], inside: Bool[Tensor, "b h w"]) -> Shaped[Tensor, "b t h w"]:
        """The code of each pixel's centre, and that of void outside of instances.

        Args:
            centres: (B, 2, H, W) u and v; any number outside of instances.
            inside: (B, H, W) which pixels belong to an instance.
        """

    @abstractmethod
    def pixel_loss(
        self, predicted: Float[Tensor, "b c h w"], centres: Float[Tensor, "b 2 h w"], inside: Bool[Tensor, "b h w"]
    ) -> Float[Tensor, "b h w"]:
        """How wrong each pixel is: L^inst of Eq. 1. Arguments as of `targets`."""

    def total_variation(self, predicted: Float[Tensor, "b c h w"]) -> Float[Tensor, ""]:
        """How much neighbouring pixels differ, by the norm of the loss: Eq. 10, one norm of all channels, or 11."""
        return total_variation(predicted)

    @abstractmethod
    def squared_distances(
        self, predicted: Float[Tensor, "b c n"], centres: Float[Tensor, "b 2 k"]
    ) -> Float[Tensor, "b k n"]:
        """dx² + dy² of Eq. 14, of every pixel from every instance."""

    @abstractmethod
    def axis_costs(self, predicted: Float[Tensor, "*batch c n"]) -> AxisCosts:
        """The distances by which predictions are decoded."""

    def axis_minima(self, predicted: Float[Tensor, "c n"]) -> AxisMinima:
        """The smallest of `axis_costs`."""
        return AxisMinima.of(self.axis_costs(predicted))


def make_encoding(settings: PanopticSettings) -> Encoding:
    """The encoding that the settings ask for."""
    if settings.encoding == "positional":
        return PositionalEncoding(settings.grid, settings.frequencies)
    return RgbEncoding(settings.grid) if settings.encoding == "rgb" else BinsEncoding(settings.grid)


@dataclass(frozen=True, slots=True)
class PositionalEncoding(Encoding):
    """The paper's: sines and cosines of u and v, and the zero vector for void (Eq. 2 to 4).

    Attributes:
        frequencies: L, at least 1.
    """

    frequencies: int = 4

    def __post_init__(self) -> None:
        if self.frequencies < 1:
            raise ValueError(f"frequencies must be at least 1, got {self.frequencies}")
        Encoding.__post_init__(self)

    @property
    def channels(self) -> int:
        """4L."""
        return 4 * self.frequencies

    def targets(self, centres: Float[Tensor, "b 2 h w"], inside: Bool[Tensor, "b h w"]) -> Float[Tensor, "b c h w"]:
        """(B, 4L, H, W) Eq. 2."""
        return centre_embedding(centres, inside, self.frequencies)

    def pixel_loss(
        self, predicted: Float[Tensor, "b c h w"], centres: Float[Tensor, "b 2 h w"], inside: Bool[Tensor, "b h w"]
    ) -> Float[Tensor, "b h w"]:
        """Eq. 4."""
        return embedding_distance(predicted, self.targets(centres, inside))

    def squared_distances(
        self, predicted: Float[Tensor, "b c n"], centres: Float[Tensor, "b 2 k"]
    ) -> Float[Tensor, "b k n"]:
        """Of the embeddings."""
        codes = positional_embedding(centres, self.frequencies, dim=2).flatten(1, 2)  # (B, 4L, K)
        return _squared_distances(codes.mT, predicted, 2 * self.frequencies)

    def axis_costs(self, predicted: Float[Tensor, "*batch c n"]) -> AxisCosts:
        """Squared Euclidean distances of the embeddings."""
        values = wide(predicted)
        rows, columns = (
            _squared_distances(
                _grid_codes(cells, self.frequencies, values.dtype, values.device), part, self.frequencies
            )
            for cells, part in zip(self.grid, values.chunk(2, dim=-2), strict=True)
        )
        return AxisCosts(rows, columns, values.square().sum(-2))

    def axis_minima(self, predicted: Float[Tensor, "c n"]) -> AxisMinima:
        """The smallest of `axis_costs`, searched for among half as many values.

        Cells lie symmetrically about 0, where cosines agree and sines are opposite: of the cells at u and -u the nearer
        one has the product of the cosines plus the absolute one of the sines, whose sign tells which it is.
        """
        values = wide(predicted)
        void = values.square().sum(0)
        (rows, row_costs), (columns, column_costs) = map(self._nearest, self.grid, values.chunk(2))
        return AxisMinima(rows, columns, row_costs.add_(column_costs).add_(void).add_(2 * self.frequencies), void)

    def _nearest(self, cells: int, values: Float[Tensor, "c n"]) -> tuple[Int32[Tensor, " n"], Float[Tensor, " n"]]:
        """On one axis: the number of the cell with the smallest -2 c ŷ, and that."""
        sines, costs = (_half_codes(cells, self.frequencies, values.dtype, values.device) @ values).chunk(2)
        numbers, smallest = first_smallest(costs.sub_(sines.abs()))
        chosen = numbers[None].long().clamp_(max=len(sines) - 1)  # where predictions are no numbers there is none
        beyond = sines.gather(0, chosen)[0] < 0
        return numbers.add_(beyond * (cells - 1 - 2 * numbers)), smallest


@dataclass(frozen=True, slots=True)
class RgbEncoding(Encoding):
    """Direct regression: red is u and green v, both brought to [0, 1], blue is 1 in instances; void is (0, 0, 0).

    Paper: App. C. Its loss is the Euclidean norm of the three differences.
    """

    @property
    def channels(self) -> int:
        """3."""
        return 3

    def targets(self, centres: Float[Tensor, "b 2 h w"], inside: Bool[Tensor, "b h w"]) -> Float[Tensor, "b 3 h w"]:
        """(B, 3, H, W) in [0, 1]."""
        return F.pad((centres + 1) / 2, (0, 0, 0, 0, 0, 1), value=1.0) * inside[:, None]

    def pixel_loss(
        self, predicted: Float[Tensor, "b c h w"], centres: Float[Tensor, "b 2 h w"], inside: Bool[Tensor, "b h w"]
    ) -> Float[Tensor, "b h w"]:
        """The norm of the difference."""
        norm: Tensor = torch.linalg.vector_norm(self.targets(centres, inside) - predicted, dim=1)
        return norm

    def squared_distances(
        self, predicted: Float[Tensor, "b c n"], centres: Float[Tensor, "b 2 k"]
    ) -> Float[Tensor, "b k n"]:
        """Counted in cells of the grid: in units of the whole image every pixel would be a member of every instance."""
        cells = predicted.new_tensor(self.grid)[:, None, None]
        differences = (predicted[:, :2, None] - (centres[..., None] + 1) / 2) * cells
        return differences.square().sum(1)

    def axis_costs(self, predicted: Float[Tensor, "*batch c n"]) -> AxisCosts:
        """Squared Euclidean distances; blue's is among those of the rows."""
        values = wide(predicted)
        red, green, blue = values.chunk(3, dim=-2)
        rows, columns = (
            (part - (grid_coordinates(cells, values)[:, None] + 1) / 2).square()
            for cells, part in zip(self.grid, (red, green), strict=True)
        )
        return AxisCosts(rows + (blue - 1).square(), columns, values.square().sum(-2))


@dataclass(frozen=True, slots=True)
class BinsEncoding(Encoding):
    """Classification of u and of v into the cells of the grid, each with one class more, the last, for void.

    Paper: App. C. The loss is the mean of the two cross-entropies, and a distance is what -log of a probability says.
    """

    @property
    def channels(self) -> int:
        """G_r + 1 + G_c + 1 logits."""
        return sum(self.grid) + 2

    def targets(self, centres: Float[Tensor, "b 2 h w"], inside: Bool[Tensor, "b h w"]) -> Int64[Tensor, "b 2 h w"]:
        """(B, 2, H, W) the numbers of the row and of the column of cells, G of the axis for void."""
        void = centres.new_tensor(self.grid).long()[:, None, None]
        return torch.where(inside[:, None], self._cells(centres.flatten(2)).view(centres.shape), void)

    def pixel_loss(
        self, predicted: Float[Tensor, "b c h w"], centres: Float[Tensor, "b 2 h w"], inside: Bool[Tensor, "b h w"]
    ) -> Float[Tensor, "b h w"]:
        """The mean of the cross-entropies of u and of v."""
        classes = self.targets(centres, inside).unbind(1)
        row, column = (
            cross_entropy(axis, cells)
            for axis, cells in zip(self._log_probabilities(predicted, 1), classes, strict=True)
        )
        return (row + column) / 2

    def total_variation(self, predicted: Float[Tensor, "b c h w"]) -> Float[Tensor, ""]:
        """Eq. 11 of u and of v, added."""
        row, column = (semantic_smoothness(axis) for axis in self._log_probabilities(predicted, 1))
        return row + column

    def squared_distances(
        self, predicted: Float[Tensor, "b c n"], centres: Float[Tensor, "b 2 k"]
    ) -> Float[Tensor, "b k n"]:
        """-log of the probability of the centre's cell."""
        row, column = (
            -axis.gather(1, cells[..., None].expand(-1, -1, axis.shape[2]))
            for axis, cells in zip(self._log_probabilities(predicted, 1), self._cells(centres).unbind(1), strict=True)
        )
        return row + column

    def axis_costs(self, predicted: Float[Tensor, "*batch c n"]) -> AxisCosts:
        """-log of probabilities."""
        rows, columns = (-axis for axis in self._log_probabilities(wide(predicted), -2))
        return AxisCosts(rows[..., :-1, :], columns[..., :-1, :], rows[..., -1, :] + columns[..., -1, :])

    def _log_probabilities(self, logits: Tensor, dim: int) -> tuple[Tensor, Tensor]:
        """Of the classes of u and of those of v, along a dimension."""
        rows, columns = torch.split(logits, [cells + 1 for cells in self.grid], dim=dim)
        return rows.log_softmax(dim), columns.log_softmax(dim)

    def _cells(self, centres: Float[Tensor, "b 2 n"]) -> Int64[Tensor, "b 2 n"]:
        """The cell that a coordinate lies in."""
        cells = centres.new_tensor(self.grid)[:, None]
        return ((centres + 1) / 2 * cells).floor().clamp_min(0).minimum(cells - 1).long()


@lru_cache(maxsize=16)
def _grid_codes(cells: int, frequencies: int, dtype: torch.dtype, device: torch.device) -> Float[Tensor, "g c"]:
    """Eq. 3 of the cells of an axis; kept, for pixels are decoded in many small blocks."""
    with torch.inference_mode(mode=False):  # whoever asks first, it can be used in training
        coordinates = grid_coordinates(cells, torch.zeros(0, dtype=dtype, device=device))
        return positional_embedding(coordinates, frequencies)


@lru_cache(maxsize=16)
def _half_codes(cells: int, frequencies: int, dtype: torch.dtype, device: torch.device) -> Float[Tensor, "g c"]:
    """Of the cells of the first half of an axis, 2 sines without cosines, then -2 cosines without sines."""
    codes = 2 * _grid_codes(cells, frequencies, dtype, device)[: (cells + 1) // 2]
    sines = codes.new_tensor([1.0, 0.0] * frequencies)
    return torch.cat((codes * sines, codes * (sines - 1)))


def _squared_distances(
    codes: Float[Tensor, "*batch k c"], predicted: Float[Tensor, "*batch2 c n"], squared_norm: int
) -> Float[Tensor, "*batch2 k n"]:
    """‖ŷ‖² - 2 c ŷ + ‖c‖² of every pixel (columns) from every code c (rows), all of the same norm."""
    distances = (-2 * codes) @ predicted
    return distances.add_(predicted.square().sum(-2, keepdim=True) + squared_norm)


def first_smallest(values: Float[Tensor, "g n"]) -> tuple[Int32[Tensor, " n"], Float[Tensor, " n"]]:
    """For each column the number of the first row that has its smallest value, and the value.

    Three passes that processors do in vectors: `torch.min`, which finds both at once, takes seven times as long there,
    and promises no order among equals.

    Args:
        values: (G, N), G below 2^24. Overwritten.
    """
    smallest = values.amin(0)
    last = torch.arange(len(values), 0, -1, device=values.device, dtype=values.dtype)  # 0 is no row's
    first = values.le_(smallest).mul_(last[:, None]).amax(0).neg_().add_(len(values))
    return first.to(torch.int32), smallest
