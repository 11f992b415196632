"""timm backbones: names, sizes, colours, published weights, and no idle parameter."""

from pathlib import Path

import huggingface_hub
import pytest
import timm
import torch
from huggingface_hub.errors import LocalEntryNotFoundError
from safetensors.torch import save_file

from upseg.errors import ModelError
from upseg.layers.backbone import TimmBackbone, check_timm_name, download_timm_weights

FAMILIES = ["convnext_atto", "resnet10t", "mobilenetv3_small_050"]


@pytest.fixture(scope="module", params=FAMILIES)
def backbone(request: pytest.FixtureRequest) -> TimmBackbone:
    torch.manual_seed(0)
    return TimmBackbone(request.param).eval()


class TestLevels:
    @pytest.mark.parametrize(
        ("size", "padded"),
        [
            ((1, 1), (64, 64)),
            ((1, 7), (64, 64)),
            ((5, 3), (64, 64)),
            ((33, 47), (64, 64)),
            ((65, 64), (96, 64)),
            ((97, 130), (128, 160)),
            ((128, 192), (128, 192)),
        ],
    )
    def test_any_size(self, backbone: TimmBackbone, size: tuple[int, int], padded: tuple[int, int]) -> None:
        assert backbone.padded_size(size) == padded
        with torch.no_grad():
            levels = backbone(torch.rand(1, 3, *size))
        assert backbone.strides == [4, 8, 16, 32]
        expected = [
            (1, channels, padded[0] // stride, padded[1] // stride)
            for channels, stride in zip(backbone.channels, backbone.strides, strict=True)
        ]
        assert [tuple(level.shape) for level in levels] == expected

    def test_padding_repeats_the_last_row_and_column(self, backbone: TimmBackbone) -> None:
        image = torch.rand(1, 3, 70, 61)
        whole = torch.cat([image, image[..., -1:].expand(-1, -1, -1, 3)], dim=3)
        whole = torch.cat([whole, whole[..., -1:, :].expand(-1, -1, 26, -1)], dim=2)
        with torch.no_grad():
            for level, expected in zip(backbone(image), backbone(whole), strict=True):
                torch.testing.assert_close(level, expected)

    def test_every_parameter_gets_a_gradient(self, backbone: TimmBackbone) -> None:
        with torch.no_grad():
            for parameter in backbone.parameters():
                if not parameter.any():  # the last batch norm of a residual block is born zero
                    parameter.fill_(0.1)
        backbone.zero_grad()
        sum(level.square().sum() for level in backbone(torch.rand(2, 3, 64, 64))).backward()
        for name, parameter in backbone.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.abs().max() > 0, name

    def test_training_on_one_pixel(self, backbone: TimmBackbone) -> None:
        """Batch normalisation refuses a single value per channel."""
        training = TimmBackbone(backbone.name).train()
        assert all(level.isfinite().all() for level in training(torch.rand(1, 3, 1, 1)))

    def test_other_levels(self) -> None:
        torch.manual_seed(0)
        backbone = TimmBackbone("resnet10t", out_indices=(0, 2))
        assert (backbone.strides, backbone.channels, backbone.multiple) == ([2, 8], [64, 128], 8)
        assert not any(name.startswith(("model.layer3", "model.layer4")) for name, _ in backbone.named_parameters())
        assert [tuple(level.shape) for level in backbone(torch.rand(1, 3, 20, 9))] == [(1, 64, 12, 8), (1, 128, 3, 2)]

    def test_a_transformer_that_keeps_channels_last(self) -> None:
        torch.manual_seed(0)
        backbone = TimmBackbone("swin_tiny_patch4_window7_224").eval()
        with torch.no_grad():
            levels = backbone(torch.rand(1, 3, 40, 90))
        assert [tuple(level.shape[1:]) for level in levels] == [(96, 16, 24), (192, 8, 12), (384, 4, 6), (768, 2, 3)]


class TestColours:
    @pytest.mark.parametrize("name", ["convnext_atto", "test_convnext", "convnext_atto.d2_in1k"])
    def test_the_models_own_mean_and_deviation(self, name: str) -> None:
        backbone = TimmBackbone(name)
        configuration = timm.get_pretrained_cfg(name)
        seen: list[torch.Tensor] = []
        backbone.model.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (configuration.mean, configuration.std))
        backbone(mean + torch.tensor([1.0, 0.0, -2.0]).view(1, 3, 1, 1) * std)
        assert seen[0].shape == (1, 3, 64, 64)
        torch.testing.assert_close(seen[0][0, :, 5, 60], torch.tensor([1.0, 0.0, -2.0]), atol=1e-5, rtol=0)

    def test_they_differ_between_models(self) -> None:
        assert TimmBackbone("test_convnext").mean.flatten().tolist() == [0.5, 0.5, 0.5]
        assert TimmBackbone("convnext_atto").mean[0, 0, 0, 0] == pytest.approx(0.485)

    def test_they_are_not_part_of_the_weights(self) -> None:
        assert not {"mean", "std"} & set(TimmBackbone("test_convnext").state_dict())


class TestNames:
    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("convnext_ato", r"no backbone called 'convnext_ato'; did you mean .*convnext_atto"),
            ("resnet81", r"no backbone called 'resnet81'; did you mean .*resnet18"),
            ("", r"no backbone called ''; timm\.list_models\(\)"),
            ("hf-hub:timm/resnet18.a1_in1k", r"no backbone called 'hf-hub:timm/resnet18.a1_in1k'"),
            ("resnet18.tv_in2k", r"resnet18 has no weights called 'tv_in2k'; there are .*tv_in1k"),
        ],
    )
    def test_unknown(self, name: str, message: str) -> None:
        with pytest.raises(ModelError, match=message):
            TimmBackbone(name)

    def test_known(self) -> None:
        for name in ("resnet18", "resnet18.tv_in1k", "convnext_base"):
            check_timm_name(name)

    @pytest.mark.parametrize("name", ["hiera_tiny_224", "mixer_s32_224"])
    def test_models_without_maps_at_any_size(self, name: str) -> None:
        with pytest.raises(ModelError, match=f"{name} cannot serve as a backbone: .*as convnext_atto or resnet18 do"):
            TimmBackbone(name)

    def test_levels_that_are_not_there(self) -> None:
        with pytest.raises(ModelError, match=r"feature maps \(0, 9\)"):
            TimmBackbone("test_resnet", out_indices=(0, 9))


class TestPublishedWeights:
    def test_downloaded(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        torch.manual_seed(1)
        published = timm.create_model("test_convnext").state_dict()  # the classifier included
        save_file(published, tmp_path / "model.safetensors")
        asked: list[tuple[str, str]] = []

        def download(repository: str, name: str) -> str:
            asked.append((repository, name))
            return str(tmp_path / name)

        monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
        torch.manual_seed(2)
        loaded = TimmBackbone("test_convnext", pretrained=True).model.state_dict()
        assert asked == [(timm.get_pretrained_cfg("test_convnext").hf_hub_id, "model.safetensors")]
        assert torch.equal(loaded["stem_0.weight"], published["stem.0.weight"])
        assert torch.equal(loaded["stages_3.blocks.0.mlp.fc1.weight"], published["stages.3.blocks.0.mlp.fc1.weight"])

        (tmp_path / "model.safetensors").write_bytes(b"not safetensors at all")
        with pytest.raises(ModelError, match=r"model\.safetensors cannot be read .*; delete the file"):
            TimmBackbone("test_convnext", pretrained=True)

    def test_not_downloadable(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(repository: str, name: str) -> str:
            raise LocalEntryNotFoundError("no connection")

        monkeypatch.setattr(huggingface_hub, "hf_hub_download", refuse)
        with pytest.raises(ModelError, match=r"timm/resnet18\.a1_in1k could not be downloaded .*LocalEntryNotFound"):
            TimmBackbone("resnet18", pretrained=True)

    def test_never_published(self) -> None:
        with pytest.raises(ModelError, match=r"coatnet_0_224 has no published weights"):
            download_timm_weights("coatnet_0_224")

    def test_never_asked_for_without_pretrained(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*arguments: object, **options: object) -> str:
            raise AssertionError("a download")

        monkeypatch.setattr(huggingface_hub, "hf_hub_download", refuse)
        TimmBackbone("test_convnext")
