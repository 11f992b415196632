"""The feature pyramid: a value by hand, sizes that divide nothing, and no idle parameter."""

import pytest
import torch

from upseg.layers.pyramid import FeaturePyramid


def backbone_levels(sizes: list[tuple[int, int]], channels: list[int]) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(2, c, *size, generator=generator) for c, size in zip(channels, sizes, strict=True)]


def identity(pyramid: FeaturePyramid) -> FeaturePyramid:
    """Let every convolution of a one-channel pyramid pass its input through."""
    for convolution in [*pyramid.laterals, *pyramid.smoothing]:
        torch.nn.init.dirac_(convolution.weight)
    return pyramid


def test_hand_computed_value() -> None:
    fine = torch.tensor([[[[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]]]])
    levels = [fine, torch.tensor([[[[10.0, 20.0]]]]), torch.tensor([[[[100.0]]]])]
    fine, middle, coarse = identity(FeaturePyramid([1, 1, 1], 1))(levels)
    assert coarse.tolist() == [[[[100.0]]]]
    assert middle.tolist() == [[[[110.0, 120.0]]]]
    assert fine.tolist() == [[[[111.0, 112.0, 123.0, 124.0], [115.0, 116.0, 127.0, 128.0]]]]


@pytest.mark.parametrize(
    "sizes", [[(13, 9), (7, 5), (4, 3)], [(1, 1), (1, 1), (1, 1)], [(1, 17), (1, 9), (1, 5)], [(6, 6), (6, 6), (5, 7)]]
)
def test_any_size(sizes: list[tuple[int, int]]) -> None:
    channels = [3, 5, 4]
    outputs = FeaturePyramid(channels, 8)(backbone_levels(sizes, channels))
    assert [tuple(output.shape) for output in outputs] == [(2, 8, *size) for size in sizes]


@pytest.mark.parametrize("outputs", [1, 2, 3, None])
def test_parameters_are_counted_and_all_used(outputs: int | None) -> None:
    channels, given_out = [3, 5, 4], outputs or 3
    pyramid = FeaturePyramid(channels, 8, outputs=outputs)
    expected = (3 + 5 + 4) * 8 + 3 * 8 + given_out * (8 * 8 * 9 + 8)
    assert sum(parameter.numel() for parameter in pyramid.parameters()) == expected
    results = pyramid(backbone_levels([(8, 8), (4, 4), (2, 2)], channels))
    assert len(results) == given_out
    sum(result.square().sum() for result in results).backward()
    for name, parameter in pyramid.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_fewer_outputs_are_the_finest() -> None:
    pyramid = FeaturePyramid([1, 1, 1], 1)
    finest = FeaturePyramid([1, 1, 1], 1, outputs=1)
    finest.load_state_dict({k: v for k, v in pyramid.state_dict().items() if k in finest.state_dict()})
    levels = backbone_levels([(8, 6), (4, 3), (2, 2)], [1, 1, 1])
    torch.testing.assert_close(finest(levels)[0], pyramid(levels)[0])


def test_errors() -> None:
    with pytest.raises(ValueError, match="between 1 and the 2 levels of in_channels, got 3"):
        FeaturePyramid([1, 2], 4, outputs=3)
    with pytest.raises(ValueError, match="between 1 and the 0 levels"):
        FeaturePyramid([], 4)
    with pytest.raises(ValueError, match="expected 2 levels, finest first, got 1"):
        FeaturePyramid([1, 2], 4)([torch.zeros(1, 1, 4, 4)])
