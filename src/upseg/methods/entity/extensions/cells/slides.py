"""Cells of an image of any size, in bounded memory and without seams.

The network looks at the same tiles as it would with the whole image in memory, and what they say is blended alike. Then
objects are grouped block by block, each with a rim around it: a block keeps those whose peak begins inside it, whole,
however far they reach out of it. Floods do not pass from one connected stretch of foreground to another, so that all
objects of a stretch that a block sees whole are the very objects of the whole image. Of longer stretches a block
sees what lies within the rim: ten times the diameter that the image is scaled to.

Everything that is computed goes to a folder first, tile by tile and block by block: what stops the run costs one.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float32, Float64, Int32
from torch import Tensor

from upseg.errors import ModelError
from upseg.files import atomic_path
from upseg.functional.contrast import BRIGHT, DARK, contrast_step, spread
from upseg.images.regions import RgbSource, blocks, sampled
from upseg.images.rescaling import RescaledRegions
from upseg.layers.tiling import TileGrid, blended_at
from upseg.methods.entity.extensions.cells.grouping import PixelMaps, flooded, without_doubtful
from upseg.methods.entity.extensions.cells.settings import CellSettings
from upseg.work_folder import claim_folder, kept_array

RIM = 10.0
"""Around a block, in canonical diameters."""
_BASE_BYTES, _BYTES_PER_PIXEL = 1_750_000_000, 50
"""What a process takes for a tile, and more for each pixel of a block with its rim: measured, rounded up."""
_BLOCKS = 512, 2048
"""The smallest and the largest side of a block."""
_SHARES = (1 / 6, 1 / 2, 5 / 6)
_LARGEST_STRIDE = 32
_KEPT_MAPS = 3  # foreground, border and distance: the size is needed for the diameter alone

Region = tuple[slice, slice]


@dataclass(frozen=True, slots=True)
class SlidePlan:
    """What is decided of an image before any part of it is segmented.

    Attributes:
        shape: (H, W) of the image.
        size: (H, W) at which the network sees it.
        diameter: Of the objects, in pixels of the image.
        contrast: What becomes 0 and 1; None where the contrast stays.
        block: Side in pixels at that size.
        widest: Of a block's rim: it grows up to there for objects that reach out of it.
    """

    shape: tuple[int, int]
    size: tuple[int, int]
    diameter: float
    contrast: tuple[float, float] | None
    block: int
    widest: int

    @classmethod
    def kept_in(cls, folder: Path, key: str, make: Callable[[], SlidePlan]) -> SlidePlan:
        """The plan of an earlier run with the same key; else a new one, and what lies in the folder goes."""
        claim_folder(folder, key)
        path = folder / "plan.json"
        if path.exists():
            noted = json.loads(path.read_text())
            return cls(**{**noted, **{name: noted[name] and tuple(noted[name]) for name in _PAIRS}})
        plan = make()
        with atomic_path(path) as partial:
            partial.write_text(json.dumps(asdict(plan)))
        return plan


_PAIRS = ("shape", "size", "contrast")


@dataclass(frozen=True, eq=False)
class StretchedRegions:
    """An image whose contrast is stretched as `upseg.functional.contrast.stretch_contrast` does it.

    Attributes:
        source: The image.
        contrast: What becomes 0 and 1; None to leave it.
    """

    source: RgbSource
    contrast: tuple[float, float] | None

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W)."""
        return self.source.shape

    def read(self, rows: slice, columns: slice) -> Float32[np.ndarray, "h w 3"]:
        """A region."""
        pixels = self.source.read(rows, columns)
        return pixels if self.contrast is None else spread(pixels, *self.contrast)


@dataclass(frozen=True, eq=False)
class SlideCells:
    """One image in work.

    Attributes:
        image: Its contrast stretched.
        plan: For it.
        folder: What is computed goes there.
        look: The network: (1, 3, h, w) to (1, 4, h, w) on the CPU.
        settings: Of the model.
    """

    image: StretchedRegions
    plan: SlidePlan
    folder: Path
    look: Callable[[Tensor], Tensor]
    settings: CellSettings

    def run(self, step: Callable[[], None]) -> None:
        """Do every block that an earlier run has not done.

        Args:
            step: Called after each block.
        """
        for number, core in enumerate(self.cores):
            if not self.patch(number).exists():
                self._group(number, core)
            self._forget_tiles(before=core[0].start - self.plan.widest)
            step()

    @cached_property
    def cores(self) -> tuple[Region, ...]:
        """The blocks without their rims, in reading order."""
        return tuple(blocks(*self.plan.size, self.plan.block))

    def patch(self, number: int) -> Path:
        """Where the objects of a block are."""
        return self.folder / f"block-{number}.npz"

    @cached_property
    def _grid(self) -> TileGrid:
        return grid_of(self.plan.size, self.settings)

    @cached_property
    def _tiles(self) -> tuple[Region, ...]:
        return tuple(self._grid)

    @property
    def _rim(self) -> int:
        return math.ceil(RIM * self.settings.canonical)

    def _tile(self, number: int) -> Tensor:
        """What the network says about a tile, (3, h, w)."""

        def look() -> Float32[np.ndarray, "3 h w"]:
            pixels = RescaledRegions(self.image, self.plan.size).read(*self._tiles[number]).clip(0, 1)
            return self.look(torch.from_numpy(pixels).permute(2, 0, 1)[None])[0, :_KEPT_MAPS].float().cpu().numpy()

        return torch.from_numpy(kept_array(self.folder / f"tile-{number}.npy", look))

    def _forget_tiles(self, before: int) -> None:
        """Delete the tiles that end above a row: no block needs them any more."""
        for number in self._kept_tiles():
            if self._tiles[number][0].stop <= before:
                (self.folder / f"tile-{number}.npy").unlink()

    def _kept_tiles(self) -> Iterator[int]:
        return (int(path.stem.partition("-")[2]) for path in list(self.folder.glob("tile-*.npy")))

    def _group(self, number: int, core: Region) -> None:
        rim = self._rim
        while True:
            region = _grown(core, rim, self.plan.size)
            labels, scores, owned = self._objects(core, region)
            if rim >= self.plan.widest or not _is_cut(owned[labels], region, self.plan.size):
                break
            rim = min(2 * rim, self.plan.widest)
        numbers = np.flatnonzero(owned)
        table = np.zeros(len(owned), np.min_scalar_type(len(numbers)))
        table[numbers] = np.arange(1, len(numbers) + 1)
        rows, columns = (_occupied(owned[labels].any(axis)) for axis in (1, 0))
        place = [region[0].start + rows.start, region[1].start + columns.start]
        with atomic_path(self.patch(number)) as partial, partial.open("wb") as file:
            # not compressed: the bands of the map read each of them several times
            np.savez(file, labels=table[labels[rows, columns]], place=np.array(place), scores=scores[numbers])

    def _objects(
        self, core: Region, region: Region
    ) -> tuple[Int32[np.ndarray, "h w"], Float64[np.ndarray, " n1"], Bool[np.ndarray, " n1"]]:
        """The objects in a region, their scores, and which of them belong to the block."""
        settings = self.settings
        blended = blended_at(self._tile, self._grid, *region).numpy()
        foreground, border, distance = blended
        maps = PixelMaps(foreground, border, distance, np.broadcast_to(np.float32(0), foreground.shape))
        floods = settings.foreground, settings.border_weight, settings.smoothing, settings.prominence
        labels, markers = flooded(maps, *floods)
        least = settings.minimum_area * math.pi * settings.canonical**2 / 4
        found = without_doubtful(labels, maps.foreground, least, settings.minimum_score)
        count = int(markers.max(initial=0)) + 1
        scores, is_found = np.zeros(count), np.zeros(count, bool)
        is_found[list(found.scores)], scores[list(found.scores)] = True, list(found.scores.values())
        return found.labels, scores, is_found & _begins_in(markers, count, core, region)


def _begins_in(markers: Int32[np.ndarray, "h w"], count: int, core: Region, region: Region) -> Bool[np.ndarray, " n1"]:
    """Which of `count` markers of a region have their first pixel in the core."""
    flat = markers.ravel()
    there = np.flatnonzero(flat)
    first = np.zeros(count, np.int64)
    first[flat[there][::-1]] = there[::-1]
    inside = np.arange(count) > 0
    for span, outer, place in zip(core, region, np.divmod(first, markers.shape[1]), strict=True):
        inside &= (place >= span.start - outer.start) & (place < span.stop - outer.start)
    return inside


def _grown(core: Region, rim: int, size: tuple[int, int]) -> Region:
    rows, columns = (
        slice(max(0, span.start - rim), min(length, span.stop + rim)) for span, length in zip(core, size, strict=True)
    )
    return rows, columns


def _is_cut(owned: Bool[np.ndarray, "h w"], region: Region, size: tuple[int, int]) -> bool:
    """Whether an object reaches an edge of a region that is not one of the image."""
    rows, columns = region
    edges = (
        (rows.start > 0, owned[0]),
        (rows.stop < size[0], owned[-1]),
        (columns.start > 0, owned[:, 0]),
        (columns.stop < size[1], owned[:, -1]),
    )
    return any(inner and line.any() for inner, line in edges)


def _occupied(lines: Bool[np.ndarray, " n"]) -> slice:
    places = np.flatnonzero(lines)
    return slice(int(places[0]), int(places[-1]) + 1) if len(places) else slice(0, 0)


def contrast_of(image: RgbSource) -> tuple[float, float]:
    """What becomes 0 and 1 of an image, as `upseg.functional.contrast.stretch_contrast` finds it."""
    step = contrast_step(image.shape[0] * image.shape[1] * 3)
    low, high = np.percentile(sampled(image, step), (DARK, BRIGHT))
    return float(low), float(high)


def parts_of(shape: tuple[int, int], side: int) -> Iterator[Region]:
    """Nine squares evenly spread over an image, or as many as there is room for."""
    rows, columns = (sorted({round(share * max(0, length - side)) for share in _SHARES}) for length in shape)
    for top in rows:
        for left in columns:
            yield slice(top, min(top + side, shape[0])), slice(left, min(left + side, shape[1]))


def block_sizes(memory: int, canonical: float) -> tuple[int, int]:
    """The side of the blocks for which so many bytes are enough, and how wide their rims may become.

    Raises:
        ModelError: If they are not enough for any.
    """
    rim = math.ceil(RIM * canonical)
    side = int(math.sqrt(max(0, memory - _BASE_BYTES) / _BYTES_PER_PIXEL))
    smallest, largest = _BLOCKS
    if side < smallest + 2 * rim:
        least = _BASE_BYTES + _BYTES_PER_PIXEL * (smallest + 2 * rim) ** 2
        raise ModelError(f"images in blocks need a memory of at least {math.ceil(least / 1e8) / 10} GB")
    block = min((side - 2 * rim) // smallest * smallest, largest)
    return block, (side - block) // 2


def grid_of(size: tuple[int, int], settings: CellSettings) -> TileGrid:
    """The tiles in which the network sees an image of a size."""
    return TileGrid(*size, settings.tile, settings.overlap, _LARGEST_STRIDE)


@dataclass(frozen=True, eq=False)
class Patches:
    """The objects of all blocks, and the label map that they make.

    Attributes:
        files: Of the blocks, in reading order.
        size: (H, W) of the map.
    """

    files: tuple[Path, ...]
    size: tuple[int, int]

    @cached_property
    def scores(self) -> Float64[np.ndarray, " n1"]:
        """Of the objects in the order of their numbers; 0 of number 0."""
        return np.concatenate([[0.0], *(np.load(path)["scores"] for path in self.files)])

    @cached_property
    def _places(self) -> list[tuple[Path, slice, slice, int]]:
        """Each file, the rows and columns that it fills, and the numbers that come before its own."""
        found, before = [], 0
        for path in self.files:
            with np.load(path) as stored:
                (top, left), (height, width) = stored["place"].tolist(), stored["labels"].shape
                found.append((path, slice(top, top + height), slice(left, left + width), before))
                before += len(stored["scores"])
        return found

    def labels_at(self, rows: slice) -> Int32[np.ndarray, "h w"]:
        """Rows of the map, with numbers from 1 through all files; of two objects on one pixel the first has it."""
        found = np.zeros((rows.stop - rows.start, self.size[1]), np.int32)
        for path, own, columns, before in self._places:
            both = slice(max(rows.start, own.start), min(rows.stop, own.stop))
            if both.start >= both.stop:
                continue
            with np.load(path) as stored:
                part = stored["labels"][both.start - own.start : both.stop - own.start].astype(np.int32)
            target = found[both.start - rows.start : both.stop - rows.start, columns]
            np.copyto(target, part + np.int32(before), where=(part > 0) & (target == 0))
        return found
