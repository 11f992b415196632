"""The network: where its maps are in the image, the paper's size, what each setting leaves, no idle parameter."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models.segmentation.deeplabv3 import DeepLabHead

from upseg.errors import ModelError
from upseg.methods.baiseg.network import BaisegNetwork, SemanticBranch, SmallBatchNorm, at_image
from upseg.methods.baiseg.settings import BaisegSettings

SMALL = BaisegSettings(backbone="resnet10t", width=6, hidden=8, cascade=2, semantic_width=8)


def small(classes: int = 3, **changes: Any) -> BaisegNetwork:
    torch.manual_seed(0)
    return BaisegNetwork(replace(SMALL, **changes), classes)


def stirred(network: BaisegNetwork) -> BaisegNetwork:
    """A network whose parameters of 0, which keep others from having a gradient, are something else."""
    with torch.no_grad():
        for parameter in network.parameters():
            if not parameter.any():
                parameter.copy_(torch.randn(parameter.shape) / 2)
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return network


@pytest.fixture(scope="module")
def network() -> BaisegNetwork:
    return small().eval()


class TestMaps:
    @pytest.mark.parametrize("backbone", ["resnet10t", "convnext_atto"])
    @pytest.mark.parametrize("size", [(1, 1), (1, 50), (33, 70), (64, 96)])
    @torch.no_grad()
    def test_at_the_images_size(self, backbone: str, size: tuple[int, int]) -> None:
        maps = small(backbone=backbone).eval()(torch.rand(2, 3, *size))
        assert {name: tuple(values.shape) for name, values in maps.items()} == {
            "boundary": (2, 1, *size),
            "semantic": (2, 3, *size),
        }
        assert all(values.isfinite().all() for values in maps.values())

    @pytest.mark.parametrize(
        ("changes", "names"),
        [
            ({}, ["boundary", "semantic", "projection"]),
            ({"semantic_width": None}, ["boundary", "projection"]),
            ({"contrast_dimensions": 0}, ["boundary", "semantic"]),
            ({"contrast_dimensions": 0, "semantic_width": None}, ["boundary"]),
        ],
    )
    def test_which_there_are(self, changes: dict[str, Any], names: list[str]) -> None:
        network, image = small(**changes), torch.rand(1, 3, 40, 40)
        assert list(network(image)) == names
        assert list(network.eval()(image)) == [name for name in names if name != "projection"]

    @pytest.mark.parametrize(("resolution", "dimensions"), [(4, 1), (4, 32), (8, 2)])
    def test_the_projection_has_the_features_resolution(self, resolution: int, dimensions: int) -> None:
        network = small(resolution=resolution, contrast_dimensions=dimensions)
        maps = network(torch.rand(1, 3, 70, 61))
        assert maps["projection"].shape == (1, dimensions, 96 // resolution, 64 // resolution)

    @torch.no_grad()
    def test_the_projection_is_of_the_chosen_module(self) -> None:
        network = small(contrast_module=1, contrast_dimensions=2).eval()
        network.training = True  # of the network alone: the normalisations stay as they are
        image = torch.rand(1, 3, 64, 64)
        features = torch.cat(network.features(image), dim=1)
        _, local = network.boundary.stages[0](network.boundary.enter(features))
        assert network.projection is not None
        torch.testing.assert_close(network(image)["projection"], network.projection(local))

    @torch.no_grad()
    def test_the_padding_is_cut_off_and_nothing_else(self, network: BaisegNetwork) -> None:
        image = torch.rand(1, 3, 64, 96)
        image[..., 50:, :] = image[..., 49:50, :]
        image[..., 71:] = image[..., 70:71]
        whole, cut = network(image), network(image[..., :50, :71])
        for name, values in cut.items():
            torch.testing.assert_close(values, whole[name][..., :50, :71])

    @pytest.mark.parametrize("resolution", [1, 2, 3, 4, 12, 32])
    def test_values_are_in_the_middle_of_their_squares(self, resolution: int) -> None:
        """A map that rises evenly in the features rises evenly, at the right speed and place, at the image's size."""
        centres = (torch.arange(-(-96 // resolution)) + 0.5) * resolution
        found = at_image(centres.expand(1, 1, 5, -1), resolution, (4, 90))
        assert found.shape == (1, 1, 4, 90)
        inside = slice(resolution // 2, 90 - resolution)  # beyond the outermost middles the values stay as there
        torch.testing.assert_close(found[0, 0, 3, inside], (torch.arange(90) + 0.5)[inside])

    @torch.no_grad()
    def test_an_image_alone_or_in_a_batch(self, network: BaisegNetwork) -> None:
        images = torch.rand(3, 3, 48, 40)
        together = network(images)
        for name, values in together.items():
            alone = torch.cat([network(image[None])[name] for image in images])
            torch.testing.assert_close(values, alone, atol=1e-5, rtol=1e-4)


class TestSemanticBranch:
    def test_is_the_head_of_deeplab(self) -> None:
        """With 256 channels torchvision's, to the weight: one's state makes the other say the same."""
        torch.manual_seed(0)
        branch, head = SemanticBranch(10, 256, 4).eval(), DeepLabHead(10, 4).eval()
        names = {"0": "pyramid", "1": "refine.0", "2": "refine.1", "4": "output"}
        state = {f"{names[key.partition('.')[0]]}.{key.partition('.')[2]}": v for key, v in head.state_dict().items()}
        branch.load_state_dict(state)
        features = torch.randn(1, 10, 9, 7)
        with torch.no_grad():
            assert torch.equal(branch(features), head(features))

    @pytest.mark.parametrize(("size", "expected"), [((8, 9), (3, 3)), ((1, 2), (1, 1)), ((6, 3), (2, 1))])
    @torch.no_grad()
    def test_reduced_by_averages(self, size: tuple[int, int], expected: tuple[int, int]) -> None:
        branch = SemanticBranch(1, 4, 2, reduction=3).eval()
        assert branch(torch.randn(2, 1, *size)).shape == (2, 2, *expected)
        seen: list[torch.Tensor] = []
        branch.pyramid.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        values = torch.arange(float(size[0] * size[1])).view(1, 1, *size)
        branch(values)
        last = values[0, 0, 3 * (expected[0] - 1) :, 3 * (expected[1] - 1) :].mean()
        torch.testing.assert_close(seen[0][0, 0, -1, -1], last)  # only what is there counts

    def test_one_value_for_each_channel(self) -> None:
        """Such a batch leaves the running statistics alone and is normalised with them; others are as usual."""
        norm, usual = SmallBatchNorm(2), nn.BatchNorm2d(2)
        norm.running_mean = torch.tensor([1.0, 2.0])
        norm.running_var = torch.tensor([4.0, 1.0])
        found = norm(torch.tensor([3.0, 5.0]).view(1, 2, 1, 1))
        torch.testing.assert_close(found.flatten(), torch.tensor([1.0, 3.0]), atol=1e-4, rtol=0)
        assert norm.running_mean.tolist() == [1.0, 2.0]
        features = torch.randn(3, 2, 1, 1)
        torch.testing.assert_close(norm(features), usual(features))
        assert norm.running_mean.tolist() != [1.0, 2.0]


class TestParameters:
    @pytest.mark.parametrize(
        "changes",
        [
            {},
            {"fusion": False},
            {"attention": False},
            {"fusion": False, "attention": False, "contrast_dimensions": 0},
            {"semantic_width": None},
            {"contrast_dimensions": 4, "contrast_module": 1},
            {"backbone": "convnext_atto"},
            {"backbone": "hrnet_w18_small"},
        ],
    )
    def test_none_is_idle_whatever_the_settings(self, changes: dict[str, Any]) -> None:
        network = stirred(small(**changes))
        maps = network(torch.rand(2, 3, 48, 64))
        sum((values * torch.randn_like(values)).sum() for values in maps.values()).backward()
        for name, parameter in network.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.any(), name

    def test_a_single_branch_has_no_semantic_one(self) -> None:
        network = small(0, semantic_width=None)
        assert not any(name.startswith("semantic") for name, _ in network.named_parameters())

    def test_of_the_papers_network(self) -> None:
        """HRNet-W48 with the defaults: paper, Tab. 6, 65.6 M and 92.8 G; timm's HRNet gives out five wider levels."""
        with torch.device("meta"):
            network = BaisegNetwork(BaisegSettings(), 21).eval()
        counted = {part: sum(p.numel() for p in module.parameters()) for part, module in network.named_children()}
        assert counted == {"features": 67_214_512, "boundary": 1_845_809, "projection": 129, "semantic": 2_708_245}
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            maps = network(torch.empty(1, 3, 416, 416, device="meta"))
        assert maps["boundary"].shape == (1, 1, 416, 416)
        assert maps["semantic"].shape == (1, 21, 416, 416)
        assert counter.get_total_flops() / 2e9 == pytest.approx(84.1, abs=0.1)


class TestTraining:
    @pytest.mark.parametrize("size", [(1, 1), (7, 3), (64, 64)])
    @pytest.mark.parametrize("semantic_resolution", [8, 32])
    def test_on_one_image_of_any_size(self, size: tuple[int, int], semantic_resolution: int) -> None:
        """Batch normalisation refuses a single value per channel, which global pooling of one image gives."""
        network = small(semantic_resolution=semantic_resolution)
        maps = network(torch.rand(1, 3, *size))
        sum(values.square().mean() for values in maps.values()).backward()
        gradients = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
        assert all(gradient.isfinite().all() for gradient in gradients)

    def test_half_precision(self) -> None:
        network = stirred(small())
        image = torch.rand(2, 3, 33, 47)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            maps = network(image)
        assert {values.dtype for values in maps.values()} == {torch.bfloat16}
        sum(values.float().square().sum() for values in maps.values()).backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())

    def test_learns_lines_and_classes(self) -> None:
        """A few steps find the left and right sides of two squares, and which square is which."""
        network = stirred(small(cascade=1, contrast_module=1, semantic_width=32, semantic_resolution=4))
        classes = torch.zeros(1, 64, 64, dtype=torch.long)
        classes[:, 8:40, 8:40], classes[:, 44:60, 28:60] = 1, 2
        boundary = torch.zeros(1, 1, 64, 64)
        boundary[..., :, 1:] = (classes[:, :, 1:] != classes[:, :, :-1])[:, None].float()
        image = nn.functional.one_hot(classes, 3).permute(0, 3, 1, 2).float()
        optimizer = torch.optim.Adam(network.parameters(), 1e-2)
        weight = (boundary == 0).sum() / boundary.sum()
        for _ in range(40):
            maps = network(image)
            lines = nn.functional.binary_cross_entropy_with_logits(maps["boundary"], boundary, pos_weight=weight)
            loss = lines + nn.functional.cross_entropy(maps["semantic"], classes)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        probabilities = maps["boundary"].sigmoid()
        assert probabilities[boundary > 0].mean() > 0.8
        assert probabilities[boundary == 0].mean() < 0.3
        found = maps["semantic"].argmax(1)
        assert all((found == classes)[classes == number].float().mean() > 0.85 for number in range(3))

    @torch.no_grad()
    def test_state_dict_round_trip(self, network: BaisegNetwork) -> None:
        other = small().eval()
        for parameter in other.parameters():
            parameter.add_(0.1)
        image = torch.rand(1, 3, 40, 50)
        expected = network(image)
        assert not torch.allclose(other(image)["boundary"], expected["boundary"])
        other.load_state_dict(network.state_dict())
        assert all(torch.equal(values, expected[name]) for name, values in other(image).items())


class TestErrors:
    def test_of_classes(self) -> None:
        with pytest.raises(ValueError, match="the semantic branch needs at least 1 class, got 0"):
            small(0)

    def test_of_resolutions(self) -> None:
        with pytest.raises(ValueError, match=r"semantic_resolution must be at most 32, .* resnet10t, got 64"):
            small(semantic_resolution=64)
        with pytest.raises(ValueError, match="the resolution must divide 32"):
            small(resolution=64, semantic_resolution=64)

    def test_of_backbones(self) -> None:
        with pytest.raises(ModelError, match="no backbone called 'resnet_10'"):
            small(backbone="resnet_10")
