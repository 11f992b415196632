"""A moving average of a network's weights, which is steadier than the network and generalises better."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


class MovingAverage(AveragedModel):
    """A copy of a network whose weights and buffers follow the network's; `module` is the copy.

    Args:
        network: What `update_parameters(network)` is given after each step of the optimiser.
        decay: Of the average per step, in [0, 1).

    Raises:
        ValueError: If `decay` is not in [0, 1).
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"the decay of an average must be in [0, 1), got {decay}")

        def move(averaged: Sequence[Tensor], current: Sequence[Tensor], count: Tensor | int) -> None:
            # in the first steps it forgets faster, so that the first weights leave no trace
            share = 1 - min(decay, (1 + int(count)) / (10 + int(count)))
            for old, new in zip(averaged, current, strict=True):
                if old.is_floating_point():
                    old.lerp_(new, share)
                else:
                    old.copy_(new)

        super().__init__(network, multi_avg_fn=move, use_buffers=True)
        self.requires_grad_(False)
