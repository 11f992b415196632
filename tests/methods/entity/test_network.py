"""The feature generator: the paper's size, any image size, reproducible, safe in half precision, no idle parameter."""

import pytest
import torch

from upseg.errors import ModelError
from upseg.methods.entity.network import EntityNetwork, FeatureHead

FAMILIES = ["convnext_atto", "resnet10t", "mobilenetv3_small_050"]


def small(backbone: str = "convnext_atto", dimensions: int = 6) -> EntityNetwork:
    torch.manual_seed(0)
    return EntityNetwork(backbone, 16, dimensions)


@pytest.fixture(scope="module", params=FAMILIES)
def network(request: pytest.FixtureRequest) -> EntityNetwork:
    return small(request.param).eval()


class TestSize:
    @pytest.mark.parametrize("size", [(1, 1), (1, 7), (5, 3), (33, 47), (97, 130), (64, 96)])
    @torch.no_grad()
    def test_as_the_image(self, network: EntityNetwork, size: tuple[int, int]) -> None:
        raw = network(torch.rand(2, 3, *size))
        assert raw.shape == (2, 6, *size)
        assert raw.dtype == torch.float32
        assert raw.abs().max() <= 1
        assert (raw.norm(dim=1) > 0).all()

    @torch.no_grad()
    def test_features_stay_where_the_pixels_are(self, network: EntityNetwork) -> None:
        """Of a picture that continues as its last row and column do, the crop has the crop's features."""
        image = torch.rand(1, 3, 128, 128)
        image[..., 97:, :] = image[..., 96:97, :]
        image[..., 110:] = image[..., 109:110]
        torch.testing.assert_close(network(image[..., :97, :110]), network(image)[..., :97, :110])

    def test_parameters_of_the_papers_network(self) -> None:
        """Paper: Tab. 1 and 2, "ConvNext-B - 101m"."""
        parts = {
            "backbone": 87_564_416,
            "decoder": 9 * 256 * (128 + 256 + 512 + 1024) + 7 * 2 * (9 * 256 * 256 + 256),
            "head": (9 * 256 * 128 + 128) + (9 * 128 * 128 + 128) + (128 * 128 + 128),
        }
        network = EntityNetwork()
        counted = {name: sum(p.numel() for p in part.parameters()) for name, part in network.named_children()}
        assert counted == parts
        assert round(sum(counted.values()) / 1e6) == 101

    def test_errors(self) -> None:
        with pytest.raises(ModelError, match=r"did you mean .*convnext_base"):
            EntityNetwork("convnext_bass")
        with pytest.raises(ValueError, match="at least 1, got 0 and 8"):
            EntityNetwork("convnext_atto", 0, 8)
        with pytest.raises(ValueError, match="at least 1, got 8 and 0"):
            EntityNetwork("convnext_atto", 8, 0)


class TestTraining:
    @pytest.mark.parametrize("backbone", FAMILIES)
    def test_every_parameter_gets_a_gradient(self, backbone: str) -> None:
        network = small(backbone)
        with torch.no_grad():
            for parameter in network.backbone.parameters():
                if not parameter.any():  # the last batch norm of a residual block is born zero
                    parameter.fill_(0.1)
        network(torch.rand(2, 3, 64, 64)).square().sum().backward()
        for name, parameter in network.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.abs().max() > 0, name

    @pytest.mark.parametrize("backbone", FAMILIES)
    def test_batch_normalisation_is_the_backbones_own(self, backbone: str) -> None:
        norms = [
            name
            for name, module in small(backbone).named_modules()
            if isinstance(module, torch.nn.modules.batchnorm._NormBase)
        ]
        assert all(name.startswith("backbone.") for name in norms)
        assert bool(norms) == (backbone != "convnext_atto")

    def test_every_parameter_of_positions_gets_a_gradient(self) -> None:
        network = EntityNetwork("convnext_atto", 16, 6, 32)
        network(torch.rand(2, 3, 64, 64)).square().sum().backward()
        for name, parameter in network.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.abs().max() > 0, name

    def test_one_pixel(self) -> None:
        network = small("resnet10t").train()
        network(torch.rand(1, 3, 1, 1)).sum().backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())

    def test_learns(self) -> None:
        """A few steps bring the left and the right of a picture to given vectors."""
        network = small(dimensions=2)
        image = torch.zeros(1, 3, 32, 32)
        image[..., 16:] = 1
        target = torch.stack([(image[:, 0] == 0).float(), (image[:, 0] == 1).float()], dim=1) * 0.9
        optimizer = torch.optim.Adam(network.parameters(), 3e-3)
        losses = []
        for _ in range(30):
            loss = (network(image) - target).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        assert losses[-1] < losses[0] / 10

    def test_a_new_network_tells_pixels_apart(self) -> None:
        """The features of a new network do not all share nearly one line, from which training is slow to part them."""
        torch.manual_seed(0)
        network = EntityNetwork("convnext_atto", 32, 32).eval()
        image = torch.nn.functional.interpolate(torch.rand(1, 3, 9, 9), size=(64, 64), mode="bilinear")
        with torch.no_grad():
            features = torch.nn.functional.normalize(network(image), dim=1).flatten(2)[0]
        eigenvalues = torch.linalg.eigvalsh(features @ features.T / features.shape[1])
        assert eigenvalues[-1] < 0.8


class TestSameWeightsSameFeatures:
    def test_seed(self) -> None:
        first, second = small().state_dict(), small().state_dict()
        assert all(torch.equal(first[name], second[name]) for name in first)
        torch.manual_seed(1)
        other = EntityNetwork("convnext_atto", 16, 6).state_dict()
        assert not torch.equal(first["head.output.weight"], other["head.output.weight"])

    @torch.no_grad()
    def test_state_dict_round_trip(self, network: EntityNetwork) -> None:
        torch.manual_seed(1)
        other = EntityNetwork(network.backbone.name, 16, 6).eval()
        image = torch.rand(1, 3, 40, 50)
        expected = network(image)
        assert not torch.allclose(other(image), expected)
        other.load_state_dict(network.state_dict())
        assert torch.equal(other(image), expected)

    @torch.no_grad()
    def test_an_image_alone_or_in_a_batch(self, network: EntityNetwork) -> None:
        images = torch.rand(3, 3, 48, 40)
        alone = torch.cat([network(image[None]) for image in images])
        torch.testing.assert_close(network(images), alone, atol=1e-5, rtol=1e-4)

    @torch.no_grad()
    def test_channels_last(self, network: EntityNetwork) -> None:
        image = torch.rand(2, 3, 48, 40)
        expected = network(image)
        laid_out = small(network.backbone.name).eval().to(memory_format=torch.channels_last)
        raw = laid_out(image.to(memory_format=torch.channels_last))
        torch.testing.assert_close(raw, expected, atol=1e-5, rtol=1e-4)


class TestHalfPrecision:
    @torch.no_grad()
    def test_near_the_full_one(self, network: EntityNetwork) -> None:
        image = torch.rand(1, 3, 33, 47)
        expected = torch.nn.functional.normalize(network(image), dim=1)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            raw = network(image)
        assert raw.dtype == torch.bfloat16
        features = torch.nn.functional.normalize(raw.float(), dim=1)
        assert (features * expected).sum(dim=1).abs().mean() > 0.99

    def test_gradients(self) -> None:
        network = small()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            raw = network(torch.rand(1, 3, 64, 64))
        raw.float().square().sum().backward()
        for name, parameter in network.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.dtype == torch.float32
            assert parameter.grad.isfinite().all(), name


class TestHead:
    def test_no_bottleneck_before_tanh(self) -> None:
        """As many orthogonal lines as dimensions, though the convolution before the upsampling has fewer channels."""
        torch.manual_seed(0)
        head = FeatureHead(8, 48).double()
        with torch.no_grad():
            hidden: list[torch.Tensor] = []
            head.output.register_forward_hook(lambda module, inputs, output: hidden.append(output))
            raw = head(torch.randn(1, 8, 16, 16, dtype=torch.float64), (32, 32))
        assert raw.shape == (1, 48, 32, 32)
        assert torch.linalg.matrix_rank(hidden[0].flatten(2)[0]) == 48

    def test_ends_with_tanh(self) -> None:
        head = FeatureHead(4, 3)
        torch.nn.init.zeros_(head.output.weight)
        head.output.bias.data = torch.tensor([0.5, -1.0, 20.0])
        raw = head(torch.randn(1, 4, 2, 2), (4, 4))
        torch.testing.assert_close(raw[0, :, 1, 2], torch.tensor([0.5, -1.0, 20.0]).tanh())
