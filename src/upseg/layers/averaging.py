"""A moving average of a network's weights, which is steadier than the network and generalises better."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Generic, TypeVar, cast

from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

_Network = TypeVar("_Network", bound=nn.Module)


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


class AveragedTraining(Generic[_Network]):
    """What a task, a LightningModule that inherits this first, needs to train a network and keep its moving average.

    Attributes:
        network: What is trained.
        averaged: Its moving average; None without one.
        average: The average's decay per step; 0 without one.
    """

    network: _Network
    averaged: MovingAverage | None
    average: float

    def take_network(self, network: _Network, average: float) -> None:
        """Set all three attributes.

        Args:
            network: What is trained.
            average: Decay of the average per step, in [0, 1); 0 for none.

        Raises:
            ValueError: If `average` is not in [0, 1).
        """
        self.network = network
        self.averaged = MovingAverage(network, average) if average else None
        self.average = average

    @property
    def validated(self) -> _Network:
        """The network that is validated and exported."""
        return self.network if self.averaged is None else cast("_Network", self.averaged.module)

    @property
    def exported_prefix(self) -> str:
        """What the names of its weights begin with in a checkpoint."""
        return "network." if self.averaged is None else "averaged.module."

    def optimizer_step(self, *arguments: Any, **keywords: Any) -> None:
        """Move the average once per step of the optimiser, however many batches it gathers."""
        super().optimizer_step(*arguments, **keywords)  # type: ignore[misc]
        if self.averaged is not None:
            self.averaged.update_parameters(self.network)
