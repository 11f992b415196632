"""Deep mutual attention: values by hand, an oracle of loops, what a new unit does, and no idle parameter."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from upseg.methods.baiseg.network import DeepMutualAttention, MutualAttentionUnit, convolution


def drawn(module: nn.Module, seed: int = 0) -> nn.Module:
    """Every parameter of a module away from where it starts."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype) / 2)
    return module


def attended_by_loops(unit: MutualAttentionUnit, features: Tensor) -> Tensor:
    """Eq. 2 to 5 for each image, channel and place by itself."""
    first, second = (unit.perceptron[i] for i in (0, 2))
    batch, _, height, width = features.shape
    result = torch.empty_like(features)

    def response(values: Tensor) -> Tensor:
        hidden = (first.weight[:, :, 0, 0] @ values + first.bias).clamp(min=0)
        return second.weight[:, :, 0, 0] @ hidden + second.bias

    for b in range(batch):
        rows = features[b].flatten(1)
        channel = 1 / (1 + (-response(rows.mean(1)) - response(rows.max(1).values)).exp())
        pooled = torch.stack([features[b].mean(0), features[b].max(0).values])
        reach = unit.places.kernel_size[0] // 2
        for i in range(height):
            for j in range(width):
                total = unit.places.bias[0]
                for m in range(max(i - reach, 0), min(i + reach + 1, height)):
                    for n in range(max(j - reach, 0), min(j + reach + 1, width)):
                        total = total + (unit.places.weight[0, :, m - i + reach, n - j + reach] * pooled[:, m, n]).sum()
                place = 1 / (1 + (-total).exp())
                f = features[b, :, i, j]
                identity = unit.identity.weight[:, :, 0, 0] @ f + unit.identity.bias
                result[b, :, i, j] = identity + (f * channel + f * place) * unit.beta
    return result


class TestMutualAttentionUnit:
    def test_by_hand(self) -> None:
        """Without weights both attentions are 1/2; so f passes as 3 f + (f/2 + f/2) 5."""
        unit = MutualAttentionUnit(1)
        with torch.no_grad():
            for parameter in unit.parameters():
                parameter.zero_()
            unit.identity.weight.fill_(3)
            unit.beta.fill_(5)
        assert unit(torch.tensor([[[[1.0, -2.0]]]])).tolist() == [[[[8.0, -16.0]]]]

    def test_by_hand_of_each_attention(self) -> None:
        """A bias of the perceptron counts twice, for the mean and for the maximum; one of the places once."""
        unit = MutualAttentionUnit(1)
        with torch.no_grad():
            for parameter in unit.parameters():
                parameter.zero_()
            unit.beta.fill_(1)
            unit.perceptron[2].bias.fill_(math.log(2))  # F_c = sigmoid(log 4) = 4/5
            unit.places.bias.fill_(math.log(3))  # F_s = sigmoid(log 3) = 3/4
        torch.testing.assert_close(unit(torch.tensor([[[[2.0]]]])), torch.tensor([[[[2 * (0.8 + 0.75)]]]]))

    @pytest.mark.parametrize("size", [(1, 1), (1, 9), (5, 4)])
    @torch.no_grad()
    def test_against_loops(self, size: tuple[int, int]) -> None:
        unit = drawn(MutualAttentionUnit(5, reduction=1).double())
        features = torch.randn(2, 5, *size, dtype=torch.float64)
        torch.testing.assert_close(unit(features), attended_by_loops(unit, features))

    def test_a_new_one_is_the_identity(self) -> None:
        features = torch.randn(2, 6, 4, 3)
        assert torch.equal(MutualAttentionUnit(6)(features), features)

    def test_gradient(self) -> None:
        unit = drawn(MutualAttentionUnit(2).double())
        features = torch.randn(1, 2, 3, 4, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(unit, (features,))

    @torch.no_grad()
    def test_images_do_not_see_each_other(self) -> None:
        unit = drawn(MutualAttentionUnit(4))
        features = torch.randn(3, 4, 5, 6)
        alone = torch.cat([unit(image[None]) for image in features])
        torch.testing.assert_close(unit(features), alone)

    @torch.no_grad()
    def test_the_attention_to_channels_does_not_depend_on_places(self) -> None:
        """Without the attention to places, shuffled pixels give shuffled results."""
        unit = drawn(MutualAttentionUnit(4))
        unit.places.weight.zero_()
        features, order = torch.randn(1, 4, 1, 20), torch.randperm(20)
        torch.testing.assert_close(unit(features)[..., order], unit(features[..., order]))

    def test_half_precision(self) -> None:
        unit = drawn(MutualAttentionUnit(8))
        features = torch.randn(1, 8, 6, 6)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = unit(convolution(8, 8)(features))
        assert found.dtype == torch.bfloat16
        assert found.isfinite().all()

    def test_errors(self) -> None:
        with pytest.raises(ValueError, match="kernel odd, got 4, 16 and 6"):
            MutualAttentionUnit(4, kernel=6)
        with pytest.raises(ValueError, match="got 0, 16 and 7"):
            MutualAttentionUnit(0)
        with pytest.raises(ValueError, match="got 4, 0 and 7"):
            MutualAttentionUnit(4, reduction=0)


class TestDeepMutualAttention:
    @torch.no_grad()
    def test_is_the_unit_of_the_embedding(self) -> None:
        attention = DeepMutualAttention(3).eval()
        drawn(attention.unit)
        features = torch.randn(2, 3, 4, 5)
        weights, norm, _ = attention.embedding
        mapped = F.conv2d(F.pad(features, (1, 1, 1, 1)), weights.weight)
        embedded = ((mapped - norm.running_mean[:, None, None]) / (1 + norm.eps) ** 0.5).clamp(min=0)
        torch.testing.assert_close(attention(features), attended_by_loops(attention.unit, embedded))

    def test_switched_off_is_the_convolution_alone(self) -> None:
        attention = DeepMutualAttention(6, attention=False)
        names = [name for name, _ in attention.named_parameters()]
        assert names == ["embedding.0.weight", "embedding.1.weight", "embedding.1.bias"]
        features = torch.randn(2, 6, 4, 4)
        assert torch.equal(attention(features), attention.embedding(features))

    def test_parameters_are_counted_and_all_used(self) -> None:
        channels, hidden = 128, 8
        attention = DeepMutualAttention(channels)
        embedding = 9 * channels**2 + 2 * channels
        perceptron = 2 * channels * hidden + hidden + channels
        expected = embedding + perceptron + (2 * 49 + 1) + (channels**2 + channels) + 1
        assert sum(parameter.numel() for parameter in attention.parameters()) == expected
        drawn(attention.unit)
        (attention(torch.randn(2, channels, 5, 5)) * torch.randn(2, channels, 5, 5)).sum().backward()
        for name, parameter in attention.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.any(), name

    def test_a_new_one_learns_its_share(self) -> None:
        """The share of attention starts at 0, and leaves it with the first step."""
        attention = DeepMutualAttention(4)
        (attention(torch.randn(2, 4, 5, 5)) * torch.randn(2, 4, 5, 5)).sum().backward()
        assert attention.unit.beta.grad.abs() > 0
