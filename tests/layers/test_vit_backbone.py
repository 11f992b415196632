"""timm vision transformers: layers, sizes, position embeddings, published weights, and no idle parameter."""

from pathlib import Path

import huggingface_hub
import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from upseg.errors import ModelError
from upseg.layers.vit_backbone import POSITION_AMPLITUDE, VitBackbone, default_layers

# plain, mean of tokens, distilled, rotary positions with patches of 14, registers: each with its own parameters
FAMILIES = [
    "test_vit",
    "test_vit2",
    "deit_tiny_distilled_patch16_224",
    "eva02_tiny_patch14_224",
    "vit_small_patch14_reg4_dinov2",
]


def backbone(name: str = "test_vit", layers: tuple[int, ...] | None = None) -> VitBackbone:
    torch.manual_seed(0)
    return VitBackbone(name, layers).eval()


@pytest.fixture(scope="module")
def small() -> VitBackbone:
    return backbone()


class TestLayers:
    @pytest.mark.parametrize(
        ("depth", "layers"),
        [
            (12, (3, 6, 9, 12)),
            (24, (5, 12, 18, 24)),
            (40, (10, 20, 30, 40)),
            (6, (2, 3, 5, 6)),
            (4, (1, 2, 3, 4)),
            (3, (1, 2, 3)),
            (2, (1, 2)),
            (1, (1,)),
        ],
    )
    def test_the_papers_or_evenly_spaced(self, depth: int, layers: tuple[int, ...]) -> None:
        assert default_layers(depth) == layers

    def test_chosen_by_the_models_depth(self) -> None:
        with torch.device("meta"):
            large = VitBackbone("vit_large_patch14_dinov2")
        assert (large.layers, large.patch, large.channels) == ((5, 12, 18, 24), 14, [1024] * 4)
        assert backbone().layers == (2, 3, 5, 6)

    @torch.no_grad()
    def test_they_are_the_blocks_outputs_normalised(self, small: VitBackbone) -> None:
        seen: list[torch.Tensor] = []
        handles = [block.register_forward_hook(lambda *inputs: seen.append(inputs[2])) for block in small.model.blocks]
        found = small(torch.rand(1, 3, 32, 48))
        for handle in handles:
            handle.remove()
        assert len(seen) == 6
        for layer, tokens in zip((2, 3, 5, 6), found, strict=True):
            patches = small.model.norm(seen[layer - 1])[0, 1:]  # without the class token
            torch.testing.assert_close(tokens[0].flatten(1).T, patches)

    def test_later_blocks_are_left_out(self) -> None:
        fewer = backbone(layers=(1, 3))
        assert len(fewer.model.blocks) == 3
        image = torch.rand(1, 3, 40, 20)
        with torch.no_grad():
            torch.testing.assert_close(fewer(image)[1], backbone(layers=(3,))(image)[0])

    @pytest.mark.parametrize("layers", [(), (0, 3), (3, 7), (3, 2), (2, 2), (-1,)])
    def test_layers_that_are_not_there(self, layers: tuple[int, ...]) -> None:
        with pytest.raises(ModelError, match=r"test_vit has the layers 1 to 6; those to take must be some, growing"):
            VitBackbone("test_vit", layers)


class TestSizes:
    @pytest.mark.parametrize(
        ("size", "patches"), [((1, 1), (1, 1)), ((1, 33), (1, 3)), ((16, 32), (1, 2)), ((97, 130), (7, 9))]
    )
    @torch.no_grad()
    def test_any(self, small: VitBackbone, size: tuple[int, int], patches: tuple[int, int]) -> None:
        assert small.padded_size(size) == (16 * patches[0], 16 * patches[1])
        assert [tokens.shape for tokens in small(torch.rand(2, 3, *size))] == [(2, 64, *patches)] * 4

    @torch.no_grad()
    def test_padding_repeats_the_last_row_and_column(self, small: VitBackbone) -> None:
        image = torch.rand(1, 3, 35, 30)
        whole = torch.cat([image, image[..., -1:].expand(-1, -1, -1, 2)], dim=3)
        whole = torch.cat([whole, whole[..., -1:, :].expand(-1, -1, 13, -1)], dim=2)
        for tokens, expected in zip(small(image), small(whole), strict=True):
            torch.testing.assert_close(tokens, expected)

    @torch.no_grad()
    def test_at_the_models_own_size_its_positions_are_used_as_they_are(self) -> None:
        given = backbone()
        image = torch.rand(1, 3, 160, 160)
        torch.manual_seed(0)
        fixed = timm.create_model("test_vit", num_classes=0).eval()
        fixed.pos_embed.copy_(given.model.pos_embed)
        expected = fixed.forward_features((image - given.mean) / given.std)[0, 1:]
        torch.testing.assert_close(given(image)[-1][0].flatten(1).T, expected)

    @torch.no_grad()
    def test_positions_are_resampled_not_cut(self) -> None:
        """A slope over the whole grid is a slope over a smaller one: from end to end the same values."""
        small = backbone()
        positions = small.model.pos_embed
        positions.zero_()
        slope = (torch.arange(10.0) + 0.5) / 10
        positions[0, 1:, 0] = slope.repeat_interleave(10)  # class token first; rows
        positions[0, 1:, 1] = slope.repeat(10)  # columns
        seen: list[torch.Tensor] = []
        small.model.blocks[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        nn.init.zeros_(small.model.patch_embed.proj.weight)
        nn.init.zeros_(small.model.patch_embed.proj.bias)
        small(torch.zeros(1, 3, 4 * 16, 5 * 16))
        grid = seen[0][0, 1:].view(4, 5, -1)
        inner = grid[1:-1, 1:-1]
        torch.testing.assert_close(inner[:, 0, 0], torch.tensor([0.375, 0.625]), atol=0.01, rtol=0)
        torch.testing.assert_close(inner[0, :, 1], torch.tensor([0.3, 0.5, 0.7]), atol=0.01, rtol=0)
        assert grid[0, 0, 0] < 0.2
        assert grid[-1, 0, 0] > 0.8

    @pytest.mark.parametrize("name", ["test_vit", "deit_tiny_distilled_patch16_224", "vit_small_patch14_reg4_dinov2"])
    def test_positions_start_as_sines_and_cosines(self, name: str) -> None:
        """The first of the bands turns by one radian from a row to the next; the prefix keeps timm's faint noise."""
        model = backbone(name, (1,)).model
        rows, columns = model.patch_embed.grid_size
        prefix, patches = model.pos_embed[0].detach().split([model.pos_embed.shape[1] - rows * columns, rows * columns])
        grid, quarter = patches.view(rows, columns, -1) / POSITION_AMPLITUDE, model.embed_dim // 4
        turns = torch.arange(float(rows))
        torch.testing.assert_close(grid[:, 3, 0], turns.sin())
        torch.testing.assert_close(grid[5, :, quarter], torch.arange(float(columns)).sin())
        assert any(torch.allclose(grid[:, 3, band * quarter], turns.cos()) for band in (1, 2, 3))
        assert grid.square().mean() == pytest.approx(0.5, abs=0.01)
        assert prefix.abs().max() < 0.2 if len(prefix) else model.num_prefix_tokens == 5

    def test_published_positions_stay(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        published = timm.create_model("test_vit")
        save_file(published.state_dict(), tmp_path / "model.safetensors")
        monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda _, file: str(tmp_path / file))
        assert torch.equal(VitBackbone("test_vit", pretrained=True).model.pos_embed, published.pos_embed)

    def test_the_models_own_patch_size(self) -> None:
        assert VitBackbone("eva02_tiny_patch14_224", (1,)).padded_size((15, 28)) == (28, 28)

    @torch.no_grad()
    def test_convolutions_before_the_transformer(self) -> None:
        hybrid = backbone("vit_small_r26_s32_224", (1,))
        assert hybrid.patch == 32
        assert hybrid(torch.rand(1, 3, 33, 64))[0].shape == (1, 384, 2, 2)

    @torch.no_grad()
    def test_the_models_own_colours(self, small: VitBackbone) -> None:
        seen: list[torch.Tensor] = []
        handle = small.model.patch_embed.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        small(torch.tensor([0.0, 0.5, 1.0]).view(1, 3, 1, 1).expand(1, 3, 16, 16))
        handle.remove()
        assert seen[0][0, :, 3, 5].tolist() == [-1, 0, 1]
        assert not {"mean", "std"} & set(small.state_dict())


class TestPatch:
    @pytest.mark.parametrize(
        ("name", "patch", "patches"),
        [
            ("test_vit", 8, (5, 7)),
            ("test_vit", 1, (33, 50)),
            ("eva02_tiny_patch14_224", 16, (3, 4)),
            ("deit_tiny_distilled_patch16_224", 7, (5, 8)),
            ("vit_small_patch14_reg4_dinov2", 20, (2, 3)),
        ],
    )
    @torch.no_grad()
    def test_it_decides_and_not_the_name(self, name: str, patch: int, patches: tuple[int, int]) -> None:
        other = VitBackbone(name, (1, 2), patch=patch).eval()
        assert other.patch == patch
        assert other.padded_size((33, 50)) == (patch * patches[0], patch * patches[1])
        assert [tokens.shape[-2:] for tokens in other(torch.rand(1, 3, 33, 50))] == [patches] * 2

    def test_none_is_the_models_own(self) -> None:
        torch.manual_seed(0)
        own = VitBackbone("test_vit", patch=16)
        assert all(torch.equal(value, own.state_dict()[key]) for key, value in backbone().state_dict().items())

    @torch.no_grad()
    def test_published_weights_see_an_enlarged_patch_as_they_saw_the_patch(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        save_file(timm.create_model("test_vit").state_dict(), tmp_path / "model.safetensors")
        monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda _, file: str(tmp_path / file))
        own, larger = (VitBackbone("test_vit", patch=patch, pretrained=True).model for patch in (None, 32))
        patch = torch.rand(1, 3, 16, 16)
        enlarged = nn.functional.interpolate(patch, (32, 32), mode="bicubic", antialias=True)
        found, expected = larger.patch_embed.proj(enlarged), own.patch_embed.proj(patch)
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-3)
        assert larger.pos_embed.shape[1] - 1 == (own.pos_embed.shape[1] - 1) // 4

    def test_what_the_model_cannot_do_is_refused(self) -> None:
        with pytest.raises(
            ModelError, match="r26_s32_224 cannot serve as a backbone: it has to be a vision transformer"
        ):
            VitBackbone("vit_small_r26_s32_224", (1,), patch=8)

    @pytest.mark.parametrize("patch", [0, -1])
    def test_a_patch_has_pixels(self, patch: int) -> None:
        with pytest.raises(ModelError, match=f"at least 1 pixel, got {patch}"):
            VitBackbone("test_vit", (1,), patch=patch)


class TestFamilies:
    @pytest.mark.parametrize("name", FAMILIES)
    def test_every_parameter_gets_a_gradient(self, name: str) -> None:
        torch.manual_seed(0)
        family = VitBackbone(name, (1, 2))
        with torch.no_grad():
            for parameter in family.parameters():
                if not parameter.any():  # what is born zero stops the gradient of what comes before it
                    parameter.normal_(std=0.1)
        tokens = family(torch.rand(2, 3, 2 * family.patch, 3 * family.patch))
        sum((each * torch.randn_like(each)).sum() for each in tokens).backward()
        for parameter_name, parameter in family.named_parameters():
            assert parameter.grad is not None, parameter_name
            assert parameter.grad.abs().max() > 0, parameter_name

    @pytest.mark.parametrize("name", FAMILIES)
    @torch.no_grad()
    def test_tokens_are_normalised(self, name: str) -> None:
        for tokens in backbone(name, (1, 2))(torch.rand(1, 3, 40, 40)):
            torch.testing.assert_close(tokens.mean(1), torch.zeros_like(tokens[:, 0]), atol=1e-4, rtol=0)
            torch.testing.assert_close(tokens.var(1, correction=0), torch.ones_like(tokens[:, 0]), atol=0.02, rtol=0)

    @pytest.mark.parametrize(
        "name",
        ["convnext_atto", "test_resnet", "swin_tiny_patch4_window7_224", "hiera_tiny_224", "beit_base_patch16_224"],
    )
    def test_what_is_no_plain_transformer_is_refused(self, name: str) -> None:
        with pytest.raises(ModelError, match=f"{name} cannot serve as a backbone: .* as vit_base_patch14_dinov2"):
            VitBackbone(name)

    def test_unknown(self) -> None:
        with pytest.raises(ModelError, match=r"no backbone called 'vit_tiny_patch16'; did you mean .*vit_"):
            VitBackbone("vit_tiny_patch16")


class TestPublishedWeights:
    @pytest.mark.parametrize("name", ["test_vit", "test_vit2"])
    def test_downloaded(self, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        torch.manual_seed(1)
        published = timm.create_model(name).state_dict()  # the classifier included
        norm = next(key for key in ("norm.weight", "fc_norm.weight") if key in published)
        published[norm] = published[norm] + 0.5
        save_file(published, tmp_path / "model.safetensors")
        monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda _, file: str(tmp_path / file))
        torch.manual_seed(2)
        loaded = VitBackbone(name, (2, 4), pretrained=True).model.state_dict()
        assert torch.equal(loaded.pop("norm.weight"), published[norm])
        assert len(loaded) > 40
        assert {key for key in loaded if key in published} == set(loaded) - {"norm.bias"} | (
            {"norm.bias"} & {*published}
        )
        assert all(torch.equal(values, published[key]) for key, values in loaded.items() if key != "norm.bias")

    def test_unreadable(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "model.safetensors").write_bytes(b"not safetensors at all")
        monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda _, file: str(tmp_path / file))
        with pytest.raises(ModelError, match=r"model\.safetensors cannot be read .*; delete the file"):
            VitBackbone("test_vit", pretrained=True)
