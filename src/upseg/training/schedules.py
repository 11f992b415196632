"""Optimisers, and learning rates over time: what all methods are trained with."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import lightning
from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from upseg.errors import UpsegError
from upseg.training.parameter_groups import ParameterGroup, parameter_groups
from upseg.training.time_limit import time_limit_of

Kind = Literal["constant", "cosine", "polynomial"]

_POWER = 0.9  # of the polynomial decay, as in DeepLab
_PARTS = 10_000  # of a training that the clock ends


def learning_rate_factor(step: int, steps: int, warm_up: int = 0, kind: Kind = "cosine", final: float = 0.0) -> float:
    """What the learning rate is multiplied with in a step.

    In the first `warm_up` steps it rises in equal parts to 1. From there to the last step it stays (`constant`), or
    falls to `final` along half a cosine (`cosine`) or as (1 - t)^0.9 (`polynomial`), t rising from 0 to 1.

    Args:
        step: From 0; what comes after the last step has the last step's factor.
        steps: In all.
        warm_up: Steps of them.
        kind: How it goes on after the warm-up.
        final: In the last step, for all kinds but `constant`.
    """
    if step < warm_up:
        return (step + 1) / (warm_up + 1)
    if kind == "constant":
        return 1.0
    passed = min(1.0, (step - warm_up) / max(1, steps - 1 - warm_up))
    left = (1 + math.cos(math.pi * passed)) / 2 if kind == "cosine" else (1 - passed) ** _POWER
    return float(final + (1 - final) * left)


def warm_up_schedule(
    optimizer: Optimizer,
    steps: int,
    *,
    warm_up: int = 0,
    kind: Kind = "cosine",
    final: float = 0.0,
    position: Callable[[int], int] = lambda step: step,
) -> LambdaLR:
    """A scheduler that sets the learning rate of each step by `learning_rate_factor`.

    Args:
        optimizer: Its learning rates are those that the factor is multiplied with.
        steps: Of the whole training.
        warm_up: As in `learning_rate_factor`.
        kind: As in `learning_rate_factor`.
        final: As in `learning_rate_factor`.
        position: Where of all `steps` the training is in its n-th step, if that is not n.

    Raises:
        ValueError: If `warm_up` is not in 0..steps, or `final` not in [0, 1].
    """
    if not 0 <= warm_up <= steps:
        raise ValueError(f"the warm-up must take between 0 and all of the {steps} steps, got {warm_up}")
    if not 0 <= final <= 1:
        raise ValueError(f"the final share of the learning rate must be in [0, 1], got {final}")
    # a plain function: its state is not part of checkpoints, so a training that is made longer gets the longer schedule
    return LambdaLR(optimizer, lambda step: learning_rate_factor(position(step), steps, warm_up, kind, final))


@dataclass(frozen=True)
class Optimization:
    """How the parameters of a method learn: the section `optimization` of a recipe.

    Attributes:
        learning_rate: The highest of the training.
        optimizer: `adamw`, `adam` or `sgd`.
        weight_decay: Of weights; biases and normalisations have none. None for 0.05 with `adamw`, which takes it apart
            from the gradient, and for 0 with the others, where it would be an L2 penalty inside the gradient.
        momentum: Of `sgd`, and the first beta of the others, in [0, 1).
        schedule: `constant`, `cosine` or `polynomial`.
        warm_up: Share of all steps in which the learning rate rises, in [0, 1].
        final: Share of the learning rate that is left in the last step.
        layer_decay: By how much each layer of the backbone learns more slowly than the one after it, in (0, 1].
    """

    learning_rate: float
    optimizer: Literal["adamw", "adam", "sgd"] = "adamw"
    weight_decay: float | None = None
    momentum: float = 0.9
    schedule: Kind = "cosine"
    warm_up: float = 0.0
    final: float = 0.0
    layer_decay: float | None = None

    def __post_init__(self) -> None:
        if self.learning_rate <= 0:
            raise ValueError(f"learning_rate must be positive, got {self.learning_rate}")
        if not (0 <= self.momentum < 1 and 0 <= self.warm_up <= 1):
            raise ValueError(f"momentum must be in [0, 1) and warm_up in [0, 1], got {self.momentum}, {self.warm_up}")

    @property
    def decay(self) -> float:
        """The weight decay that counts."""
        usual = 0.05 if self.optimizer == "adamw" else 0.0
        return usual if self.weight_decay is None else self.weight_decay

    def groups(self, module: nn.Module) -> list[ParameterGroup]:
        """The groups that the parameters of a module are sorted into."""
        return parameter_groups(module, self.decay, self.layer_decay)

    def configure(self, module: lightning.LightningModule) -> dict[str, Any]:
        """What `configure_optimizers` of a module returns, for the training that it is part of."""
        groups = [
            {
                "params": list(group.parameters),
                "lr": self.learning_rate * group.scale,
                "weight_decay": group.weight_decay,
            }
            for group in self.groups(module)
        ]
        optimizer = _OPTIMIZERS[self.optimizer](groups, self)
        steps, position = _course(module.trainer, self.schedule)
        warm_up = round(self.warm_up * steps)
        schedule = warm_up_schedule(
            optimizer, steps, warm_up=warm_up, kind=self.schedule, final=self.final, position=position
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def _course(trainer: lightning.Trainer, kind: Kind) -> tuple[int, Callable[[int], int]]:
    """How many steps a training takes, and where of them it is in its n-th step.

    Of one with a time limit nobody knows how many: its steps are ten-thousandths of the time for learning, or of the
    steps where these end first.
    """
    limit, steps = time_limit_of(trainer), trainer.estimated_stepping_batches
    if limit is None and math.isfinite(steps):
        return int(steps), lambda step: step
    if limit is None and kind == "constant":
        return 0, lambda step: step
    if limit is None:
        raise UpsegError(
            f"the schedule {kind} must know when the training ends: give --minutes, trainer.max_epochs or max_steps"
        )
    return _PARTS, lambda step: int(_PARTS * max(limit.share, step / steps))


_OPTIMIZERS: dict[str, Callable[[list[dict[str, Any]], Optimization], Optimizer]] = {
    "adamw": lambda groups, options: AdamW(groups, options.learning_rate, betas=(options.momentum, 0.999)),
    "adam": lambda groups, options: Adam(groups, options.learning_rate, betas=(options.momentum, 0.999)),
    "sgd": lambda groups, options: SGD(groups, options.learning_rate, momentum=options.momentum),
}
