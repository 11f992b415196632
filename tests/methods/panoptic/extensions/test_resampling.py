"""Maps at the image's size: bilinear as torch has it, and decisions as if everything had been interpolated."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.methods.panoptic.maps import ENCODINGS, random_numbers
from upseg.methods.panoptic.extensions import resampling
from upseg.methods.panoptic.extensions.resampling import Resampling
from upseg.methods.panoptic.grouping import decode_pixels

SIZES = [((5, 7), (5, 7)), ((5, 7), (11, 9)), ((6, 4), (3, 17)), ((1, 3), (4, 1)), ((9, 9), (2, 3))]


def largest(values: Tensor) -> Tensor:
    return values.argmax(0).int()


def smooth_map(channels: int, height: int, width: int, seed: int = 0) -> Tensor:
    """Neighbouring pixels mostly agree about the largest channel."""
    coarse = random_numbers(seed, 1, channels, max(1, height // 4), max(1, width // 4)).float()
    return F.interpolate(coarse, size=(height, width), mode="bilinear")[0]


class TestValues:
    @pytest.mark.parametrize(("map_size", "size"), SIZES)
    def test_bilinear_is_that_of_torch(self, map_size: tuple[int, int], size: tuple[int, int]) -> None:
        values = random_numbers(0, 3, *map_size).float()
        expected = F.interpolate(values[None], size=size, mode="bilinear", align_corners=False)[0]
        assert torch.allclose(Resampling.between(map_size, size).bilinear(values), expected, atol=1e-6)

    @pytest.mark.parametrize(("map_size", "size"), SIZES)
    def test_nearest_is_that_of_torch(self, map_size: tuple[int, int], size: tuple[int, int]) -> None:
        values = random_numbers(0, *map_size)
        found = Resampling.between(map_size, size).nearest(values)
        # halfway between two pixels torch takes the latter, this the even one
        expected = F.interpolate(values[None, None], size=size, mode="nearest-exact")[0, 0]
        exact = [((torch.arange(s) + 0.5) * m / s) % 1 != 0 for m, s in zip(map_size, size, strict=True)]
        assert torch.equal(found[exact[0]][:, exact[1]], expected[exact[0]][:, exact[1]])

    def test_an_image_that_ends_inside_the_map(self) -> None:
        """4 of the map's 6 columns are the image's, 2.5 of its 3 rows: as if the rest had been cut off finer pixels."""
        values = random_numbers(1, 2, 3, 6).float()
        found = Resampling.between((3, 6), (10, 8), (2.5, 4.0)).bilinear(values)
        whole = Resampling.between((3, 6), (12, 12)).bilinear(values)
        assert found.shape == (2, 10, 8)
        assert torch.allclose(found, whole[:, :10, :8], atol=1e-6)

    def test_by_hand(self) -> None:
        values = torch.tensor([[[0.0, 4.0], [8.0, 12.0]]])
        found = Resampling.between((2, 2), (4, 2)).bilinear(values)[0]
        assert found.tolist() == [[0, 4], [2, 6], [6, 10], [8, 12]]
        assert Resampling.between((2, 2), (1, 1)).bilinear(values).item() == 6

    def test_bands_are_the_whole_in_pieces(self, monkeypatch: pytest.MonkeyPatch) -> None:
        values = random_numbers(2, 2, 5, 4).float()
        whole = Resampling.between((5, 4), (23, 9))
        monkeypatch.setattr(resampling, "BAND_PIXELS", 30)
        bands = list(whole.bands())
        assert [lines for lines, _ in bands] == [slice(i, min(i + 3, 23)) for i in range(0, 23, 3)]
        pieces = [band.bilinear(values) for _, band in bands]
        assert torch.equal(torch.cat(pieces, dim=1), whole.bilinear(values))
        assert whole.size == (23, 9)

    @pytest.mark.parametrize("extent", [(0.0, 4.0), (5.1, 4.0), (5.0, -1.0), (5.0, float("nan"))])
    def test_extents_that_cannot_be_are_refused(self, extent: tuple[float, float]) -> None:
        with pytest.raises(ValueError, match="extent must be above 0 and at most the map's size"):
            Resampling.between((5, 4), (10, 8), extent)


class TestDecisions:
    @settings(max_examples=25, deadline=None)
    @given(
        st.integers(0, 2**32),
        st.tuples(st.integers(1, 14), st.integers(1, 14)),
        st.tuples(st.integers(1, 30), st.integers(1, 30)),
        st.booleans(),
    )
    def test_the_largest_channel_is_that_of_all_interpolated(
        self, seed: int, map_size: tuple[int, int], size: tuple[int, int], smooth: bool
    ) -> None:
        values = smooth_map(5, *map_size, seed) if smooth else random_numbers(seed, 5, *map_size).float()
        samples = Resampling.between(map_size, size, (map_size[0] - 0.3, map_size[1] * 0.9))
        expected = samples.bilinear(values)
        found = samples.decide(values, largest(values), largest)
        chosen = expected.gather(0, found[None].long())[0]
        assert (expected.amax(0) - chosen).max() < 1e-5  # another only where two are equal but for rounding
        assert (found == largest(expected)).float().mean() > 0.99

    @pytest.mark.parametrize("name", ENCODINGS)
    @pytest.mark.parametrize("centres", [None, [[0, 0], [5, 3], [2, 1]]])
    def test_the_nearest_centre_is_that_of_all_interpolated(self, name: str, centres: list[list[int]] | None) -> None:
        encoding, _ = ENCODINGS[name]
        values = smooth_map(encoding.channels, 12, 17)

        def decide(part: Tensor) -> Tensor:
            return decode_pixels(part, encoding, None if centres is None else torch.tensor(centres)).numbers

        decisions = decide(values.flatten(1)).view(12, 17)
        assert len(decisions.unique()) > 2
        samples = Resampling.between((12, 17), (40, 50))
        whole = decide(samples.bilinear(values).flatten(1)).view(40, 50)
        assert (samples.decide(values, decisions, decide) == whole).float().mean() > 0.999

    def test_only_where_neighbours_differ_something_is_interpolated(self, monkeypatch: pytest.MonkeyPatch) -> None:
        values = torch.zeros(2, 8, 8)
        values[0, :, :4] = values[1, :, 4:] = 1.0
        looked_at: list[int] = []

        def counting(part: Tensor) -> Tensor:
            looked_at.append(part.shape[1])
            return largest(part)

        samples = Resampling.between((8, 8), (80, 80))
        assert (samples.decide(values, largest(values), counting) == (torch.arange(80) >= 40)).all()
        assert sum(looked_at) == 80 * 10  # between the centres of two columns of the map
        looked_at.clear()
        monkeypatch.setattr(resampling, "BLOCK_VALUES", 100)
        assert (samples.decide(values, largest(values), counting) == (torch.arange(80) >= 40)).all()
        assert looked_at == [50] * 16

    def test_where_all_agree_nothing_is_asked(self) -> None:
        def never(part: Tensor) -> Tensor:
            raise AssertionError("nothing was to be decided")

        decisions = torch.full((3, 4), 7, dtype=torch.int32)
        found = Resampling.between((3, 4), (6, 6)).decide(torch.zeros(1, 3, 4), decisions, never)
        assert found.tolist() == [[7] * 6] * 6

    @pytest.mark.parametrize("convert", [torch.Tensor.bfloat16, torch.Tensor.double])
    def test_other_floating_types(self, convert: Callable[[Tensor], Tensor]) -> None:
        values = convert(smooth_map(4, 9, 9))
        samples = Resampling.between((9, 9), (31, 22))
        expected = largest(samples.bilinear(values))
        assert (samples.decide(values, largest(values), largest) == expected).float().mean() > 0.99
        assert samples.bilinear(values).dtype == torch.float32
