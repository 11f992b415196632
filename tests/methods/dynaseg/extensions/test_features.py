"""Frozen feature maps: the network is timm's, and what is made of it keeps distances."""

import math

import pytest
import torch
import torch.nn.functional as F

from upseg.functional.resizing import resize_image
from upseg.layers.backbone import TimmBackbone
from upseg.methods.dynaseg.extensions.embedding import DIMENSIONS, load_embedding
from upseg.methods.dynaseg.extensions.features import (
    COMPONENTS,
    LEAST_PIXELS,
    MOST_ENLARGED,
    PhotoMaps,
    _stages,
    photo_maps,
    sample_features,
)
from upseg.methods.dynaseg.extensions.lite0 import Lite0Stages


def picture(height: int, width: int) -> torch.Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(5))


class TestNetwork:
    def test_the_levels_are_those_of_timm(self) -> None:
        reference = TimmBackbone("tf_efficientnet_lite0", pretrained=True, out_indices=(0, 1, 2, 3)).eval()
        image = picture(64, 96)
        with torch.no_grad():
            pairs = list(zip(Lite0Stages()(image), reference(image), strict=True))
        for own, expected in pairs:
            torch.testing.assert_close(own, expected, rtol=1e-4, atol=1e-3)

    def test_regions_are_compared_by_the_same_levels_without_batch_norms(self) -> None:
        image, computed = picture(64, 96), _stages()
        assert not any(isinstance(part, torch.nn.BatchNorm2d) for part in computed.modules())
        torch.testing.assert_close(computed(image), Lite0Stages()(image), rtol=1e-4, atol=1e-3)

    @pytest.mark.parametrize(("height", "width"), [(1, 1), (33, 50), (7, 130)])
    def test_sides_are_divided_by_the_strides_and_rounded_up(self, height: int, width: int) -> None:
        levels = Lite0Stages()(picture(height, width))
        assert [tuple(level.shape[2:]) for level in levels] == [
            (-(-height // stride), -(-width // stride)) for stride in (2, 4, 8, 16)
        ]

    def test_it_is_frozen_and_half_of_the_published_weights_at_most(self) -> None:
        network = Lite0Stages()
        assert not network.training
        assert not any(parameter.requires_grad for parameter in network.parameters())
        assert sum(value.numel() for value in network.state_dict().values()) * 2 < 3_000_000  # bytes as 16-bit floats


class TestFeatures:
    @pytest.mark.parametrize("size", [(1, 1), (5, 3), (64, 96)])
    def test_few_channels_without_gradient(self, size: tuple[int, int]) -> None:
        maps = photo_maps(picture(*size), "imagenet").features
        assert len(maps) == 3
        assert all(1 <= level.shape[1] <= COMPONENTS and level.isfinite().all() for level in maps)
        assert not any(level.requires_grad for level in maps)

    @pytest.mark.parametrize("size", [(1, 1), (64, 97), (300, 301)])
    def test_photos_add_the_trained_maps_to_those_of_imagenet(self, size: tuple[int, int]) -> None:
        image = picture(*size)
        frozen, maps = photo_maps(image, "imagenet"), photo_maps(image, "photos")
        for level, expected in zip(maps.features, frozen.features, strict=False):
            torch.testing.assert_close(level, expected)
        factor = min(max((LEAST_PIXELS / (size[0] * size[1])) ** 0.5, 1), MOST_ENLARGED)
        at4 = [-(-round(side * factor) // 4) for side in size]
        assert maps.boundary is not None
        assert maps.size is not None
        assert [list(found.shape) for found in (maps.features[3], maps.boundary, maps.size)] == [
            [1, count, *at4] for count in (DIMENSIONS, 1, 1)
        ]
        assert 0 <= float(maps.boundary.min()) <= float(maps.boundary.max()) <= 1
        # the network sees an enlarged image, but sizes are those of the image itself
        seen = resize_image(image, (round(size[0] * factor), round(size[1] * factor))).clamp(0, 1)
        shift = maps.size - load_embedding()(Lite0Stages()(seen)).size
        torch.testing.assert_close(shift, torch.full_like(shift, -math.log2(factor)), rtol=1e-3, atol=1e-3)
        assert (frozen.boundary, frozen.size, photo_maps(image, "colour")) == (None, None, PhotoMaps())

    def test_variances_sum_to_at_most_one_and_mostly_are_kept(self) -> None:
        for level in photo_maps(picture(96, 128), "imagenet").features:
            kept = float(level.var((2, 3), correction=0).sum())
            assert 0.5 < kept <= 1.001

    def test_a_flat_image_has_no_differences_inside(self) -> None:
        level = photo_maps(torch.full((1, 3, 160, 160), 0.4), "imagenet").features[0]
        inside = level[..., 15:25, 15:25]
        assert float((inside.amax((2, 3)) - inside.amin((2, 3))).max()) < 1e-3


class TestSampling:
    @pytest.mark.parametrize(("height", "width"), [(1, 1), (33, 50)])
    def test_it_is_bilinear_interpolation(self, height: int, width: int) -> None:
        maps = torch.rand(1, 4, -(-height // 4), -(-width // 4), generator=torch.Generator().manual_seed(2))
        rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        found = sample_features(maps, rows.flatten(), columns.flatten(), (height, width))
        expected = F.interpolate(maps, size=(height, width), mode="bilinear", align_corners=False)[0]
        torch.testing.assert_close(found, expected.flatten(1), rtol=1e-4, atol=1e-5)
