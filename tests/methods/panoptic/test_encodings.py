"""Coordinates, and the three encodings against loops and against brute force over the grid."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.methods.panoptic.maps import ENCODINGS, GRID, array, mean_of_images, random_numbers, random_truth
from tests.reference import panoptic_equations as loops
from upseg.methods.panoptic.encodings import (
    AxisMinima,
    BinsEncoding,
    Encoding,
    PositionalEncoding,
    RgbEncoding,
    grid_coordinates,
    make_encoding,
    normalise,
)
from upseg.methods.panoptic.settings import PanopticSettings

NAMES = pytest.mark.parametrize("name", ENCODINGS)


def denormalise(coordinate: np.ndarray | float, size: int, cells: int) -> np.ndarray | float:
    """Positions in pixels, the inverse of `normalise`."""
    return (coordinate / (1 - 1 / cells) + 1) * size / 2 - 0.5


class TestCoordinates:
    def test_by_hand(self) -> None:
        # four cells on eight pixels: 1 - 1/4 = 3/4 of (2 · 0.5 / 8 - 1)
        assert normalise(0.0, 8, 4) == pytest.approx(-7 / 8 * 3 / 4)
        assert normalise(3.5, 8, 4) == 0
        assert normalise(np.array([7.0]), 8, 4).tolist() == pytest.approx([7 / 8 * 3 / 4])

    def test_the_images_edges_are_the_first_and_the_last_cell(self) -> None:
        coordinates = grid_coordinates(4, torch.zeros(0, dtype=torch.float64))
        assert coordinates.tolist() == pytest.approx([-0.75, -0.25, 0.25, 0.75])
        assert normalise(-0.5, 8, 4) == -0.75
        assert normalise(7.5, 8, 4) == 0.75

    @settings(max_examples=50, deadline=None)
    @given(size=st.integers(1, 4000), cells=st.integers(2, 400), share=st.floats(0, 1))
    def test_round_trip_within_the_ends(self, size: int, cells: int, share: float) -> None:
        position = share * (size - 1)
        coordinate = normalise(position, size, cells)
        assert abs(coordinate) < 1 - 1 / cells
        assert denormalise(coordinate, size, cells) == pytest.approx(position, abs=1e-9 * size)

    def test_tensors_and_arrays_give_the_same(self) -> None:
        positions = np.linspace(0, 99, 7)
        found = normalise(torch.from_numpy(positions), 100, 80)
        assert np.array_equal(found.numpy(), normalise(positions, 100, 80))
        assert np.allclose(denormalise(found.numpy(), 100, 80), positions)


class TestEveryEncoding:
    @NAMES
    def test_is_one(self, name: str) -> None:
        encoding, _ = ENCODINGS[name]
        assert isinstance(encoding, Encoding)
        assert encoding.grid == GRID

    @NAMES
    def test_targets_against_the_loop(self, name: str) -> None:
        encoding, loop = ENCODINGS[name]
        truth = random_truth(0)
        found = encoding.targets(truth.centres, truth.inside)
        for image in range(3):
            inside, centres = array(truth.inside[image]), array(truth.centres[image])
            for pixel in loops.pixels_of(inside):
                expected = loop.code(loops.centre_of(centres, inside, pixel))
                assert found[image, :, pixel[0], pixel[1]].tolist() == pytest.approx(expected, abs=1e-12)

    @NAMES
    def test_pixel_loss_against_the_loop(self, name: str) -> None:
        encoding, loop = ENCODINGS[name]
        truth, predicted = random_truth(0), random_numbers(1, 3, encoding.channels, 5, 4)
        found = encoding.pixel_loss(predicted, truth.centres, truth.inside)
        for image in range(3):
            inside, centres = array(truth.inside[image]), array(truth.centres[image])
            for pixel in loops.pixels_of(inside):
                vector = loops.vector_at(array(predicted[image]), pixel)
                expected = loop.loss(vector, loops.centre_of(centres, inside, pixel))
                assert found[image][pixel].item() == pytest.approx(expected)

    @NAMES
    def test_total_variation_against_the_loop(self, name: str) -> None:
        encoding, loop = ENCODINGS[name]
        predicted = random_numbers(1, 3, encoding.channels, 5, 4)
        expected = mean_of_images([loops.total_variation(loop, array(image)) for image in predicted])
        assert encoding.total_variation(predicted).item() == pytest.approx(expected)

    @NAMES
    def test_squared_distances_against_the_loop(self, name: str) -> None:
        encoding, loop = ENCODINGS[name]
        predicted, centres = random_numbers(1, 2, encoding.channels, 3), random_numbers(2, 2, 2, 4).tanh()
        found = encoding.squared_distances(predicted, centres)
        for image, k, pixel in np.ndindex(2, 4, 3):
            expected = loop.squared_distance(predicted[image, :, pixel].tolist(), centres[image, :, k].tolist())
            assert found[image, k, pixel].item() == pytest.approx(expected)

    @NAMES
    def test_costs_against_brute_force(self, name: str) -> None:
        """Row plus column is the distance of the cell, for every cell."""
        encoding, loop = ENCODINGS[name]
        predicted = random_numbers(1, 2, encoding.channels, 3)
        costs = encoding.axis_costs(predicted)
        assert (costs.rows.shape, costs.columns.shape, costs.void.shape) == ((2, 6, 3), (2, 4, 3), (2, 3))
        for image, i, j, pixel in np.ndindex(2, *GRID, 3):
            vector = predicted[image, :, pixel].tolist()
            found = costs.rows[image, i, pixel] + costs.columns[image, j, pixel]
            assert found.item() == pytest.approx(loop.cost(vector, (i, j)))
            assert costs.void[image, pixel].item() == pytest.approx(loop.cost(vector, None))

    @pytest.mark.parametrize("grid", [(6, 4), (7, 5), (80, 81), (2, 3)])
    def test_the_search_among_half_of_the_cells_finds_the_smallest_costs(self, grid: tuple[int, int]) -> None:
        encoding = PositionalEncoding(grid)
        predicted = random_numbers(2, encoding.channels, 500)
        found, expected = encoding.axis_minima(predicted), AxisMinima.of(encoding.axis_costs(predicted))
        assert torch.equal(found.rows, expected.rows)
        assert torch.equal(found.columns, expected.columns)
        assert torch.allclose(found.costs, expected.costs)
        assert torch.allclose(found.void, expected.void)

    @NAMES
    def test_costs_of_one_image_and_of_half_precision(self, name: str) -> None:
        encoding, _ = ENCODINGS[name]
        predicted = random_numbers(1, encoding.channels, 7).bfloat16()
        found, expected = encoding.axis_costs(predicted), encoding.axis_costs(predicted[None].float())
        for one, batch in zip(found, expected, strict=True):
            assert one.dtype == torch.float32
            assert torch.allclose(one, batch[0], atol=1e-6)

    @NAMES
    @settings(max_examples=15, deadline=None)
    @given(row=st.integers(0, GRID[0] - 1), column=st.integers(0, GRID[1] - 1))
    def test_right_predictions_are_decoded_to_their_cell(self, name: str, row: int, column: int) -> None:
        encoding, _ = ENCODINGS[name]
        like = torch.zeros(0)
        cell = grid_coordinates(GRID[0], like)[row], grid_coordinates(GRID[1], like)[column]
        centres = torch.stack(cell)[None, :, None, None].expand(-1, -1, 1, 2)
        targets = encoding.targets(centres, torch.tensor([[[True, False]]]))
        if name == "bins":  # logits that say the targets' classes
            one_hot = [torch.eye(g + 1)[t].mT for g, t in zip(GRID, targets[0, :, 0], strict=True)]
            predicted = 9 * torch.cat(one_hot)
        else:
            predicted = targets[0, :, 0]
        costs = encoding.axis_costs(predicted)
        assert (costs.rows[:, 0].argmin(), costs.columns[:, 0].argmin()) == (row, column)
        nearest = costs.rows.amin(0) + costs.columns.amin(0)
        assert nearest[0] < costs.void[0]
        assert nearest[1] > costs.void[1]


class TestEachEncoding:
    def test_channels(self) -> None:
        assert PositionalEncoding(frequencies=5).channels == 20
        assert RgbEncoding().channels == 3
        assert BinsEncoding().channels == 81 + 81
        assert BinsEncoding((160, 320)).channels == 161 + 321

    def test_rgb_by_hand(self) -> None:
        centres = torch.tensor([-0.5, 0.8])[None, :, None, None].expand(1, 2, 1, 2)
        inside = torch.tensor([[[True, False]]])
        targets = RgbEncoding().targets(centres, inside)
        assert targets[0, :, 0, 0].tolist() == pytest.approx([0.25, 0.9, 1])
        assert targets[0, :, 0, 1].tolist() == [0, 0, 0]
        predicted = torch.tensor([0.25, 1.3, 0.7])[None, :, None, None].expand(1, 3, 1, 2)
        losses = RgbEncoding().pixel_loss(predicted, centres, inside)[0, 0]
        assert losses.tolist() == pytest.approx([0.5, (0.0625 + 1.69 + 0.49) ** 0.5])

    def test_bins_by_hand(self) -> None:
        encoding = BinsEncoding((2, 4))
        centres = torch.tensor([[-0.1, 0.3, 0.1, -1.0], [0.6, -0.6, 0.0, 1.0]])[None, :, None]
        targets = encoding.targets(centres, torch.tensor([[[True, True, False, True]]]))
        assert targets[0, :, 0].tolist() == [[0, 1, 2, 0], [3, 0, 4, 3]]
        certain = torch.zeros(1, 8, 1, 4)
        assert encoding.pixel_loss(certain, centres, targets[:, 0] < 2)[0, 0].tolist() == pytest.approx(
            [(np.log(3) + np.log(5)) / 2] * 4
        )

    @pytest.mark.parametrize("grid", [(1, 80), (80, 0)])
    def test_grids_too_small(self, grid: tuple[int, int]) -> None:
        for build in (PositionalEncoding().__class__, RgbEncoding, BinsEncoding):
            with pytest.raises(ValueError, match="at least 2 rows and 2 columns"):
                build(grid=grid)

    def test_no_frequency(self) -> None:
        with pytest.raises(ValueError, match="frequencies must be at least 1, got 0"):
            PositionalEncoding(frequencies=0)

    def test_made_of_settings(self) -> None:
        chosen = PanopticSettings(encoding="positional", frequencies=3, grid=(4, 5))
        assert make_encoding(chosen) == PositionalEncoding((4, 5), 3)
        assert make_encoding(PanopticSettings(encoding="rgb", grid=(4, 5))) == RgbEncoding((4, 5))
        assert make_encoding(PanopticSettings(encoding="bins")) == BinsEncoding((80, 80))
