"""The boundary branch: values by hand, the paper's size, what each switch leaves, and no idle parameter."""

from collections.abc import Iterator

import pytest
import torch
from torch import nn

from upseg.methods.baiseg.network import BoundaryModule, CascadeFusionModule, FeatureFusion

PAPER = [(1, 128, 0.39), (2, 128, 0.88), (3, 128, 1.38), (4, 128, 1.87), (4, 32, 0.13), (4, 64, 0.48), (4, 256, 7.37)]
"""(modules, width, millions of parameters) of the paper's Tables 4 and 5."""


def plain(module: nn.Module, centre: float = 1.0) -> nn.Module:
    """A module of one channel in evaluation, all of whose convolutions are `centre` times (the sum of) their input."""
    with torch.no_grad():
        for part in module.modules():
            if isinstance(part, nn.Conv2d):
                part.weight.zero_()
                part.weight[:, :, part.kernel_size[0] // 2, part.kernel_size[1] // 2] = centre
                if part.bias is not None:
                    part.bias.zero_()
            if isinstance(part, nn.BatchNorm2d):
                part.eps = 0.0
    return module.eval()


def value(number: float) -> torch.Tensor:
    return torch.full((1, 1, 2, 3), float(number))


def weights_of(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def idle(module: nn.Module) -> Iterator[str]:
    """Names of parameters without a gradient."""
    for name, parameter in module.named_parameters():
        if parameter.grad is None or not parameter.grad.any():
            yield name


def stirred(module: nn.Module) -> nn.Module:
    """A module whose parameters of 0, which keep others from having a gradient, are something else."""
    with torch.no_grad():
        for parameter in module.parameters():
            if not parameter.any():
                parameter.copy_(torch.randn(parameter.shape) / 2)
    return module


class TestFeatureFusion:
    def test_by_hand(self) -> None:
        """2 and 3 side by side give relu(5): added to both."""
        context, local = plain(FeatureFusion(1))(value(2), value(3))
        assert torch.equal(context, value(7))
        assert torch.equal(local, value(8))

    def test_only_the_local_path_is_rectified(self) -> None:
        context, local = plain(FeatureFusion(1), -1.0)(value(-2), value(-3))
        assert torch.equal(local, value(2))  # -3 + relu(5)
        assert torch.equal(context, value(-7))  # -2 - relu(5)
        context, local = plain(FeatureFusion(1))(value(-2), value(-3))
        assert torch.equal(context, value(-2))
        assert torch.equal(local, value(-3))

    def test_the_last_one_leaves_the_global_path(self) -> None:
        context, local = plain(FeatureFusion(1, last=True))(value(2), value(3))
        assert torch.equal(context, value(2))
        assert torch.equal(local, value(6))


class TestCascadeFusionModule:
    def test_by_hand(self) -> None:
        """l' = relu(1 + 2); then 2 and 3 are fused."""
        module = plain(CascadeFusionModule(1, attention=False))
        context, local = module(value(2), value(1))
        assert torch.equal(context, value(7))
        assert torch.equal(local, value(8))

    def test_no_local_features_are_zeros(self) -> None:
        module = CascadeFusionModule(3).eval()
        context = torch.randn(2, 3, 4, 5)
        for none, zeros in zip(module(context), module(context, torch.zeros_like(context)), strict=True):
            assert torch.equal(none, zeros)

    @pytest.mark.parametrize("attention", [True, False])
    @pytest.mark.parametrize("last", [True, False])
    def test_no_parameter_is_idle(self, attention: bool, last: bool) -> None:
        torch.manual_seed(0)
        module = stirred(CascadeFusionModule(8, attention=attention, last=last))
        context, local = module(torch.randn(2, 8, 6, 6), torch.randn(2, 8, 6, 6))
        sum((path * torch.randn_like(path)).sum() for path in (context, local)).backward()
        assert not list(idle(module))


class TestBoundaryModule:
    def test_by_hand(self) -> None:
        """g = 1; (g, l): l' = 1, so 3 and 3; l' = 6, and the last module doubles it: 12."""
        module = plain(BoundaryModule(1, 1, 2, attention=False, tapped=1))
        logits, given = module(value(1))
        assert torch.equal(given, value(3))
        assert torch.equal(logits, value(12))
        module.tapped = 2
        assert torch.equal(module(value(1))[1], value(12))

    @pytest.mark.parametrize(("modules", "hidden", "published"), PAPER)
    def test_the_papers_size(self, modules: int, hidden: int, published: float) -> None:
        """With 480 channels coming in, all seven to a hundredth of a million, or to 1 %."""
        with torch.device("meta"):
            module = BoundaryModule(480, hidden, modules)
        assert weights_of(module) / 1e6 == pytest.approx(published, rel=0.012, abs=0.01)

    @pytest.mark.parametrize("hidden", [64, 128])
    def test_one_more_module(self, hidden: int) -> None:
        """3x3: the embedding and the fusion of two paths; 1x1: entry, Eq. 4, global path; Eq. 2; Eq. 3; the rest."""
        with torch.device("meta"):
            one, two = (weights_of(BoundaryModule(10, hidden, modules)) for modules in (1, 2))
        narrow = max(hidden // 16, 4)
        perceptron = 2 * narrow * hidden + narrow + hidden
        normalisations = 2 * 2 * hidden
        biases = 3 * hidden
        assert two - one == (9 + 18 + 3) * hidden**2 + perceptron + (2 * 49 + 1) + normalisations + biases + 1

    @pytest.mark.parametrize("fusion", [True, False])
    @pytest.mark.parametrize("attention", [True, False])
    def test_switches(self, fusion: bool, attention: bool) -> None:
        torch.manual_seed(0)
        module = stirred(BoundaryModule(6, 8, 3, fusion=fusion, attention=attention, tapped=2))
        assert len(module.stages) == (3 if fusion else 0)
        assert any("unit" in name for name, _ in module.named_parameters()) == attention
        logits, given = module(torch.randn(2, 6, 7, 5))
        assert logits.shape == (2, 1, 7, 5)
        assert given.shape == (2, 8, 7, 5)
        (logits * torch.randn_like(logits)).sum().backward()
        assert not list(idle(module))

    def test_without_modules_the_map_is_read_off_what_is_given(self) -> None:
        module = BoundaryModule(6, 8, fusion=False).eval()
        features = torch.randn(1, 6, 4, 4)
        logits, given = module(features)
        assert torch.equal(logits, module.output(given))
        plainest = BoundaryModule(6, 8, fusion=False, attention=False)
        assert weights_of(plainest) == 6 * 8 + 8 + 8 + 1
        assert torch.equal(plainest(features)[1], plainest.enter(features))

    @pytest.mark.parametrize("tapped", [1, 2, 3])
    @torch.no_grad()
    def test_given_are_the_local_features_after_the_module(self, tapped: int) -> None:
        torch.manual_seed(0)
        module = BoundaryModule(6, 8, 3, tapped=tapped).eval()
        features = torch.randn(1, 6, 4, 4)
        context, local = module.enter(features), None
        for stage in module.stages[:tapped]:
            context, local = stage(context, local)
        assert torch.equal(module(features)[1], local)

    @pytest.mark.parametrize("size", [(1, 1), (1, 8), (5, 3)])
    @torch.no_grad()
    def test_any_size(self, size: tuple[int, int]) -> None:
        logits, given = BoundaryModule(6, 8).eval()(torch.rand(1, 6, *size))
        assert logits.shape == (1, 1, *size)
        assert given.shape == (1, 8, *size)

    @torch.no_grad()
    def test_a_new_one_is_undecided_everywhere(self) -> None:
        torch.manual_seed(0)
        logits, given = BoundaryModule(48, 128)(torch.randn(2, 48, 16, 16))
        probabilities = logits.sigmoid()
        assert (probabilities - 0.5).abs().max() < 0.35
        assert abs(float(probabilities.mean()) - 0.5) < 0.1
        assert 0.3 < given.square().mean().sqrt() < 10  # nothing fades or explodes on the way

    def test_errors(self) -> None:
        with pytest.raises(ValueError, match="tapped one of the modules, got 6, 8, 4 and 5"):
            BoundaryModule(6, 8, 4, tapped=5)
        with pytest.raises(ValueError, match=r"at least 1, .* got 6, 0, 4 and 1"):
            BoundaryModule(6, 0)
