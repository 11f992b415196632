"""All levels of a backbone at one resolution: where their values are, any size, and no idle parameter."""

import pytest
import torch
from torch import nn

from upseg.errors import ModelError
from upseg.layers.multi_scale import MultiScaleFeatures, at_size, level_count


class TestAtSize:
    def test_coarser_levels_are_enlarged_bilinearly(self) -> None:
        enlarged = at_size(torch.tensor([[[[0.0, 4.0]]]]), (1, 4))
        assert enlarged.tolist() == [[[[0.0, 1.0, 3.0, 4.0]]]]

    def test_finer_levels_keep_their_largest_values(self) -> None:
        """A thin line of a fine level is as strong at half the resolution."""
        level = torch.zeros(1, 1, 4, 6)
        level[..., 1] = 1
        level[..., 3, :] = -1
        assert at_size(level, (2, 3)).tolist() == [[[[1.0, 0.0, 0.0], [1.0, 0.0, 0.0]]]]

    def test_the_same_size_is_left_alone(self) -> None:
        level = torch.rand(1, 2, 3, 5)
        assert at_size(level, (3, 5)) is level

    @pytest.mark.parametrize("size", [(4, 6), (8, 12), (2, 3), (1, 1)])
    def test_constant_maps_stay_constant(self, size: tuple[int, int]) -> None:
        shape = (4, 4) if size == (1, 1) else (4, 6)
        assert torch.equal(at_size(torch.full((2, 3, *shape), 0.7), size), torch.full((2, 3, *size), 0.7))


class TestLevels:
    @pytest.mark.parametrize(("name", "count"), [("resnet10t", 5), ("convnext_atto", 4), ("hrnet_w18_small", 5)])
    def test_all_are_taken(self, name: str, count: int) -> None:
        assert level_count(name) == count

    def test_counting_them_draws_no_random_numbers(self) -> None:
        torch.manual_seed(3)
        level_count("convnext_atto")
        drawn = torch.rand(1)
        torch.manual_seed(3)
        assert torch.equal(drawn, torch.rand(1))

    @pytest.mark.parametrize("resolution", [1, 2, 4, 8, 32])
    @pytest.mark.parametrize("size", [(1, 1), (33, 70)])
    @torch.no_grad()
    def test_size(self, resolution: int, size: tuple[int, int]) -> None:
        layer = MultiScaleFeatures("resnet10t", 3, resolution).eval()
        padded = (64, 64) if size == (1, 1) else (64, 96)
        assert layer.padded_size(size) == padded
        assert layer.channels == 15
        expected = (1, 3, padded[0] // resolution, padded[1] // resolution)
        assert [tuple(level.shape) for level in layer(torch.rand(1, 3, *size))] == [expected] * 5

    @torch.no_grad()
    def test_finest_first(self) -> None:
        """Each embedding belongs to a level of its own: without one, its level alone is empty."""
        torch.manual_seed(0)
        layer = MultiScaleFeatures("convnext_atto", 2, 8).eval()
        for number, embedding in enumerate(layer.embeddings):
            assert isinstance(embedding, nn.Conv2d)
            assert embedding.in_channels == layer.backbone.channels[number]
            embedding.weight.zero_()
            levels = layer(torch.rand(1, 3, 40, 40))
            assert [bool(level.any()) for level in levels] == [other > number for other in range(4)]

    @torch.no_grad()
    def test_a_value_stands_for_its_square_of_the_image(self) -> None:
        """The finest level of resnet10t sees few pixels: what changes lies where the image changes."""
        torch.manual_seed(0)
        layer = MultiScaleFeatures("resnet10t", 4, 4).eval()
        image = torch.rand(1, 3, 128, 128)
        other = image.clone()
        other[..., 80, 40] = 1 - other[..., 80, 40]
        changed = (layer(image)[0] != layer(other)[0]).any(1)[0].nonzero()
        assert len(changed) > 0
        assert (changed - torch.tensor([20, 10])).abs().max() <= 1

    @pytest.mark.parametrize("name", ["convnext_atto", "hrnet_w18_small"])
    def test_no_parameter_is_idle(self, name: str) -> None:
        torch.manual_seed(0)
        layer = MultiScaleFeatures(name, 4)
        with torch.no_grad():
            for parameter in layer.parameters():
                if not parameter.any():  # the last batch norm of a residual block, and biases, are born zero
                    parameter.fill_(0.1)
        sum((level * torch.randn_like(level)).sum() for level in layer(torch.rand(2, 3, 64, 96))).backward()
        for path, parameter in layer.named_parameters():
            assert parameter.grad is not None, path
            assert parameter.grad.any(), path


class TestErrors:
    def test_of_numbers(self) -> None:
        with pytest.raises(ValueError, match="width must be at least 1, got 0"):
            MultiScaleFeatures("convnext_atto", 0)
        with pytest.raises(ValueError, match=r"the resolution must divide 32, to which convnext_atto pads .* got 64"):
            MultiScaleFeatures("convnext_atto", 8, 64)
        with pytest.raises(ValueError, match="got 0"):
            MultiScaleFeatures("convnext_atto", 8, 0)

    def test_of_names(self) -> None:
        with pytest.raises(ModelError, match="no backbone called 'convnext_ato'"):
            MultiScaleFeatures("convnext_ato")
        with pytest.raises(ModelError, match="mixer_s32_224 cannot serve as a backbone: it has to give feature maps"):
            MultiScaleFeatures("mixer_s32_224")
