"""EfficientNet-Lite0 is timm's: the same values, gradients and statistics, to the last bit."""

from pathlib import Path

import pytest
import timm
import torch

from upseg.errors import ModelError
from upseg.layers.backbone import TimmBackbone, download_timm_weights
from upseg.layers.lite0 import LEVELS, NAMES, Lite0


def timm_model(levels: tuple[int, ...] = (0, 1, 2, 3, 4)) -> torch.nn.Module:
    torch.manual_seed(1)
    model: torch.nn.Module = timm.create_model(NAMES[0], features_only=True, out_indices=levels)
    return model


@pytest.fixture
def pair() -> tuple[Lite0, torch.nn.Module]:
    own, reference = Lite0(), timm_model()
    own.load_state_dict(reference.state_dict())
    return own, reference


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("size", [(2, 3, 64, 96), (2, 3, 33, 50), (1, 3, 7, 130)])
def test_values_gradients_and_statistics(
    pair: tuple[Lite0, torch.nn.Module], size: tuple[int, ...], layout: torch.memory_format, training: bool
) -> None:
    image = torch.rand(size, generator=torch.Generator().manual_seed(0)).contiguous(memory_format=layout)
    for model in pair:
        model.train(training).to(memory_format=layout)
    levels = [model(image) for model in pair]
    for found in levels:
        sum(level.square().mean() for level in found).backward()
    own, reference = pair
    assert len(levels[0]) == len(LEVELS)
    assert all(torch.equal(a, b) for a, b in zip(*levels, strict=True))
    assert all(torch.equal(a.grad, b.grad) for a, b in zip(own.parameters(), reference.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b in zip(own.buffers(), reference.buffers(), strict=True))


def test_first_weights_are_drawn_as_timm_draws_them() -> None:
    torch.manual_seed(1)
    own, reference = Lite0().state_dict(), timm_model().state_dict()
    for name, values in own.items():
        if values.dim() == 4:
            torch.testing.assert_close(values.std(), reference[name].std(), rtol=0.3, atol=0)
        else:
            assert torch.equal(values, reference[name]), name


@pytest.mark.parametrize("levels", [(-4, -3, -2, -1), (0, 1, 2, 3, 4), (1, 3)])
def test_a_backbone_of_this_name_is_it_with_the_levels_that_were_asked_for(levels: tuple[int, ...]) -> None:
    backbone, reference = TimmBackbone(NAMES[1], out_indices=levels), timm_model(levels)
    assert isinstance(backbone.model, Lite0)
    assert backbone.channels == reference.feature_info.channels()
    assert backbone.strides == reference.feature_info.reduction()
    assert backbone.mean.flatten().tolist() == list(reference.pretrained_cfg["mean"])
    assert backbone.std.flatten().tolist() == list(reference.pretrained_cfg["std"])


def test_published_weights() -> None:
    backbone = TimmBackbone(NAMES[0], pretrained=True)
    file = download_timm_weights(NAMES[0])
    reference = timm.create_model(
        NAMES[0], pretrained=True, features_only=True, pretrained_cfg_overlay={"file": str(file), "custom_load": False}
    )
    for name, values in reference.state_dict().items():
        assert torch.equal(backbone.model.state_dict()[name], values), name


def test_unreadable_weights_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / f"{NAMES[0]}.safetensors").write_bytes(b"nothing")
    monkeypatch.setattr("upseg.layers.backbone.shipped_weights", lambda _: tmp_path / f"{NAMES[0]}.safetensors")
    with pytest.raises(ModelError, match="cannot be read"):
        TimmBackbone(NAMES[0], pretrained=True)


def test_levels_that_it_does_not_have() -> None:
    with pytest.raises(ModelError, match="cannot serve as a backbone"):
        TimmBackbone(NAMES[0], out_indices=(7,))
