"""Short trainings from scratch on made-up scenes, as the ablations do them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn

from upseg.data.batches import Batch, Collate
from upseg.data.dataset import Dataset

Network = TypeVar("Network", bound=nn.Module)
WARM_UP = 0.05
"""The share of the steps in which the learning rate rises."""


def train_from_scratch(
    make_network: Callable[[], Network],
    loss: Callable[[Network, Batch], Tensor],
    scenes: Dataset,
    collate: Collate,
    *,
    seed: int,
    batch: int,
    learning_rate: float,
) -> Network:
    """A network that has seen each scene once, in their order, in evaluation mode.

    AdamW with a weight decay of 0.05, one cycle of the learning rate, gradients cut to a norm of 1.

    Args:
        make_network: Called once torch has the seed, which thereby is that of the first weights.
        loss: The scalar to be made smaller, of the network and a batch with targets.
        scenes: At least `batch`; those that do not fill the last batch are left out.
        collate: Makes a batch of scenes.
        seed: Of torch.
        batch: Scenes of a step.
        learning_rate: The highest.
    """
    torch.manual_seed(seed)
    network = make_network()
    steps = len(scenes) // batch
    optimizer = torch.optim.AdamW(network.parameters(), learning_rate, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, steps, pct_start=WARM_UP)
    for step in range(steps):
        value = loss(network, collate([scenes[index] for index in range(step * batch, (step + 1) * batch)]))
        optimizer.zero_grad()
        value.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return network.eval()
