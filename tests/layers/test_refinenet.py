"""RefineNet's decoder: values by hand, sizes that divide nothing, and no idle parameter."""

import pytest
import torch
import torch.nn.functional as F

from upseg.layers.refinenet import FeatureFusionBlock, RefineNetDecoder, ResidualConvUnit


def maps(sizes: list[tuple[int, int]], channels: list[int]) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(2, c, *size, generator=generator) for c, size in zip(channels, sizes, strict=True)]


def identity(module: torch.nn.Module) -> None:
    """Let every convolution of a one-channel module pass its input through."""
    for part in module.modules():
        if isinstance(part, torch.nn.Conv2d):
            torch.nn.init.dirac_(part.weight)
            if part.bias is not None:
                torch.nn.init.zeros_(part.bias)


class TestResidualConvUnit:
    def test_by_hand(self) -> None:
        """x + relu(relu(x)): positive values double, negative ones stay; the input is left alone."""
        unit = ResidualConvUnit(1)
        identity(unit)
        features = torch.tensor([[[[2.0, -3.0]]]])
        assert unit(features).tolist() == [[[[4.0, -3.0]]]]
        assert features.tolist() == [[[[2.0, -3.0]]]]

    def test_no_rectifier_after_the_second_convolution(self) -> None:
        unit = ResidualConvUnit(1)
        identity(unit)
        torch.nn.init.constant_(unit.second.bias, -10.0)
        assert unit(torch.tensor([[[[2.0, -3.0]]]])).tolist() == [[[[-6.0, -13.0]]]]


class TestFeatureFusionBlock:
    def test_by_hand(self) -> None:
        block = FeatureFusionBlock(1)
        identity(block)
        level, coarse = torch.tensor([[[[1.0, -2.0]]]]), torch.tensor([[[[3.0, -1.0]]]])
        # level unit: 2, -2; plus coarse: 5, -3; fused unit: 10, -3; then twice as wide
        assert block(level, coarse, (1, 2)).tolist() == [[[[10.0, -3.0]]]]
        wide = block(level, coarse, (1, 4))
        torch.testing.assert_close(wide, torch.tensor([[[[10.0, 6.75, 0.25, -3.0]]]]))

    def test_the_coarsest_has_one_unit(self) -> None:
        block = FeatureFusionBlock(1, coarsest=True)
        identity(block)
        assert block(torch.tensor([[[[1.0, -2.0]]]]), None, (1, 2)).tolist() == [[[[2.0, -2.0]]]]
        assert sum(parameter.numel() for parameter in block.parameters()) == 2 * (9 + 1)

    def test_coarser_features_where_they_belong(self) -> None:
        level = torch.zeros(1, 1, 2, 2)
        with pytest.raises(ValueError, match="every fusion block but the coarsest"):
            FeatureFusionBlock(1)(level, None, (4, 4))
        with pytest.raises(ValueError, match="the coarsest takes none"):
            FeatureFusionBlock(1, coarsest=True)(level, level, (4, 4))


class TestRefineNetDecoder:
    def test_by_hand(self) -> None:
        decoder = RefineNetDecoder([1, 1], 1)
        identity(decoder)
        fine, coarse = torch.full((1, 1, 2, 2), 3.0), torch.tensor([[[[5.0]]]])
        # the coarsest: 5 + 5; the fine: 3 + 3; their sum 16 twice
        assert decoder([fine, coarse], (3, 4)).tolist() == [[[[32.0] * 4] * 3]]

    @pytest.mark.parametrize(
        "sizes",
        [[(13, 9), (7, 5), (4, 3)], [(1, 1), (1, 1), (1, 1)], [(1, 17), (1, 9), (1, 5)], [(6, 6), (6, 6), (5, 7)]],
    )
    def test_any_size(self, sizes: list[tuple[int, int]]) -> None:
        channels = [3, 5, 4]
        size = (2 * sizes[0][0], 2 * sizes[0][1] - 1)
        assert RefineNetDecoder(channels, 8)(maps(sizes, channels), size).shape == (2, 8, *size)

    def test_parameters_are_counted_and_all_used(self) -> None:
        channels = [3, 5, 4]
        decoder = RefineNetDecoder(channels, 8)
        expected = 9 * 8 * sum(channels) + 5 * 2 * (8 * 8 * 9 + 8)  # five residual units for three levels
        assert sum(parameter.numel() for parameter in decoder.parameters()) == expected
        decoder(maps([(8, 8), (4, 4), (2, 2)], channels), (16, 16)).square().sum().backward()
        for name, parameter in decoder.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.abs().max() > 0, name

    def test_every_level_counts(self) -> None:
        channels = [3, 5, 4]
        decoder = RefineNetDecoder(channels, 8)
        levels = maps([(8, 8), (4, 4), (2, 2)], channels)
        whole = decoder(levels, (16, 16))
        for index in range(3):
            changed = [level + (position == index) for position, level in enumerate(levels)]
            assert not torch.allclose(decoder(changed, (16, 16)), whole)

    def test_errors(self) -> None:
        with pytest.raises(ValueError, match=r"at least one level and one channel, got \[\] and 8"):
            RefineNetDecoder([], 8)
        with pytest.raises(ValueError, match=r"got \[3\] and 0"):
            RefineNetDecoder([3], 0)
        with pytest.raises(ValueError, match="expected 2 levels, finest first, got 1"):
            RefineNetDecoder([3, 4], 8)(maps([(4, 4)], [3]), (8, 8))


def test_constant_features_stay_constant_inside() -> None:
    """Bilinear interpolation does not shift: a symmetric input gives a symmetric output."""
    decoder = RefineNetDecoder([2, 2], 4)
    for part in decoder.modules():
        if isinstance(part, torch.nn.Conv2d):
            part.weight.data = (part.weight + part.weight.flip(-1)) / 2
    fine, coarse = maps([(6, 6), (3, 3)], [2, 2])
    symmetric = [fine + fine.flip(-1), coarse + coarse.flip(-1)]
    output = decoder(symmetric, (12, 12))
    torch.testing.assert_close(output, output.flip(-1))
    assert not torch.allclose(output, F.pad(output[..., 1:], (0, 1)))
