"""Decoding: the same cells as by looking at each of them, by a sum of two searches."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.methods.panoptic.maps import ENCODINGS, random_numbers
from tests.reference.panoptic_decoding import Margin, all_cells, nearest_cell
from upseg.methods.panoptic import grouping
from upseg.methods.panoptic.encodings import AxisCosts, AxisMinima, PositionalEncoding, first_smallest
from upseg.methods.panoptic.grouping import VOID, decode_pixels, nearest_cells, nearest_centres

NAMES = pytest.mark.parametrize("name", ENCODINGS)


def whole_costs(seed: int, rows: int, columns: int, count: int) -> AxisCosts:
    """Small whole numbers: sums are exact, and many are equal."""
    generator = torch.Generator().manual_seed(seed)
    shapes = ((rows, count), (columns, count), (count,))
    return AxisCosts(*(torch.randint(0, 5, shape, generator=generator).float() for shape in shapes))


def copy_of(costs: AxisCosts) -> AxisCosts:
    return AxisCosts(*(values.clone() for values in costs))


class TestOneBlock:
    @settings(max_examples=40, deadline=None)
    @given(st.integers(0, 2**32), st.integers(1, 9), st.integers(1, 9), st.integers(0, 20))
    def test_exactly_the_smallest_of_all_sums_and_among_equals_the_first(
        self, seed: int, rows: int, columns: int, count: int
    ) -> None:
        costs = whole_costs(seed, rows, columns, count)
        sums = (costs.rows[:, None] + costs.columns[None]).flatten(0, 1).numpy()  # (G_r G_c, N)
        expected = np.where(costs.void.numpy() < sums.min(0), VOID, sums.argmin(0))
        found = nearest_cells(AxisMinima.of(copy_of(costs)), columns)
        assert found.numbers.numpy().tolist() == expected.tolist()
        assert torch.equal(found.costs, torch.minimum(torch.from_numpy(sums.min(0)), costs.void))

    @settings(max_examples=40, deadline=None)
    @given(st.integers(0, 2**32), st.integers(0, 12), st.integers(0, 20))
    def test_of_some_centres_the_first_of_the_nearest(self, seed: int, kept: int, count: int) -> None:
        costs = whole_costs(seed, 4, 3, count)
        centres = torch.randperm(12, generator=torch.Generator().manual_seed(seed))[:kept]
        centres = torch.stack((centres // 3, centres % 3), dim=1)
        found = nearest_centres(copy_of(costs), centres)
        for pixel in range(count):
            sums = [costs.rows[i, pixel].item() + costs.columns[j, pixel].item() for i, j in centres.tolist()]
            best, void = min(sums, default=np.inf), costs.void[pixel].item()
            assert found.numbers[pixel] == (VOID if void < best else sums.index(best))
            assert found.costs[pixel] == min(void, best)

    def test_the_smallest_and_its_first_row(self) -> None:
        values = torch.tensor([[3.0, -1.0, 7.0], [2.0, -1.0, 7.0], [2.0, 5.0, 8.0]])
        first, smallest = first_smallest(values)
        assert first.tolist() == [1, 0, 0]
        assert smallest.tolist() == [2, -1, 7]
        assert first.dtype == torch.int32


class TestManyPixels:
    @NAMES
    @pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
    def test_the_same_as_looking_at_every_cell(self, name: str, dtype: torch.dtype) -> None:
        encoding, loop = ENCODINGS[name]
        predicted = random_numbers(3, encoding.channels, 60).to(dtype)
        found = decode_pixels(predicted, encoding)
        assert 0 < (found.numbers == VOID).sum() < 60
        for pixel in range(60):
            margin, vector = Margin(), predicted[:, pixel].tolist()
            cell = nearest_cell(loop, vector, all_cells(loop.grid), margin)
            assert margin.least > 1e-5
            number = VOID if cell is None else cell[0] * loop.grid[1] + cell[1]
            assert (found.numbers[pixel].item(), found.costs[pixel].item()) == (
                number,
                pytest.approx(loop.cost(vector, cell), rel=1e-4, abs=1e-5),
            )

    @NAMES
    def test_all_cells_as_centres_are_the_grid(self, name: str) -> None:
        encoding, loop = ENCODINGS[name]
        predicted = random_numbers(4, encoding.channels, 200).float()
        every = decode_pixels(predicted, encoding, torch.tensor(all_cells(loop.grid)))
        assert torch.equal(every.numbers, decode_pixels(predicted, encoding).numbers)

    def test_a_large_grid_finds_the_cell_that_each_centre_lies_in(self) -> None:
        encoding = PositionalEncoding((160, 320), 4)
        random = torch.Generator().manual_seed(0)
        cells = torch.stack([torch.randint(0, g, (500,), generator=random) for g in encoding.grid])
        offsets = torch.rand(2, 500, generator=random) * 0.9 + 0.05
        centres = 2 * (cells + offsets) / torch.tensor(encoding.grid)[:, None] - 1
        inside = torch.rand(500, generator=random) < 0.8
        predicted = encoding.targets(centres[None, :, None], inside[None, None])[0, :, 0]
        found = decode_pixels(predicted, encoding).numbers.long()
        assert torch.equal(found, torch.where(inside, cells[0] * 320 + cells[1], VOID))

    def test_neither_blocks_nor_strides_change_anything(self, monkeypatch: pytest.MonkeyPatch) -> None:
        encoding = PositionalEncoding((7, 5), 3)
        predicted = random_numbers(5, 1000, 12).float()
        centres = torch.tensor([[0, 0], [3, 4], [6, 2]])
        whole = [decode_pixels(predicted.T, encoding, some) for some in (None, centres)]
        monkeypatch.setattr(grouping, "CACHED_VALUES", 100)
        for some, expected in zip((None, centres), whole, strict=True):
            found = decode_pixels(predicted.T.contiguous(), encoding, some)
            assert torch.equal(found.numbers, expected.numbers)
            assert torch.allclose(found.costs, expected.costs)

    def test_blocks_are_bounded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        sizes: list[int] = []

        class Watched(PositionalEncoding):
            def axis_costs(self, predicted: torch.Tensor) -> AxisCosts:
                sizes.append(predicted.shape[-1])
                return super().axis_costs(predicted)

            def axis_minima(self, predicted: torch.Tensor) -> AxisMinima:
                sizes.append(predicted.shape[-1])
                return super().axis_minima(predicted)

        monkeypatch.setattr(grouping, "CACHED_VALUES", 120)
        decode_pixels(torch.zeros(4, 101), Watched((8, 4), 1))
        assert sizes == [10] * 10 + [1]
        sizes.clear()
        decode_pixels(torch.zeros(4, 5), Watched((8, 4), 1), torch.zeros(40, 2, dtype=torch.int64))
        assert sizes == [3, 2]

    def test_no_pixel_and_no_centre(self) -> None:
        encoding = PositionalEncoding((4, 4), 2)
        assert decode_pixels(torch.zeros(8, 0), encoding).numbers.shape == (0,)
        nowhere = decode_pixels(torch.ones(8, 3), encoding, torch.zeros(0, 2, dtype=torch.int64))
        assert nowhere.numbers.tolist() == [VOID] * 3
        assert nowhere.costs.tolist() == [8.0] * 3

    def test_autocast_does_not_reach_it(self) -> None:
        encoding = PositionalEncoding((80, 80), 4)
        predicted = random_numbers(6, 16, 300).float()
        expected = decode_pixels(predicted, encoding)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.equal(decode_pixels(predicted, encoding).costs, expected.costs)

    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    def test_numbers_that_are_none_are_refused(self, value: float) -> None:
        predicted = torch.zeros(8, 5)
        predicted[3, 2] = value
        with pytest.raises(ValueError, match="instance channels must be finite"):
            decode_pixels(predicted, PositionalEncoding((4, 4), 2))
