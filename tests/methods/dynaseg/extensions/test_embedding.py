"""The embedding of photos: the network's maps, its shipped weights, and that they tell things apart."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from upseg.layers.pretrained_weights import shipped_weights
from upseg.methods.dynaseg.extensions.embedding import DIMENSIONS, WEIGHTS, EntityEmbedding, load_embedding
from upseg.methods.dynaseg.extensions.lite0 import Lite0Stages


def levels_of(height: int, width: int, seed: int = 0) -> list[torch.Tensor]:
    image = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed))
    return Lite0Stages()(image)


class TestNetwork:
    @pytest.mark.parametrize(("height", "width"), [(1, 1), (33, 50), (64, 96)])
    def test_every_map_has_a_quarter_of_the_sides(self, height: int, width: int) -> None:
        maps = EntityEmbedding()(levels_of(height, width))
        sides = (-(-height // 4), -(-width // 4))
        assert [tuple(found.shape) for found in maps] == [(1, count, *sides) for count in (DIMENSIONS, 1, 1)]

    def test_every_parameter_but_the_margin_is_used_by_the_maps(self) -> None:
        network = EntityEmbedding()
        sum(found.square().sum() for found in network(levels_of(48, 64))).backward()
        unused = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
        assert unused == ["margin_logit"]

    def test_the_margin_is_above_one_and_grows_with_its_parameter(self) -> None:
        network = EntityEmbedding()
        with torch.no_grad():
            before = float(network.margin)
            network.margin_logit += 1
            assert 1 < before < float(network.margin)


class TestWeights:
    def test_the_shipped_ones_are_small_frozen_and_read_once(self) -> None:
        network = load_embedding()
        assert shipped_weights(WEIGHTS).stat().st_size < 500_000
        assert not any(parameter.requires_grad for parameter in network.parameters())
        assert load_embedding() is network

    def test_a_file_can_be_given(self, tmp_path: Path) -> None:
        tensors = load_file(shipped_weights(WEIGHTS))
        tensors["boundary.bias"] += 1
        save_file(tensors, tmp_path / "other.safetensors")
        other, shipped = load_embedding(tmp_path / "other.safetensors"), load_embedding()
        levels = levels_of(32, 32)
        torch.testing.assert_close(other(levels).boundary, shipped(levels).boundary + 1, rtol=1e-3, atol=2e-3)
