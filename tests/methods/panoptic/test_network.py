"""The network: the paper's size, the place of its maps in the image, reproducible, no idle parameter."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from upseg.errors import ModelError
from upseg.methods.panoptic.network import GROUPS, PanopticNetwork, UpsamplingDecoder, output_channels, output_size
from upseg.methods.panoptic.settings import PanopticSettings
from upseg.segmentation import Category
from upseg.training.parameter_groups import parameter_groups

ALL = {"semantic": 5, "instance": 16, "depth": 1}


def small(outputs: dict[str, int] = ALL, widths: tuple[int, ...] = (24, 16, 12)) -> PanopticNetwork:
    torch.manual_seed(0)
    return PanopticNetwork("test_vit", None, widths, outputs)


def without_normalisation(decoder: UpsamplingDecoder) -> UpsamplingDecoder:
    """The same decoder, less what makes each of its pixels depend on all of the image."""
    for number, layer in enumerate(decoder.layers):
        if isinstance(layer, nn.GroupNorm):
            decoder.layers[number] = nn.Identity()
    return decoder


@pytest.fixture(scope="module")
def network() -> PanopticNetwork:
    return small().eval()


class TestSize:
    @pytest.mark.parametrize(
        ("size", "expected"),
        [
            ((840, 840), (480, 480)),
            ((336, 280), (192, 160)),
            ((784, 1568), (448, 896)),
            ((1, 14), (1, 8)),
            ((15, 13), (9, 8)),
        ],
    )
    def test_of_the_papers_images(self, size: tuple[int, int], expected: tuple[int, int]) -> None:
        assert output_size(size, 14) == expected

    @settings(max_examples=60)
    @given(st.integers(1, 5000), st.integers(1, 64), st.sampled_from([1, 2, 4, 8, 16]))
    def test_rounded_up(self, side: int, patch: int, upsampling: int) -> None:
        length, _ = output_size((side, 1), patch, upsampling)
        assert (length - 1) * patch < side * upsampling <= length * patch  # the last row begins inside the image
        assert length <= upsampling * math.ceil(side / patch)  # and is not beyond the last patch

    @pytest.mark.parametrize("size", [(1, 1), (1, 33), (16, 32), (35, 70)])
    @torch.no_grad()
    def test_of_the_maps(self, network: PanopticNetwork, size: tuple[int, int]) -> None:
        maps = network(torch.rand(2, 3, *size))
        expected = (math.ceil(size[0] / 2), math.ceil(size[1] / 2))
        assert network.output_size(size) == expected
        assert network.scale == 0.5
        assert {head: tuple(values.shape) for head, values in maps.items()} == {
            head: (2, channels, *expected) for head, channels in ALL.items()
        }
        assert list(maps) == list(ALL)

    @pytest.mark.parametrize(("widths", "scale"), [((8,), 2 / 16), ((8, 8, 8, 4), 1)])
    @torch.no_grad()
    def test_follows_from_the_number_of_widths(self, widths: tuple[int, ...], scale: float) -> None:
        network = small({"instance": 3}, widths)
        assert network.scale == scale
        assert network(torch.rand(1, 3, 32, 48))["instance"].shape == (1, 3, 32 * scale, 48 * scale)

    @pytest.mark.parametrize(
        ("patch", "size", "expected"),
        [(8, (35, 70), (35, 70)), (4, (10, 3), (20, 6)), (32, (35, 70), (9, 18)), (14, (15, 28), (9, 16))],
    )
    @torch.no_grad()
    def test_follows_from_the_patch(self, patch: int, size: tuple[int, int], expected: tuple[int, int]) -> None:
        network = PanopticNetwork("test_vit", (1, 2), (8, 6, 4), ALL, patch=patch).eval()
        assert network.scale == 8 / patch
        assert network.output_size(size) == output_size(size, patch) == expected
        assert {tuple(values.shape[-2:]) for values in network(torch.rand(1, 3, *size)).values()} == {expected}


class TestPlace:
    @torch.no_grad()
    def test_the_padding_is_cut_off_and_nothing_else(self, network: PanopticNetwork) -> None:
        image = torch.rand(1, 3, 48, 48)
        image[..., 35:, :] = image[..., 34:35, :]
        image[..., 41:] = image[..., 40:41]
        whole, cut = network(image), network(image[..., :35, :41])
        for head in ALL:
            torch.testing.assert_close(cut[head], whole[head][..., :18, :21])

    @torch.no_grad()
    def test_a_patch_becomes_the_square_where_it_is(self) -> None:
        """Without attention and norms, a change in one patch changes the maps there, and one pixel around it."""
        network = small({"instance": 3}).eval()
        without_normalisation(network.decoder)
        for block in network.backbone.model.blocks:
            nn.init.zeros_(block.attn.proj.weight)
        image = torch.rand(1, 3, 64, 80)
        other = image.clone()
        other[..., 16:32, 32:48] = torch.rand(1, 3, 16, 16)
        changed = (network(image)["instance"] != network(other)["instance"]).any(1)[0]
        expected = torch.zeros(32, 40, dtype=torch.bool)
        expected[7:17, 15:25] = True
        assert torch.equal(changed, expected)

    @torch.no_grad()
    def test_rows_and_columns_inside_a_patch_are_in_order(self) -> None:
        """Each doubling writes its upper left output to the upper left: that of all three is the first of eight."""
        decoder = without_normalisation(UpsamplingDecoder(1, (1, 1, 1)))
        for layer in decoder.layers:
            if isinstance(layer, nn.ConvTranspose2d):
                layer.weight.zero_()
                layer.weight[0, 0, 0, 1] = 1  # the upper row, the right column
            elif isinstance(layer, nn.Conv2d):
                layer.weight.zero_()
                layer.weight[0, 0, 1, 1] = 1
        features = decoder(torch.tensor([[[[2.0, 3.0]]]]))
        expected = torch.zeros(8, 16)
        expected[0, 7], expected[0, 15] = 2, 3
        assert torch.equal(features[0, 0], expected)


class TestNormalisation:
    @torch.no_grad()
    def test_images_do_not_depend_on_others_nor_on_training(self) -> None:
        network, images = small({"instance": 3}), torch.rand(3, 3, 32, 48)
        together = network(images)["instance"]
        torch.testing.assert_close(network.eval()(images)["instance"], together)
        torch.testing.assert_close(network(images[1:2])["instance"], together[1:2])

    @pytest.mark.parametrize(("width", "groups"), [(512, 8), (12, 4), (7, 1)])
    def test_groups_divide_the_width(self, width: int, groups: int) -> None:
        layers = UpsamplingDecoder(3, (width,)).layers
        assert [layer.num_groups for layer in layers if isinstance(layer, nn.GroupNorm)] == [groups] * 2


class TestParameters:
    @pytest.mark.parametrize(
        ("name", "backbone", "width"),
        [("vit_base_patch14_dinov2", 86_579_712, 768), ("vit_large_patch14_dinov2", 304_367_616, 1024)],
    )
    def test_of_the_papers_networks(self, name: str, backbone: int, width: int) -> None:
        """Paper: Tab. 1, "ViT-L 304.3M": the encoder; its decoder and projections are small beside it."""
        with torch.device("meta"):
            network = PanopticNetwork(name, outputs={"semantic": 133, "instance": 16, "depth": 1})
        counted = {part: sum(p.numel() for p in module.parameters()) for part, module in network.named_children()}
        taps = 4 * (4 * width * 512 + 512 * 256 + 256 * 256) + 9 * 256 * 256
        assert counted == {
            "backbone": backbone,
            "decoder": taps + 2 * (512 + 256 + 256 + 256),
            "projections": (133 + 16 + 1) * (256 + 1),
        }
        assert backbone / sum(counted.values()) > 0.9

    @pytest.mark.parametrize("heads", [("semantic",), ("instance",), ("semantic", "instance"), tuple(ALL)])
    def test_none_is_idle_whatever_the_heads(self, heads: tuple[str, ...]) -> None:
        network = small({head: ALL[head] for head in heads})
        maps = network(torch.rand(2, 3, 32, 48))
        assert tuple(maps) == heads
        sum((values * torch.randn_like(values)).sum() for values in maps.values()).backward()
        for name, parameter in network.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.abs().max() > 0, name

    def test_layers_learn_ever_faster(self) -> None:
        """The groups of `optimization.layer_decay`: the stem first, the decoder and the projections last."""
        groups = parameter_groups(small(), 0.05, 0.8)
        layer_of = {name: group.layer for group in groups for name in group.names}
        scales = {group.layer: group.scale for group in groups}
        assert scales == {layer: pytest.approx(0.8 ** (7 - layer)) for layer in range(8)}
        for name, layer in layer_of.items():
            part, *rest = name.split(".")
            if part in ("decoder", "projections"):
                assert layer == 7, name
            elif rest[1] == "blocks":
                assert layer == int(rest[2]) + 1, name
            else:
                assert layer == (6 if rest[1] == "norm" else 0), name  # the last normalisation is the last block's

    @torch.no_grad()
    def test_a_new_network_passes_on_what_it_sees(self) -> None:
        """No layer of the decoder makes its values much smaller or larger than those of the tokens."""
        torch.manual_seed(0)
        decoder = without_normalisation(UpsamplingDecoder(1024, (512, 256, 256)))
        values = torch.randn(1, 1024, 4, 4)
        for layer in decoder.layers:
            values = layer(values.clone())
            if not isinstance(layer, nn.ReLU):
                inner = values[..., 1:-1, 1:-1]  # at the border the last convolution sees zeros
                assert 0.8 < inner.square().mean().sqrt() / 2**0.5 < 1.2

    def test_units_stay_alive_where_all_is_void(self) -> None:
        """Learning zeros, as most pixels ask for, must not switch the decoder off: nothing would be learned after."""
        shares = []
        for normalised in (True, False):
            network = small({"instance": 16}, (96, 64))
            if not normalised:
                without_normalisation(network.decoder)
            optimizer = torch.optim.AdamW(network.parameters(), 3e-3)
            for _ in range(60):
                loss = network(torch.rand(2, 3, 32, 32))["instance"].norm(dim=1).mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            assert loss < 0.2
            features = network.decoder(torch.cat(network.backbone(torch.rand(2, 3, 32, 32)), dim=1))
            alive = (features > 0).float().mean(dim=(0, 2, 3)) > 0.05
            shares.append(float(alive.float().mean()))
            if normalised:  # what is normalised together cannot all be off
                assert alive.view(GROUPS, -1).any(dim=1).all()
        assert shares[0] > 0.5 > 0.2 > shares[1]

    def test_learns_where_pixels_are(self) -> None:
        """A few steps fit both coordinates of each pixel, better than one value for each patch could (1/12 each)."""
        network = small({"instance": 2})
        image = torch.rand(1, 3, 32, 32)
        axis = (torch.arange(16) + 0.5) / 8 - 1
        target = torch.stack(torch.meshgrid(axis, axis, indexing="ij"))[None]
        optimizer = torch.optim.AdamW(network.parameters(), 3e-3)
        losses = []
        for _ in range(50):
            loss = (network(image)["instance"] - target).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        assert losses[-1] < 1 / 24 < 1 / 3 < losses[0]


class TestSameWeightsSameMaps:
    @torch.no_grad()
    def test_state_dict_round_trip(self, network: PanopticNetwork) -> None:
        other = small().eval()
        for parameter in other.parameters():
            parameter.add_(0.1)
        image = torch.rand(1, 3, 40, 50)
        expected = network(image)
        assert not torch.allclose(other(image)["instance"], expected["instance"])
        other.load_state_dict(network.state_dict())
        assert all(torch.equal(values, expected[head]) for head, values in other(image).items())

    def test_a_stage_gives_its_weights_to_one_with_more_heads(self) -> None:
        before, after = small({"instance": 16}), small()
        missing, unexpected = after.load_state_dict(before.state_dict(), strict=False)
        assert unexpected == []
        assert set(missing) == {
            f"projections.{head}.{kind}" for head in ("semantic", "depth") for kind in ("weight", "bias")
        }

    @torch.no_grad()
    def test_an_image_alone_or_in_a_batch(self, network: PanopticNetwork) -> None:
        images = torch.rand(3, 3, 48, 40)
        together = network(images)
        for head in ALL:
            alone = torch.cat([network(image[None])[head] for image in images])
            torch.testing.assert_close(together[head], alone, atol=1e-5, rtol=1e-4)

    def test_half_precision(self) -> None:
        network = small()
        image = torch.rand(1, 3, 33, 47)
        expected = network(image)["instance"]
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = network(image)["instance"]
        assert found.dtype == torch.bfloat16
        assert (found.float() - expected).norm() < 0.05 * expected.norm()
        found.float().square().sum().backward()
        gradients = [p.grad for name, p in network.named_parameters() if not name.startswith("projections")]
        assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)


class TestChannels:
    CLASSES = tuple(Category(number, f"class {number}", is_thing=number % 2 == 0) for number in range(1, 8))

    @pytest.mark.parametrize(
        ("chosen", "expected"),
        [
            (PanopticSettings(), {"semantic": 7, "instance": 16}),
            (
                PanopticSettings(frequencies=3, heads=("semantic", "instance", "depth")),
                {"semantic": 7, "instance": 12, "depth": 1},
            ),
            (PanopticSettings(encoding="rgb", heads=("instance",)), {"instance": 3}),
            (PanopticSettings(heads=("semantic", "depth")), {"semantic": 7, "depth": 1}),
        ],
    )
    def test_of_settings(self, chosen: PanopticSettings, expected: dict[str, int]) -> None:
        assert output_channels(chosen, self.CLASSES) == expected

    def test_classes_are_needed_for_semantics_alone(self) -> None:
        assert output_channels(PanopticSettings(heads=("instance",)), ()) == {"instance": 16}
        with pytest.raises(ValueError, match="the head semantic needs the classes of the data"):
            output_channels(PanopticSettings(), ())


class TestErrors:
    def test_of_numbers(self) -> None:
        with pytest.raises(ValueError, match=r"outputs must be one or more, .* got \[\]"):
            PanopticNetwork("test_vit", outputs={})
        with pytest.raises(ValueError, match=r"outputs must be one or more, .* got \[3, 0\]"):
            PanopticNetwork("test_vit", outputs={"semantic": 3, "depth": 0})
        with pytest.raises(ValueError, match=r"decoder_channels must be one or more, .* got \[\]"):
            PanopticNetwork("test_vit", decoder_channels=(), outputs=ALL)

    def test_of_backbones(self) -> None:
        with pytest.raises(ModelError, match="convnext_atto cannot serve as a backbone"):
            PanopticNetwork("convnext_atto", outputs=ALL)
        with pytest.raises(ModelError, match="test_vit has the layers 1 to 6"):
            PanopticNetwork("test_vit", (3, 12), outputs=ALL)


@pytest.fixture(scope="module")
def convolutional() -> PanopticNetwork:
    torch.manual_seed(0)
    outputs = {"semantic": 3, "instance": 8}
    return PanopticNetwork("tf_efficientnet_lite0", None, (16, 8), outputs, relative=(80, 80)).eval()


class TestConvolutional:
    """An encoder of ours that makes no patches."""

    @torch.no_grad()
    def test_maps_have_a_quarter_of_the_image(self, convolutional: PanopticNetwork) -> None:
        assert convolutional.scale == 0.25
        maps = convolutional(torch.rand(1, 3, 45, 70))
        assert {head: tuple(values.shape[-2:]) for head, values in maps.items()} == {
            "semantic": (12, 18),
            "instance": (12, 18),
        }

    @torch.no_grad()
    def test_codes_are_turned_by_each_pixels_place_and_classes_are_not(self, convolutional: PanopticNetwork) -> None:
        image = torch.rand(1, 3, 64, 64)
        turned = convolutional(image)
        convolutional.relative = None
        plain = convolutional(image)
        convolutional.relative = (80, 80)
        torch.testing.assert_close(turned["semantic"], plain["semantic"])
        torch.testing.assert_close(turned["instance"].norm(dim=1), plain["instance"].norm(dim=1))
        assert not torch.allclose(turned["instance"], plain["instance"], atol=1e-3)

    def test_relative_codes_are_positional(self) -> None:
        with pytest.raises(ValueError, match="positional"):
            PanopticSettings(relative=True, encoding="rgb")
