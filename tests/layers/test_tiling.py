"""Tiles: they cover everything, leave no seams, and lines may have any sign in any tile."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from torch import Tensor

from upseg.layers.tiling import TileGrid, run_in_tiles

CHANNELS = 6


def smooth_image(height: int, width: int, seed: int = 0) -> Tensor:
    """(1, 3, H, W) in [0, 1] without any edge."""
    noise = np.random.default_rng(seed).normal(size=(3, height, width))
    smooth = ndimage.gaussian_filter(noise, (0, 12, 12), mode="reflect")
    low, high = smooth.min(), smooth.max()
    return torch.from_numpy(((smooth - low) / max(high - low, 1e-9)).astype(np.float32))[None]


def convolution(reach: int = 8, *, seed: int = 0) -> Callable[[Tensor], Tensor]:
    """Features of a pixel from its surroundings; what lies outside the tile counts as the nearest pixel inside."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(CHANNELS, 6, generator=generator)
    offset = torch.randn(CHANNELS, 1, 1, generator=generator) / 2  # without it features pass through 0: a real edge

    def network(image: Tensor) -> Tensor:
        mean = F.avg_pool2d(F.pad(image, [reach] * 4, mode="replicate"), 2 * reach + 1, stride=1)
        return torch.einsum("dc,bchw->bdhw", mixing, torch.cat([image, mean], dim=1) - 0.5) + offset

    return network


def with_signs(network: Callable[[Tensor], Tensor], seed: int = 0) -> Callable[[Tensor], Tensor]:
    """The same lines with random signs, other ones in each tile and at each pixel."""
    generator = torch.Generator().manual_seed(seed)

    def flipped(image: Tensor) -> Tensor:
        signs = torch.randint(0, 2, (1, 1, *image.shape[-2:]), generator=generator) * 2.0 - 1
        return network(image) * signs

    return flipped


def whole(network: Callable[[Tensor], Tensor], image: Tensor) -> Tensor:
    return F.normalize(network(image)[0], dim=0)


def nearest_line(features: Tensor, seed: int = 0) -> Tensor:
    """The simplest clustering there is: the nearest of some fixed lines."""
    lines = F.normalize(torch.randn(5, CHANNELS, generator=torch.Generator().manual_seed(seed)), dim=1)
    return torch.einsum("kd,dhw->khw", lines, features).abs().argmax(dim=0)


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 300), st.integers(1, 80), st.data())
def test_tiles_cover_the_image_and_overlap_enough(length: int, tile: int, data: st.DataObject) -> None:
    overlap, multiple = data.draw(st.integers(0, tile - 1)), data.draw(st.sampled_from([1, 4, 32]))
    grid = TileGrid(length, 3, tile, overlap, multiple)
    spans = [rows for rows, _ in list(grid)[:: len(grid) // len({rows.start for rows, _ in grid})]]
    assert spans[0].start == 0
    assert spans[-1].stop == length
    assert all(span.stop - span.start <= tile for span in spans)
    for before, after in pairwise(spans):
        assert before.start < after.start
        assert before.stop < after.stop
        assert before.stop - after.start >= overlap
        assert before.stop - before.start == tile
    if tile - overlap >= multiple:
        assert all(span.start % multiple == 0 for span in spans)
        assert len(spans) == 1 or spans[-1].stop - spans[-1].start > tile - multiple


def test_tiles_come_in_reading_order() -> None:
    grid = TileGrid(10, 7, 6, 2)
    assert list(grid) == [
        (rows, columns) for rows in (slice(0, 6), slice(4, 10)) for columns in (slice(0, 6), slice(1, 7))
    ]
    assert len(grid) == 4


@pytest.mark.parametrize(("height", "width"), [(97, 130), (64, 65), (200, 31), (33, 257)])
def test_tiled_lines_are_those_of_the_whole_image(height: int, width: int) -> None:
    image, network = smooth_image(height, width), convolution()
    grid = TileGrid(height, width, 48, 20, 4)
    assert len(grid) > 1
    expected = whole(network, image)
    tiled = run_in_tiles(with_signs(network), image, grid, lines=True)
    assert tiled.shape == expected.shape
    assert tiled.dtype == torch.float32
    assert (tiled * expected).sum(dim=0).abs().min() > 0.98
    assert (nearest_line(tiled) == nearest_line(expected)).float().mean() >= 0.99


def test_there_are_no_seams() -> None:
    """Between the pixels on both sides of a tile's edge lines turn no more than elsewhere."""
    image, network = smooth_image(120, 150), convolution(reach=12)
    grid = TileGrid(120, 150, 56, 24)
    edges = sorted({edge for _, columns in grid for edge in (columns.start, columns.stop)} - {0, 150})
    assert len(edges) >= 4
    full, blended = whole(network, image), run_in_tiles(with_signs(network), image, grid, lines=True)
    pasted = torch.zeros_like(blended)
    for rows, columns in grid:
        pasted[:, rows, columns] = whole(network, image[..., rows, columns])
    expected, tiled, unblended = (turns(f)[:, [edge - 1 for edge in edges]] for f in (full, blended, pasted))
    assert unblended.mean() > 2 * expected.mean()  # the measure shows seams where there are some
    assert tiled.mean() < 1.2 * expected.mean()
    assert turns(blended).amax() < 1.2 * turns(full).amax()


def turns(features: Tensor) -> Tensor:
    """Sine of the angle between the lines of neighbours in a row, which is not blunt at 0 as the cosine is."""
    cosines = (features[..., 1:] * features[..., :-1]).sum(dim=0).double()
    return (1 - cosines**2).clamp_min(0).sqrt()


def test_averaging_without_regard_to_signs_would_be_wrong() -> None:
    image, network = smooth_image(97, 130), convolution()
    grid = TileGrid(97, 130, 48, 20)
    values = run_in_tiles(with_signs(network), image, grid, lines=False)
    assert (F.normalize(values, dim=0) * whole(network, image)).sum(dim=0).abs().min() < 0.9


def test_plain_values_are_averaged_by_weight() -> None:
    image, network = smooth_image(97, 130), convolution()
    grid = TileGrid(97, 130, 48, 20)
    tiled = run_in_tiles(network, image, grid, lines=False)
    expected = network(image)[0]
    assert (tiled - expected).abs().max() < 0.15 * expected.abs().max()
    pointwise = run_in_tiles(lambda tile: 3 * tile, image, grid, lines=False)
    torch.testing.assert_close(pointwise, 3 * image[0])


def test_two_tiles_of_equal_weight_give_the_dominant_line() -> None:
    answers = iter([torch.tensor([1.0, 0.0]), -F.normalize(torch.tensor([1.0, 0.5]), dim=0)])

    def network(image: Tensor) -> Tensor:
        return next(answers)[None, :, None, None].expand(1, 2, *image.shape[-2:])

    tiled = run_in_tiles(network, torch.zeros(1, 3, 1, 5), TileGrid(1, 5, 3, 1), lines=True)
    lines = torch.stack([torch.tensor([1.0, 0.0]), F.normalize(torch.tensor([1.0, 0.5]), dim=0)])
    dominant = torch.linalg.eigh(lines.T @ lines).eigenvectors[:, -1]
    assert (tiled[:, 0, 2] @ dominant).abs() == pytest.approx(1, abs=1e-6)  # the one pixel in both tiles
    torch.testing.assert_close(tiled[:, 0, 0], lines[0])
    torch.testing.assert_close(tiled[:, 0, 4], -lines[1])


@pytest.mark.parametrize(("height", "width"), [(1, 1), (7, 5), (48, 48)])
def test_an_image_no_larger_than_a_tile_goes_through_in_one_pass(height: int, width: int) -> None:
    image, network = smooth_image(height, width), convolution(reach=1)
    tiled = run_in_tiles(network, image, TileGrid(height, width, 48, 20), lines=True)
    torch.testing.assert_close(tiled, whole(network, image), rtol=0, atol=0)


def test_lines_have_unit_length_and_nothing_stays_nothing() -> None:
    def network(image: Tensor) -> Tensor:
        return image * (image > 0.5)

    image = smooth_image(40, 60)
    lengths = run_in_tiles(network, image, TileGrid(40, 60, 24, 8), lines=True).norm(dim=0)
    nothing = ~(image[0] > 0.5).any(dim=0)
    assert 0 < nothing.sum() < nothing.numel()
    assert (lengths[nothing] == 0).all()
    torch.testing.assert_close(lengths[~nothing], torch.ones(int((~nothing).sum())))


def test_tiles_that_do_not_overlap_are_put_side_by_side() -> None:
    image = smooth_image(20, 30)
    tiled = run_in_tiles(lambda tile: tile, image, TileGrid(20, 30, 10, 0), lines=False)
    torch.testing.assert_close(tiled, image[0])


def test_progress_is_told_after_each_tile() -> None:
    grid, calls = TileGrid(40, 60, 24, 8), []
    run_in_tiles(convolution(1), smooth_image(40, 60), grid, lines=True, progress=lambda: calls.append(1))
    assert len(calls) == len(grid) > 1


def test_half_precision_is_averaged_in_full() -> None:
    image = smooth_image(40, 60)
    tiled = run_in_tiles(lambda tile: tile.bfloat16(), image, TileGrid(40, 60, 24, 8), lines=False)
    assert tiled.dtype == torch.float32
    torch.testing.assert_close(tiled, image[0].bfloat16().float())


@pytest.mark.parametrize(
    "values", [(0, 5, 4, 1), (5, 0, 4, 1), (5, 5, 0, 0), (5, 5, 4, 4), (5, 5, 4, -1), (5, 5, 4, 1, 0)]
)
def test_impossible_grids_are_refused(values: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="sides must be at least 1 and 0 <= overlap < tile, got an image of"):
        TileGrid(*values)


def test_a_grid_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match=r"the grid is of an image of 5x6 pixels, got one of shape \(1, 3, 6, 5\)"):
        run_in_tiles(convolution(1), torch.zeros(1, 3, 6, 5), TileGrid(5, 6, 4, 1), lines=True)
