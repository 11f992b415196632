"""Deep mutual attention: a convolution, then channels and places that are weighed by what is in them."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from upseg.methods.baiseg.equations import channel_attention, identity_transform, mutual_attention, spatial_attention


def convolution(incoming: int, outgoing: int) -> nn.Sequential:
    """A 3x3 convolution, batch normalisation and ReLU; height and width stay.

    Args:
        incoming: Channels of the input.
        outgoing: Channels of the output.
    """
    weights = nn.Conv2d(incoming, outgoing, 3, padding=1, bias=False)  # the normalisation has a bias
    nn.init.kaiming_normal_(weights.weight, nonlinearity="relu")
    return nn.Sequential(weights, nn.BatchNorm2d(outgoing), nn.ReLU(inplace=True))


class MutualAttentionUnit(nn.Module):
    """Features beside themselves weighed by channel and by place, with a learned share.

    Paper: Eq. 2 to 5, Sec. 3.3.2 and Fig. 3. A new unit passes its input on unchanged: the 1x1 convolution of Eq. 4,
    "identity transformation" in the paper, starts as the identity, and the share β of the attention at 0.

    Args:
        channels: C, of the input and the output.
        reduction: How many times narrower than C the hidden layer of Eq. 2 is; it has at least 4 values.
        kernel: Side of the convolution of Eq. 3 in pixels, odd.

    Raises:
        ValueError: If `channels` or `reduction` is below 1, or `kernel` is even.
    """

    def __init__(self, channels: int, reduction: int = 16, kernel: int = 7) -> None:
        super().__init__()
        if channels < 1 or reduction < 1 or kernel % 2 == 0:
            raise ValueError(
                f"channels and reduction must be at least 1 and kernel odd, got {channels}, {reduction} and {kernel}"
            )
        hidden = max(channels // reduction, 4)
        self.perceptron = nn.Sequential(
            nn.Conv2d(channels, hidden, 1), nn.ReLU(inplace=True), nn.Conv2d(hidden, channels, 1)
        )
        self.places = nn.Conv2d(2, 1, kernel, padding=kernel // 2)
        self.identity = nn.Conv2d(channels, channels, 1)
        self.beta = nn.Parameter(torch.zeros(1))
        nn.init.dirac_(self.identity.weight)
        for module in self.modules():
            if isinstance(module, nn.Conv2d) and module.bias is not None:
                nn.init.zeros_(module.bias)

    def forward(self, features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Weigh (B, C, H, W) features of any size from 1x1 up; the result has the same shape."""
        average, largest = features.mean((2, 3), keepdim=True), features.amax((2, 3), keepdim=True)
        channel = channel_attention(self.perceptron(average), self.perceptron(largest))  # Eq. 2, (B, C, 1, 1)
        pooled = torch.cat([features.mean(1, keepdim=True), features.amax(1, keepdim=True)], dim=1)
        spatial = spatial_attention(self.places(pooled))  # Eq. 3, (B, 1, H, W)
        identity = identity_transform(features, self.identity.weight, self.identity.bias)  # Eq. 4
        return mutual_attention(features, channel, spatial, identity, self.beta.to(features.dtype))  # Eq. 5


class DeepMutualAttention(nn.Module):
    """A 3x3 convolution, batch normalisation and ReLU, then the mutual attention unit.

    Paper: Sec. 3.3.2 and Fig. 2 (c).

    Args:
        channels: Of the input and the output.
        attention: Without it only the convolution is left, as in the paper's ablation.
    """

    def __init__(self, channels: int, *, attention: bool = True) -> None:
        super().__init__()
        self.embedding = convolution(channels, channels)
        self.unit = MutualAttentionUnit(channels) if attention else nn.Identity()

    def forward(self, features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Embed and weigh (B, C, H, W) features; the result has the same shape."""
        attended: Tensor = self.unit(self.embedding(features))
        return attended
