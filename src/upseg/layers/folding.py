"""Networks as inference computes them: batch norms are part of the convolutions before them."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from itertools import pairwise
from typing import TypeVar

import torch
from torch import nn

_Network = TypeVar("_Network", bound=nn.Module)


class NormedConvolutions(nn.Module):
    """A module in which, in the order in which they are made, a batch norm takes what the convolution before it gives.

    That is what `folded` needs to know; of an `nn.Sequential` it is so in any case.
    """


def folded(network: _Network) -> _Network:
    """A copy that computes the same, but for rounding, without the batch norms whose convolution is known.

    Each is one multiplication and addition for every value of a map, in a pass of its own over memory.

    Args:
        network: In evaluation mode. Not changed; the copy shares all weights that are the same.
    """
    shared = {id(value): value for value in (*network.parameters(), *network.buffers())}
    copied = copy.deepcopy(network, shared)
    for module in [*copied.modules()]:
        for name, other in _normed(module):
            convolution, norm = module.get_submodule(name), module.get_submodule(other)
            assert isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)  # noqa: S101, PT018
            _fold(convolution, norm)
            setattr(module, other, nn.Identity())
    return copied


def _normed(module: nn.Module) -> Iterator[tuple[str, str]]:
    """The names of the convolutions of a module that a batch norm follows, and of that."""
    if not isinstance(module, nn.Sequential | NormedConvolutions):
        return
    parts = [*module.named_children()]
    for (name, convolution), (other, norm) in pairwise(parts):
        if isinstance(convolution, nn.Conv2d) and type(norm) is nn.BatchNorm2d and norm.track_running_stats:
            yield name, other


@torch.no_grad()
def _fold(convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    """Let a convolution give what the norm would make of it."""
    assert norm.running_mean is not None  # noqa: S101
    assert norm.running_var is not None  # noqa: S101
    factor = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    weight = convolution.weight * factor[:, None, None, None]
    before = 0 if convolution.bias is None else convolution.bias
    convolution.weight = nn.Parameter(weight, requires_grad=False)
    convolution.bias = nn.Parameter((before - norm.running_mean) * factor + norm.bias, requires_grad=False)
