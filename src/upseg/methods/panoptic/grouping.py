"""From the maps of the network to things and stuff, at the image's own size (Sec. 3.3.1, 5.1)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Float64, Int32, Int64
from torch import Tensor

from upseg.functional.precision import full_precision
from upseg.methods.panoptic.encodings import AxisCosts, AxisMinima, Encoding, first_smallest, make_encoding
from upseg.methods.panoptic.extensions.resampling import Decision, Resampling
from upseg.methods.panoptic.settings import PanopticSettings

VOID = -1
"""The number of pixels that are nearer to void than to any centre."""
CACHED_VALUES = 2**20
"""Computed at once on a processor: they stay in its cache."""
LARGEST_VALUES = 2**26
"""Computed at once on other devices, where calls cost more than memory: 256 MiB."""
FIXED_POINT = 2**16
"""Confidences are rounded to multiples of 1 / this: sums of such numbers do not depend on their order."""


@dataclass(frozen=True)
class PanopticGrouping:
    """The segments of one image.

    Attributes:
        labels: (H, W) ids, 0 void. Things come first, those with most votes before others; then stuff by its class.
        scores: For each id the mean confidence of its pixels, in [0, 1].
        classes: For each id its class, as the number of a channel of the semantic map; none without such a map.
    """

    labels: Int32[np.ndarray, "h w"]
    scores: Mapping[int, float]
    classes: Mapping[int, int]


@dataclass(frozen=True)
class _Choice:
    """One of several options for each pixel of a map of the network.

    Attributes:
        values: (C, h, w) the channels that decide, those of a pixel side by side.
        numbers: (h, w) of the option that is chosen, `VOID` for none of them.
        confidences: (h, w) in [0, 1].
        options: How many there are.
        decide: The choice for channels that are interpolated.
    """

    values: Float[Tensor, "c h w"]
    numbers: Int32[Tensor, "h w"]
    confidences: Float32[Tensor, "h w"]
    options: int
    decide: Decision


class _Tables(NamedTuple):
    """What the image's pixels amount to, for each instance and each class; in row 0 those of no instance.

    Attributes:
        areas: (K + 1, N) pixels.
        instance_sums: (K + 1, N) sums of their confidences in their instance.
        class_sums: (K + 1, N) sums of their confidences in their class.
    """

    areas: Float64[np.ndarray, "k1 n"]
    instance_sums: Float64[np.ndarray, "k1 n"]
    class_sums: Float64[np.ndarray, "k1 n"]


@torch.inference_mode()
def group_panoptic(
    instance: Float[Tensor, "c h w"] | None,
    semantic: Float[Tensor, "n h w"] | None,
    is_thing: Bool[np.ndarray, " n"],
    settings: PanopticSettings,
    size: tuple[int, int],
    extent: tuple[float, float] | None = None,
) -> PanopticGrouping:
    """Group the pixels of one image by the centre that they say they belong to, and name the groups.

    Paper: Sec. 3.3.1 and 5.1, which have the nearest neighbours, a suppression and the majority; the rest are choices.

    Each pixel of the map votes for the cell of the grid that it is nearest to, or for void. Cells become centres, those
    with most votes first, unless one nearby has become one before. Channels, not labels, are brought to the image's
    size, and each of its pixels goes to the nearest centre or to void. A thing's class is the one that most of its
    pixels have in the semantic map, stuff left out. Things that are too small or too doubtful, or have no pixel of a
    thing's class, are given up. Pixels of no thing become stuff if that is their class, all of one class one segment,
    else void; stuff that covers too little becomes void.

    A pixel's confidence in a centre is exp(-cost), as the membership of Eq. 14; in a class, its probability.

    Args:
        instance: (C, h, w) instance channels, of any floating type; None for a model without: there are no things, and
            classes of things are treated like stuff.
        semantic: (N, h, w) logits; None for a model without: things have no class, and there is no stuff.
        is_thing: (N,) which classes are things; without a semantic map of any length.
        settings: Those of the encoding, of suppression, and the least votes, areas and score.
        size: (H, W) of the image in pixels.
        extent: How many rows and columns of the maps the image covers, parts counted; None for all.

    Raises:
        ValueError: If there is neither map, shapes do not fit together, or values are not finite.
    """
    values = _check_maps(instance, semantic, is_thing)
    resampling = Resampling.between((values.shape[1], values.shape[2]), size, extent, values.device)
    if instance is None:
        things, is_thing = _same_everywhere(values, VOID, options=0), np.zeros_like(is_thing)
    else:
        things = _choose_centres(instance, make_encoding(settings), settings)
    if semantic is None:
        classes, is_thing = _same_everywhere(values, 0, options=1), np.ones(1, bool)
    else:
        classes = _choose_classes(semantic)
    codes = torch.empty(size, dtype=torch.int32, device=values.device)  # places in the tables
    for lines, band in resampling.bands():
        centre, name = (band.decide(one.values, one.numbers, one.decide) for one in (things, classes))
        codes[lines] = (centre - VOID) * classes.options + name
    tables = _tabulate(codes, resampling, things, classes)
    ids, scores, names = _choose_segments(tables, is_thing, settings)
    labels = torch.from_numpy(ids).to(codes.device).flatten()[codes].cpu().numpy()
    return PanopticGrouping(labels, scores, {} if semantic is None else names)


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
        values = predicted[:, part].float()
        numbers[part], costs[part] = (
            nearest_cells(encoding.axis_minima(values), encoding.grid[1])
            if centres is None
            else nearest_centres(encoding.axis_costs(values), centres)
        )
    if not bool(torch.isfinite(costs).all()):
        raise ValueError("instance channels must be finite, but some are NaN or infinite; check the network's weights")
    return Nearest(numbers, costs)


def blocks_of(pixels: int, values: int, device: torch.device) -> Iterator[slice]:
    """Stretches of N pixels for which so many values each may be computed at once."""
    elements = CACHED_VALUES if device.type == "cpu" else LARGEST_VALUES
    step = max(1, elements // max(1, values))
    for start in range(0, pixels, step):
        yield slice(start, min(start + step, pixels))


def nearest_cells(minima: AxisMinima, columns: int) -> Nearest:
    """The nearest cell of the grid, or void.

    A cell's cost is the sum of its row's and its column's, so the nearest cell is the one in the nearest row and the
    nearest column: G_r + G_c costs for a pixel decide among G_r G_c cells. Void only where it is nearer than all.

    Args:
        minima: The nearest row and column of N pixels.
        columns: G_c.
    """
    return _or_void(minima.rows * columns + minima.columns, minima.costs, minima.void)


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


def _or_void(numbers: Int32[Tensor, " n"], costs: Float[Tensor, " n"], void: Float[Tensor, " n"]) -> Nearest:
    return Nearest(torch.where(void < costs, VOID, numbers), torch.minimum(void, costs))


def suppress_centres(
    votes: Int64[np.ndarray, "gr gc"], radius: float = 0.0, minimum_votes: float = 1.0
) -> Int64[np.ndarray, "k 2"]:
    """Greedy non-maximum suppression: the cell with most votes removes those around it, and so on with the rest.

    Args:
        votes: (G_r, G_c) of each cell of the grid.
        radius: In cells, at least 0: as far away a cell is still removed.
        minimum_votes: Cells with fewer are no centres; those without any never.

    Returns:
        (K, 2) row and column of the centres, most votes first, among equals by row and column.
    """
    flat = votes.ravel()
    order = np.argsort(-flat, kind="stable")
    order = order[flat[order] >= max(1, minimum_votes)]
    cells = np.stack(np.divmod(order, votes.shape[1]), axis=1)
    centres = []
    while len(cells):
        centres.append(cells[0])
        cells = cells[((cells - cells[0]) ** 2).sum(1) > radius**2]
    return np.array(centres, np.int64).reshape(-1, 2)


def _check_maps(
    instance: Float[Tensor, "c h w"] | None, semantic: Float[Tensor, "n h2 w2"] | None, is_thing: Bool[np.ndarray, " m"]
) -> Float[Tensor, "_ _ _"]:
    """One of the maps."""
    maps = [values for values in (instance, semantic) if values is not None]
    if not maps or maps[0].shape[1:] != maps[-1].shape[1:]:
        raise ValueError(
            "expected an instance map, a semantic map or both, of one height and width, "
            f"got {' and '.join(str(tuple(values.shape)) for values in maps) or 'none'}"
        )
    if semantic is not None and len(semantic) != len(is_thing):
        raise ValueError(f"is_thing must say it of each of the {len(semantic)} classes, got {len(is_thing)}")
    return maps[0]


def _choose_centres(instance: Float[Tensor, "c h w"], encoding: Encoding, settings: PanopticSettings) -> _Choice:
    """The centres, and the one that each pixel of the map is nearest to, or void."""
    flat, (grid_rows, grid_columns) = instance.flatten(1), encoding.grid
    numbers, costs = decode_pixels(flat, encoding)
    votes = torch.bincount(numbers - VOID, minlength=grid_rows * grid_columns + 1)[1:]  # those for void are in front
    centres = suppress_centres(
        votes.view(grid_rows, grid_columns).cpu().numpy(),
        settings.suppression_radius,
        settings.minimum_votes * flat.shape[1],
    )
    cells = torch.from_numpy(centres @ (grid_columns, 1)).to(flat.device)
    positions = numbers.new_full((len(votes) + 1,), VOID)  # the last is void's
    positions[cells] = torch.arange(len(cells), dtype=torch.int32, device=flat.device)
    found = positions[numbers]
    # what is nearest of all is nearest of some too; only the pixels of other cells have to look for a centre
    others = torch.nonzero((found == VOID) & (numbers != VOID))[:, 0]
    decide = partial(decode_pixels, encoding=encoding, centres=torch.from_numpy(centres).to(flat.device))
    found[others], costs[others] = decide(flat[:, others])
    confidences = (-costs).exp().clamp(max=1)
    shape = instance.shape[1:]
    return _Choice(
        _channels_last(instance),
        found.view(shape),
        confidences.view(shape),
        len(centres),
        lambda part: decide(part).numbers,
    )


def _choose_classes(semantic: Float[Tensor, "n h w"]) -> _Choice:
    """The class with the largest logit, and its probability."""
    values = _channels_last(semantic)
    flat = values.permute(1, 2, 0).flatten(0, 1)
    numbers = torch.empty(len(flat), dtype=torch.int32, device=flat.device)
    confidences = torch.empty(len(flat), device=flat.device)
    for part in blocks_of(len(flat), len(values), flat.device):
        logits = flat[part]
        numbers[part] = _largest(logits.T)
        confidences[part] = 1 / (logits - logits.amax(1, keepdim=True)).exp_().sum(1)  # softmax of the largest
    if not bool(torch.isfinite(confidences).all()):
        raise ValueError("semantic logits must be finite, but some are NaN or infinite; check the network's weights")
    shape = semantic.shape[1:]
    return _Choice(values, numbers.view(shape), confidences.view(shape), len(semantic), _largest)


def _same_everywhere(values: Float[Tensor, "_ h w"], number: int, options: int) -> _Choice:
    """In place of a map that is not there."""
    numbers = torch.full(values.shape[1:], number, dtype=torch.int32, device=values.device)
    return _Choice(values, numbers, torch.ones_like(numbers, dtype=torch.float32), options, _largest)


def _channels_last(values: Float[Tensor, "c h w"]) -> Float32[Tensor, "c h w"]:
    """The same with the channels of a pixel side by side: so they are interpolated and compared fastest."""
    return values.permute(1, 2, 0).float().contiguous().permute(2, 0, 1)


def _largest(values: Float32[Tensor, "c n"]) -> Int32[Tensor, " n"]:
    """The first of the largest."""
    if values.device.type == "cpu":
        return torch.from_numpy(values.T.numpy().argmax(1)).int()
    return first_smallest(-values)[0]


def _tabulate(codes: Int32[Tensor, "h w"], resampling: Resampling, things: _Choice, classes: _Choice) -> _Tables:
    """Count and add up the pixels of each code."""
    shape = (things.options + 1, classes.options)
    tables = torch.zeros(3, shape[0] * shape[1], dtype=torch.float64, device=codes.device)
    for lines, band in resampling.bands():
        flat = codes[lines].flatten()
        tables[0] += torch.bincount(flat, minlength=tables.shape[1])
        for row, choice in enumerate((things, classes), start=1):
            exact = (band.nearest(choice.confidences) * FIXED_POINT).round().flatten().double()
            tables[row] += torch.bincount(flat, exact, minlength=tables.shape[1])
    tables[1:] /= FIXED_POINT
    return _Tables(*tables.view(3, *shape).cpu().numpy())


def _choose_segments(
    tables: _Tables, is_thing: Bool[np.ndarray, " n"], settings: PanopticSettings
) -> tuple[Int32[np.ndarray, "k1 n"], dict[int, float], dict[int, int]]:
    """Which instances and classes become segments.

    Returns:
        (K + 1, N) the id of the pixels with each instance and class; scores and classes by id.
    """
    pixels = tables.areas.sum()
    areas = tables.areas.sum(1)
    scores = tables.instance_sums.sum(1) / np.maximum(areas, 1)
    of_things = np.where(is_thing, tables.areas, 0)
    kept = of_things.max(1, initial=0) > 0
    kept &= (areas >= settings.minimum_thing_area * pixels) & (scores >= settings.minimum_score)
    kept[0] = False
    left = np.where(kept[:, None] | is_thing, 0, tables.areas).sum(0)
    stuff = np.flatnonzero(left >= max(1, settings.minimum_stuff_area * pixels))
    stuff_scores = np.where(kept[:, None], 0, tables.class_sums).sum(0)[stuff] / left[stuff]
    instances = np.flatnonzero(kept)
    ids: Int32[np.ndarray, "k1 n"] = np.zeros(tables.areas.shape, np.int32)
    ids[:, stuff] = np.arange(len(stuff)) + len(instances) + 1
    ids[instances] = np.arange(len(instances))[:, None] + 1
    # sums of many numbers just below 1 may end just above it
    found = np.minimum([*scores[instances], *stuff_scores], 1).tolist()
    names = [*of_things[instances].argmax(1).tolist(), *stuff.tolist()]
    return ids, dict(enumerate(found, start=1)), dict(enumerate(names, start=1))
