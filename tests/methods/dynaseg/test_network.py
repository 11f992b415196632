"""The networks: parameters counted by hand, any size, nothing idle, weights from files, and the plain fit as oracle."""

from pathlib import Path

import huggingface_hub
import pytest
import timm
import torch
from huggingface_hub.errors import LocalEntryNotFoundError
from safetensors.torch import save_file

from tests.reference.dynaseg import balance, paper_loop, paper_network
from upseg.errors import ModelError
from upseg.methods.dynaseg import equations as eq
from upseg.methods.dynaseg import network as module
from upseg.methods.dynaseg.losses import fused_total_loss
from upseg.methods.dynaseg.network import (
    ConvolutionalExtractor,
    DynaSegNetwork,
    ImageBatchNorm2d,
    ResNetPyramidExtractor,
)

SIZES = [(1, 1), (1, 9), (7, 1), (5, 3), (33, 47), (64, 32)]
RESNET18_PARAMETERS = 11_689_512 - (512 * 1000 + 1000)  # torchvision's count without the classifier


def count(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def small_network(kind: str) -> DynaSegNetwork:
    torch.manual_seed(0)
    return DynaSegNetwork(ConvolutionalExtractor(8) if kind == "cnn" else ResNetPyramidExtractor(8), clusters=6)


def random_image(height: int, width: int, batch: int = 1) -> torch.Tensor:
    return torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(1))


def assert_every_parameter_has_a_gradient(network: torch.nn.Module) -> None:
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().max() > 0, name


class TestBothNetworks:
    @pytest.mark.parametrize("kind", ["cnn", "resnet18"])
    @pytest.mark.parametrize("size", SIZES)
    def test_any_size(self, kind: str, size: tuple[int, int]) -> None:
        network = small_network(kind).train()
        response = network(random_image(*size))
        assert response.shape == (1, 6, *size)
        response.square().mean().backward()
        assert torch.isfinite(response).all()
        assert all(torch.isfinite(parameter.grad).all() for parameter in network.parameters())
        assert all(torch.isfinite(buffer).all() for buffer in network.buffers())

    def test_a_coarse_response_is_enlarged_from_the_middles_of_its_pixels(self) -> None:
        network, coarse = small_network("resnet18").eval(), []
        network.normalization.register_forward_hook(lambda *hooked: coarse.append(hooked[2]))
        response = network(random_image(32, 32))
        [given] = coarse
        assert given.shape[-2:] == (8, 8)
        # beyond the outermost middles nothing changes; corners that were aligned would change from the first pixel on
        torch.testing.assert_close(response[..., 1, 1], given[..., 0, 0])
        torch.testing.assert_close(response[..., -2, -2], given[..., -1, -1])

    @pytest.mark.parametrize("kind", ["cnn", "resnet18"])
    def test_no_idle_parameter(self, kind: str) -> None:
        network = small_network(kind).train()
        response = network(random_image(96, 64))
        fused_total_loss(response, eq.cluster_labels(response), 3.0).backward()
        assert_every_parameter_has_a_gradient(network)

    @pytest.mark.parametrize("kind", ["cnn", "resnet18"])
    def test_batch_and_dtypes(self, kind: str) -> None:
        network = small_network(kind).to(memory_format=torch.channels_last).train()
        images = random_image(40, 24, batch=2).contiguous(memory_format=torch.channels_last)
        response = network(images)
        with torch.autocast("cpu", torch.bfloat16):
            rough = network(images)
        assert rough.dtype == torch.bfloat16
        assert (rough.float() - response).abs().mean() < 0.1

    def test_parameter_counts(self) -> None:
        convolutions = (3 * 9 * 100 + 100) + 2 * (100 * 9 * 100 + 100)
        head = 100 * 100 + 2 * 100
        assert count(DynaSegNetwork(ConvolutionalExtractor())) == convolutions + 3 * 2 * 100 + head
        pyramid = (64 + 128 + 256 + 512) * 100 + 4 * 100 + 100 * 9 * 100 + 100
        assert count(DynaSegNetwork(ResNetPyramidExtractor())) == RESNET18_PARAMETERS + pyramid + head

    def test_errors(self) -> None:
        with pytest.raises(ValueError, match="features and blocks must be at least 1, got 8 and 0"):
            ConvolutionalExtractor(8, blocks=0)
        with pytest.raises(ValueError, match="clusters must be at least 1, got 0"):
            DynaSegNetwork(ConvolutionalExtractor(8), clusters=0)


class TestConvolutionalNetwork:
    def test_response_is_normalised_over_the_image(self) -> None:
        response = small_network("cnn").train()(random_image(30, 40)).detach()
        torch.testing.assert_close(response.mean((0, 2, 3)), torch.zeros(6), atol=1e-5, rtol=0)
        torch.testing.assert_close(response.var((0, 2, 3), unbiased=False), torch.ones(6), atol=1e-2, rtol=0)

    def test_is_the_network_of_the_plain_fit(self) -> None:
        torch.manual_seed(7)
        network = DynaSegNetwork(ConvolutionalExtractor(8), clusters=6)
        plain = paper_network(features=8, clusters=6, blocks=3, seed=7)
        image = random_image(9, 11)
        torch.testing.assert_close(network(image), plain(image), rtol=0, atol=0)

    @pytest.mark.parametrize(("weighting", "alpha"), [("fsf", 15.0), ("scf", 50.0), ("fixed", 5.0)])
    def test_fitting_it_follows_the_plain_loop(self, weighting: str, alpha: float) -> None:
        image = random_image(12, 10)
        plain = paper_loop(image[0], weighting=weighting, alpha=alpha, steps=4, floor=1, features=8, clusters=6, seed=3)
        torch.manual_seed(3)
        network = DynaSegNetwork(ConvolutionalExtractor(8), clusters=6).train()
        optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
        losses, counts = [], []
        for _ in range(4):
            response = network(image)
            labels = eq.cluster_labels(response)
            counts.append(int(eq.labels_in_use(labels, 6).sum()))
            weight = eq.WEIGHTINGS[weighting](counts[-1], alpha)
            assert weight == balance(weighting, counts[-1], alpha)
            loss = fused_total_loss(response, labels, weight)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        assert counts == plain.label_counts[:4]
        assert losses == pytest.approx(plain.losses, rel=1e-3)
        torch.testing.assert_close(eq.cluster_labels(network(image))[0], plain.labels)


class TestPlainLoop:
    """The oracle itself: it ends where it should."""

    def test_ends_at_the_floor(self) -> None:
        fit = paper_loop(random_image(12, 10)[0], alpha=1.0, steps=50, floor=3, features=8, clusters=6)
        assert fit.label_counts[-1] <= 3 < min(fit.label_counts[:-1])
        assert len(fit.labels.unique()) == fit.label_counts[-1]
        assert len(fit.losses) == len(fit.label_counts) - 1 < 50

    def test_ends_after_the_last_step(self) -> None:
        fit = paper_loop(random_image(12, 10)[0], steps=2, floor=0, features=8, clusters=6)
        assert (len(fit.losses), len(fit.label_counts)) == (2, 3)

    def test_is_seeded(self) -> None:
        first, second, other = (
            paper_loop(random_image(12, 10)[0], steps=2, floor=1, features=8, clusters=6, seed=seed)
            for seed in (5, 5, 6)
        )
        assert first.losses == second.losses != other.losses


class TestImageBatchNorm:
    def test_one_value_is_left_alone_and_carries_gradient(self) -> None:
        norm = ImageBatchNorm2d(4).train()
        features = torch.randn(1, 4, 1, 1, requires_grad=True)
        result = norm(features)
        torch.testing.assert_close(result, features / (1 + norm.eps) ** 0.5)
        result.sum().backward()
        assert features.grad is not None
        assert features.grad.abs().min() > 0
        assert norm.running_mean.tolist() == [0.0] * 4

    def test_several_values_as_usual(self) -> None:
        features = torch.randn(1, 4, 1, 2)
        torch.testing.assert_close(ImageBatchNorm2d(4).train()(features), torch.nn.BatchNorm2d(4).train()(features))


class TestBackboneWeights:
    def test_the_colour_statistics_are_those_of_the_weights(self) -> None:
        configuration = timm.get_pretrained_cfg("resnet18.tv_in1k")
        assert (configuration.mean, configuration.std) == (module.IMAGENET_MEAN, module.IMAGENET_STD)
        assert configuration.hf_hub_id == module.IMAGENET_RESNET18

    @pytest.fixture
    def backbone(self) -> torch.nn.Module:
        torch.manual_seed(1)
        return ResNetPyramidExtractor(8).backbone

    def test_the_backbone_sees_standardised_colours(self) -> None:
        extractor = ResNetPyramidExtractor(8).eval()
        image = torch.tensor([0.485 + 0.229, 0.456, 0.406 - 2 * 0.225]).view(1, 3, 1, 1).expand(1, 3, 32, 32)
        standardised = torch.tensor([1.0, 0.0, -2.0]).view(1, 3, 1, 1).expand(1, 3, 32, 32)
        expected = extractor.pyramid(extractor.backbone(standardised))[0]
        torch.testing.assert_close(extractor(image), expected, atol=1e-4, rtol=1e-4)

    def test_from_a_file(self, tmp_path: Path, backbone: torch.nn.Module) -> None:
        path = tmp_path / "resnet18.safetensors"
        save_file({**backbone.state_dict(), "fc.weight": torch.zeros(1000, 512), "fc.bias": torch.zeros(1000)}, path)
        loaded = ResNetPyramidExtractor(8, weights=path).backbone
        for name, tensor in backbone.state_dict().items():
            assert torch.equal(loaded.state_dict()[name], tensor), name

    def test_downloaded(self, tmp_path: Path, backbone: torch.nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
        save_file(backbone.state_dict(), tmp_path / "model.safetensors")
        asked: list[tuple[str, str]] = []

        def download(repository: str, name: str) -> str:
            asked.append((repository, name))
            return str(tmp_path / name)

        monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
        loaded = ResNetPyramidExtractor(8, pretrained=True).backbone
        assert asked == [("timm/resnet18.tv_in1k", "model.safetensors")]
        assert torch.equal(loaded.conv1.weight, backbone.conv1.weight)

    def test_not_downloadable(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(repository: str, name: str) -> str:
            raise LocalEntryNotFoundError("no connection")

        monkeypatch.setattr(huggingface_hub, "hf_hub_download", refuse)
        with pytest.raises(ModelError, match=r"could not be downloaded .*give a .safetensors file with `weights`"):
            ResNetPyramidExtractor(8, pretrained=True)

    def test_missing_broken_and_wrong_files(self, tmp_path: Path, backbone: torch.nn.Module) -> None:
        with pytest.raises(ModelError, match=r"absent\.safetensors: expected a \.safetensors file"):
            ResNetPyramidExtractor(8, weights=tmp_path / "absent.safetensors")
        broken = tmp_path / "broken.safetensors"
        broken.write_bytes(b"not safetensors at all")
        with pytest.raises(ModelError, match=r"broken\.safetensors: expected a \.safetensors file"):
            ResNetPyramidExtractor(8, weights=broken)
        state = backbone.state_dict()
        del state["layer4.1.conv2.weight"]
        save_file({**state, "extra": torch.zeros(1)}, tmp_path / "wrong.safetensors")
        with pytest.raises(ModelError, match=r"(?s)does not hold the weights of a ResNet-18.*layer4\.1\.conv2.*extra"):
            ResNetPyramidExtractor(8, weights=tmp_path / "wrong.safetensors")

    def test_either_or(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="not both"):
            ResNetPyramidExtractor(8, pretrained=True, weights=tmp_path / "resnet18.safetensors")
