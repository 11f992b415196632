"""The boundary branch: cascade fusion modules, which read the boundary map off a path of its own."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from upseg.methods.baiseg.attention import DeepMutualAttention, convolution


class FeatureFusion(nn.Module):
    """Global and local features see each other, and each path takes what it needs.

    Paper: Sec. 3.3.3, FFM; its figure is not in the text. Both paths, put side by side, pass a 3x3 convolution, batch
    normalisation and ReLU. The result is added to the local path, and through a 1x1 convolution to the global one. The
    last fusion of a cascade hands no global features on, and refines the local ones alone. So a module has the number
    of parameters that Tables 4 and 5 of the paper imply: 30 C² and a little for each module, 20 C² for one alone.

    Args:
        channels: C, of each path.
        last: Whether this is the last fusion of a cascade.
    """

    def __init__(self, channels: int, *, last: bool = False) -> None:
        super().__init__()
        self.fuse = convolution(channels if last else 2 * channels, channels)
        self.to_global = None if last else nn.Conv2d(channels, channels, 1)

    def forward(
        self, context: Float[Tensor, "b c h w"], local: Float[Tensor, "b c h w"]
    ) -> tuple[Float[Tensor, "b c h w"], Float[Tensor, "b c h w"]]:
        """Fuse (B, C, H, W) features of the global path, `context`, and of the local one.

        Returns:
            Both paths' next features; after the last fusion the global ones are those that came in.
        """
        if self.to_global is None:
            return context, local + self.fuse(local)
        fused = self.fuse(torch.cat([context, local], dim=1))
        return context + self.to_global(fused), local + fused


class CascadeFusionModule(nn.Module):
    """One stage of the boundary branch: attention on the local path, which the global path enters, then their fusion.

    Paper: Sec. 3.3.1, CFM: DMA, a 1x1 convolution, and FFM.

    Args:
        channels: C, of each path.
        attention: Whether there is deep mutual attention; else its convolution alone.
        last: Whether no module follows.
    """

    def __init__(self, channels: int, *, attention: bool = True, last: bool = False) -> None:
        super().__init__()
        self.enter = nn.Conv2d(channels, channels, 1)
        self.attend = DeepMutualAttention(channels, attention=attention)
        self.fusion = FeatureFusion(channels, last=last)

    def forward(
        self, context: Float[Tensor, "b c h w"], local: Float[Tensor, "b c h w"] | None = None
    ) -> tuple[Float[Tensor, "b c h w"], Float[Tensor, "b c h w"]]:
        """Refine both paths.

        Args:
            context: (B, C, H, W) features of the global path.
            local: (B, C, H, W) features of the local path; None before the first module, for zeros.

        Returns:
            Both paths' next features.
        """
        entering = self.enter(context)
        attended = self.attend(entering if local is None else local + entering)
        fused: tuple[Tensor, Tensor] = self.fusion(context, attended)
        return fused


class BoundaryModule(nn.Module):
    """Features of the backbone → logits of the instance-aware boundary map.

    Paper: Sec. 3.3 and Fig. 2 (b), IABM: R cascade fusion modules, and a 1x1 convolution. The logits of a new module
    are near 0, a probability of one half: the weights of Eq. 1 make boundaries count as much as all other pixels.

    Args:
        incoming: Channels of the features.
        hidden: C, of the modules.
        cascade: R, how many modules follow one another.
        fusion: Without it there are no modules, as in the paper's ablation: the boundary map is read off the features'
            1x1 convolution, with attention before it if that is on.
        attention: Whether there is deep mutual attention.
        tapped: The module, counted from 1, whose local features are given out.

    Raises:
        ValueError: If a number is below 1, or `tapped` is beyond the modules.
    """

    def __init__(
        self,
        incoming: int,
        hidden: int = 128,
        cascade: int = 4,
        *,
        fusion: bool = True,
        attention: bool = True,
        tapped: int = 1,
    ) -> None:
        super().__init__()
        if min(incoming, hidden, cascade) < 1 or not 1 <= tapped <= cascade:
            raise ValueError(
                "incoming, hidden and cascade must be at least 1, and tapped one of the modules, "
                f"got {incoming}, {hidden}, {cascade} and {tapped}"
            )
        self.tapped = tapped
        self.enter = nn.Conv2d(incoming, hidden, 1)
        self.attend: nn.Module = nn.Identity()
        if attention and not fusion:
            self.attend = DeepMutualAttention(hidden)
        count = cascade if fusion else 0
        self.stages = nn.ModuleList(
            CascadeFusionModule(hidden, attention=attention, last=number == count) for number in range(1, count + 1)
        )
        self.output = nn.Conv2d(hidden, 1, 1)
        nn.init.normal_(self.output.weight, std=0.01)
        if self.output.bias is not None:
            nn.init.zeros_(self.output.bias)

    def forward(self, features: Float[Tensor, "b c h w"]) -> tuple[Float[Tensor, "b 1 h w"], Float[Tensor, "b d h w"]]:
        """Find boundaries.

        Args:
            features: (B, incoming, H, W), of any size from 1x1 up.

        Returns:
            (B, 1, H, W) logits of the boundary map, and the (B, hidden, H, W) local features after module `tapped`;
            without modules those that the map is read off.
        """
        context: Tensor = self.attend(self.enter(features))
        local: Tensor | None = None
        given = context
        for number, stage in enumerate(self.stages, start=1):
            context, local = stage(context, local)
            if number == self.tapped:
                given = local
        logits: Tensor = self.output(context if local is None else local)
        return logits, given
