from __future__ import annotations

from io import StringIO

import pytest
import timm
from rich.console import Console
from torch import nn

from upseg.layers.backbone import TimmBackbone
from upseg.training.parameter_groups import parameter_groups, table_of_groups


class WithDecoder(nn.Module):
    """A backbone, and a decoder behind it, as all methods have them."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.decoder = nn.Conv2d(3, 5, 1)


def layers_of(module: nn.Module, decay: float) -> dict[str, tuple[int, float, float]]:
    """(layer, scale, weight decay) of each parameter."""
    found = {}
    for group in parameter_groups(module, 0.05, decay):
        assert [id(parameter) for parameter in group.parameters] == [id(parameters_of(module)[n]) for n in group.names]
        found |= dict.fromkeys(group.names, (group.layer, group.scale, group.weight_decay))
    assert set(found) == set(parameters_of(module))
    return found


def parameters_of(module: nn.Module) -> dict[str, nn.Parameter]:
    return dict(module.named_parameters())


def test_without_layer_decay_only_weights_and_the_rest_differ():
    groups = parameter_groups(WithDecoder(nn.BatchNorm2d(3)), 0.05)
    assert [(group.layer, group.scale, group.weight_decay, group.names, group.count) for group in groups] == [
        (0, 1.0, 0.05, ("decoder.weight",), 15),
        (0, 1.0, 0.0, ("backbone.weight", "backbone.bias", "decoder.bias"), 11),
    ]


def test_parameters_that_do_not_learn_are_in_no_group():
    module = WithDecoder(nn.BatchNorm2d(3))
    module.backbone.requires_grad_(False)
    assert {name for group in parameter_groups(module) for name in group.names} == {"decoder.weight", "decoder.bias"}


@pytest.mark.parametrize("features_only", [False, True])
def test_the_layers_of_a_transformer_learn_ever_faster(features_only):
    options = {"features_only": True} if features_only else {"num_classes": 0}
    backbone = timm.create_model("vit_tiny_patch16_224", depth=3, embed_dim=24, num_heads=2, img_size=32, **options)
    prefix = "backbone.model." if features_only else "backbone."
    found = layers_of(WithDecoder(backbone), 0.5)
    assert found[f"{prefix}pos_embed"] == (0, 0.0625, 0.0)  # the model says that it has no weight decay
    assert found[f"{prefix}cls_token"] == (0, 0.0625, 0.0)
    assert found[f"{prefix}patch_embed.proj.weight"] == (0, 0.0625, 0.05)
    assert found[f"{prefix}blocks.0.attn.qkv.weight"] == (1, 0.125, 0.05)
    assert found[f"{prefix}blocks.1.attn.qkv.bias"] == (2, 0.25, 0.0)
    assert found[f"{prefix}blocks.2.mlp.fc2.weight"] == (3, 0.5, 0.05)
    assert found["decoder.weight"] == (4, 1.0, 0.05)
    assert found["decoder.bias"] == (4, 1.0, 0.0)


def test_the_layers_of_a_convolutional_backbone_are_those_of_the_whole_model():
    found = layers_of(WithDecoder(TimmBackbone("convnext_atto")), 0.9)
    assert found["backbone.model.stem_0.weight"] == (0, pytest.approx(0.9**13), 0.05)
    assert found["backbone.model.stages_0.blocks.1.gamma"] == (2, pytest.approx(0.9**11), 0.0)
    assert found["backbone.model.stages_1.downsample.1.weight"][0] == 3
    assert found["backbone.model.stages_2.blocks.5.mlp.fc1.weight"][0] == 10
    assert found["backbone.model.stages_3.blocks.1.mlp.fc1.weight"] == (12, pytest.approx(0.9), 0.05)
    assert found["decoder.weight"] == (13, 1.0, 0.05)
    whole = timm.create_model("convnext_atto")
    same = layers_of(whole, 0.9)  # with its own head, which belongs to no layer
    assert same["head.fc.weight"] == (13, 1.0, 0.05)
    for name, (layer, *_) in same.items():
        inside = f"backbone.model.{name.replace('stem.', 'stem_').replace('stages.', 'stages_')}"
        assert inside not in found or found[inside][0] == layer


def test_the_table_shows_each_group():
    groups = parameter_groups(WithDecoder(TimmBackbone("convnext_atto")), 0.05, 0.5)
    text = StringIO()
    Console(file=text, width=120).print(table_of_groups(groups, 1e-3))
    lines = [line for line in text.getvalue().splitlines() if line.startswith("│")]
    assert len(lines) == len(groups) == 28
    assert "decoder.weight" in lines[-2]
    assert [cell.strip() for cell in lines[-4].strip("│").split("│")][:4] == ["12", "0.0005", "0.5000", "0.05"]


def test_layer_decay_needs_layers():
    with pytest.raises(ValueError, match="layer_decay needs a timm backbone whose layers are known"):
        parameter_groups(nn.Linear(2, 2), 0.05, 0.5)


def test_values_outside_their_range_are_refused():
    with pytest.raises(ValueError, match=r"layer_decay in \(0, 1\], got 0.1, 0.0"):
        parameter_groups(nn.Linear(1, 1), 0.1, 0.0)
    with pytest.raises(ValueError, match="weight_decay must be at least 0"):
        parameter_groups(nn.Linear(1, 1), -0.1)
