"""The code of places: orthogonal a fifth of the period apart, the same for all pixels that point to one place."""

import pytest
import torch

from upseg.methods.entity.extensions.positions import PointedWaves, PositionChannels


def still_waves(period: int = 20) -> PointedWaves:
    """Waves that no pixel displaces unless its features (rows, columns and strength) say so."""
    waves = PointedWaves(3, 24, period)
    torch.nn.init.zeros_(waves.point.bias)
    waves.point.weight.data = torch.eye(3)[:, :, None, None]
    return waves


class TestPointedWaves:
    @torch.no_grad()
    def test_places_apart_are_nearly_orthogonal(self) -> None:
        """The product of two codes is (D(rows) D(columns) - 1) / 2, with D(x) = 1 + 2 cos(x) + 2 cos(2 x)."""
        code = still_waves()(torch.zeros(1, 3, 20, 20))[0]
        gram = torch.einsum("d, dhw -> hw", code[:, 0, 0], code)
        angles = torch.arange(20) * (2 * torch.pi / 20)
        dirichlet = 1 + 2 * angles.cos() + 2 * (2 * angles).cos()
        torch.testing.assert_close(gram, (dirichlet[:, None] * dirichlet - 1) / 2, atol=1e-4, rtol=1e-4)
        assert gram[0, 0] == pytest.approx(12, abs=1e-4)
        assert gram[::4, ::4].flatten()[1:].abs().max() == pytest.approx(0.5, abs=1e-4)  # a fifth of the period apart

    @torch.no_grad()
    def test_pixels_that_point_to_one_place_have_one_code(self) -> None:
        rows, columns = torch.meshgrid(torch.arange(9.0), torch.arange(13.0), indexing="ij")
        pointing = torch.stack([4 - rows, 6 - columns, torch.zeros(9, 13)]) / (20 / 8)
        code = still_waves()(pointing[None])[0]
        torch.testing.assert_close(code, code[:, 4:5, 6:7].expand_as(code), atol=1e-5, rtol=1e-4)

    @torch.no_grad()
    def test_begin_anew_after_a_period(self) -> None:
        code = still_waves()(torch.zeros(1, 3, 45, 45))
        torch.testing.assert_close(code[..., :25, :25], code[..., 20:, 20:], atol=1e-4, rtol=1e-4)

    @torch.no_grad()
    def test_strength(self) -> None:
        waves = still_waves()
        features = torch.zeros(1, 3, 4, 4)
        once = waves(features)
        features[:, 2] = -1
        assert waves(features).abs().max() == 0
        features[:, 2] = 0.5
        torch.testing.assert_close(waves(features), 1.5 * once)


def test_a_period_too_short_to_be_one_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 2 pixels, got 1"):
        PositionChannels(1, 4)
