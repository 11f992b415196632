"""Big images in overlapping tiles, what the network says about them blended over the overlaps.

Features are blended before anything is decided, so that no seam is left for the grouping to find. Memory is that of one
map of the whole image and one tile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, slots=True)
class TileGrid:
    """Where the tiles of an image lie: evenly spread, all of about the same size, none sticking out.

    Attributes:
        height: Of the image, in pixels.
        width: Of the image, in pixels.
        tile: Largest side of a tile, in pixels.
        overlap: Least overlap of neighbouring tiles, in pixels, below `tile`.
        multiple: Tiles begin at multiples of this, as far as `tile` - `overlap` lets them. With the network's largest
            stride a tile sees the image on the same grid as one pass over the whole image would.

    Raises:
        ValueError: If a size is not positive or the overlap not in [0, tile).
    """

    height: int
    width: int
    tile: int
    overlap: int
    multiple: int = 1

    def __post_init__(self) -> None:
        if min(self.height, self.width, self.tile, self.multiple) < 1 or not 0 <= self.overlap < self.tile:
            raise ValueError(
                f"sides must be at least 1 and 0 <= overlap < tile, got an image of {self.height}x{self.width}, "
                f"tile={self.tile}, overlap={self.overlap}, multiple={self.multiple}"
            )

    def __len__(self) -> int:
        return len(self._spans(self.height)) * len(self._spans(self.width))

    def __iter__(self) -> Iterator[tuple[slice, slice]]:
        """The (rows, columns) of each tile, in reading order."""
        columns = self._spans(self.width)
        return ((rows, column) for rows in self._spans(self.height) for column in columns)

    def _spans(self, length: int) -> list[slice]:
        rest = length - self.tile  # where the last tile begins at the earliest
        if rest <= 0:
            return [slice(0, length)]
        multiple = self.multiple if self.tile - self.overlap >= self.multiple else 1
        last = -(-rest // multiple)  # this and all below in units of `multiple`, rounded up
        steps = -(-last // ((self.tile - self.overlap) // multiple))
        starts = [-(-last * step // steps) * multiple for step in range(steps + 1)]
        return [slice(start, min(start + self.tile, length)) for start in starts]


def run_in_tiles(
    network: Callable[[Float[Tensor, "1 c h w"]], Float[Tensor, "1 d h w"]],
    image: Float[Tensor, "1 c h2 w2"],
    grid: TileGrid,
    *,
    lines: bool,
    progress: Callable[[], None] | None = None,
) -> Float[Tensor, "d h2 w2"]:
    """Run a network over an image tile by tile, and take the weighted mean of what the tiles say where they overlap.

    A tile's weight falls smoothly to nothing towards the edges that it shares with others.

    Features on the projective sphere are lines: f and -f are the same, and two tiles agree on a pixel's line but not on
    its sign. With `lines`, features are normalised, and where tiles overlap, the later one is turned, pixel by pixel,
    to the side on which the sum of the earlier ones lies; the mean is normalised again. Of two tiles with the same
    weight that mean is the dominant line, exactly; else it is close to it.

    Args:
        network: (1, C, H, W) to (1, d, H, W) of the same size.
        image: (1, C, H, W) on the network's device.
        grid: Of the image.
        lines: Whether the network's output at a pixel is a line; otherwise its values are averaged as they are.
        progress: Called after each tile.

    Returns:
        (d, H, W) float32; with `lines` of unit length, but zero where the network's output is zero.

    Raises:
        ValueError: If the image does not have the size of the grid.
    """
    if tuple(image.shape[-2:]) != (grid.height, grid.width):
        raise ValueError(
            f"the grid is of an image of {grid.height}x{grid.width} pixels, got one of shape {tuple(image.shape)}"
        )
    total: Tensor | None = None
    weights = torch.zeros(grid.height, grid.width, device=image.device)
    for rows, columns in grid:
        values = network(image[..., rows, columns])[0].float()
        if lines:
            values = F.normalize(values, dim=0)
        if len(grid) == 1:
            total = values
        else:
            if total is None:
                total = values.new_zeros(len(values), grid.height, grid.width)
            weight = _tile_weight(grid, rows, columns).to(image.device)
            _add(total[:, rows, columns], values, weight, lines=lines)
            weights[rows, columns] += weight
        if progress is not None:
            progress()
    assert total is not None  # noqa: S101  (a grid has at least one tile)
    if len(grid) > 1:
        # in place: a second map of the whole image would double the memory
        total /= torch.linalg.vector_norm(total, dim=0).clamp_min(torch.finfo().tiny) if lines else weights
    return total


def tiles_at(grid: TileGrid, rows: slice, columns: slice) -> list[int]:
    """The numbers of the tiles that a region of the image touches, in reading order."""
    return [number for number, tile in enumerate(grid) if _touches(tile[0], rows) and _touches(tile[1], columns)]


def blended_at(
    load: Callable[[int], Float[Tensor, "d h w"]], grid: TileGrid, rows: slice, columns: slice
) -> Float[Tensor, "d h2 w2"]:
    """A region of what `run_in_tiles` gives for the whole image, without `lines`, to the last bit.

    Args:
        load: Gives what the network said about the tile of a number.
        grid: Of the image.
        rows: Of the region.
        columns: Of the region.
    """
    total: Tensor | None = None
    weights = torch.zeros(rows.stop - rows.start, columns.stop - columns.start)
    tiles = list(grid)
    for number in tiles_at(grid, rows, columns):
        spans = tiles[number]
        both = [
            slice(max(own.start, span.start), min(own.stop, span.stop))
            for own, span in zip(spans, (rows, columns), strict=True)
        ]
        of_tile = [_moved(span, own.start) for span, own in zip(both, spans, strict=True)]
        of_region = _moved(both[0], rows.start), _moved(both[1], columns.start)
        values = load(number)[:, *of_tile].float()
        if len(grid) == 1:
            return values
        if total is None:
            total = values.new_zeros(len(values), *weights.shape)
        weight = _tile_weight(grid, *spans)[*of_tile]
        total[:, *of_region] += values * weight
        weights[*of_region] += weight
    assert total is not None  # noqa: S101  (tiles cover the image)
    return total.div_(weights)


def _touches(span: slice, other: slice) -> bool:
    return bool(span.start < other.stop and other.start < span.stop)


def _moved(span: slice, origin: int) -> slice:
    return slice(span.start - origin, span.stop - origin)


def _add(
    total: Float[Tensor, "d h w"], values: Float[Tensor, "d h w"], weight: Float[Tensor, "h w"], *, lines: bool
) -> None:
    """Add a tile to the sum in place."""
    if lines:
        agreement = torch.zeros_like(weight)
        for channel, other in zip(total, values, strict=True):  # a sum of products would need one more tile of memory
            agreement.addcmul_(channel, other)
        weight = torch.where(agreement < 0, -weight, weight)
    total += values * weight  # as `blended_at` does it: one step for both would round otherwise


def _tile_weight(grid: TileGrid, rows: slice, columns: slice) -> Float[Tensor, "h w"]:
    return torch.outer(_ramp(rows, grid.height, grid.overlap), _ramp(columns, grid.width, grid.overlap))


def _ramp(span: slice, length: int, overlap: int) -> Float[Tensor, " n"]:
    """Weight along one side of a tile: 1 inside, down to nearly 0 over the overlap, but not at the image's edge."""
    position = torch.arange(span.stop - span.start) + 0.5
    rise = torch.ones_like(position)
    if span.start > 0:
        rise = torch.minimum(rise, position / max(overlap, 1))
    if span.stop < length:
        rise = torch.minimum(rise, position.flip(0) / max(overlap, 1))
    return torch.sin(rise.clamp(max=1) * (torch.pi / 2)) ** 2
