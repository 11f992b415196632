"""Parameters in groups of their own learning rate and weight decay: layer by layer of a backbone."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import timm
import torch
from rich.table import Column, Table
from timm.models import FeatureListNet
from timm.models._manipulate import group_with_matcher
from torch import nn

_UNMATCHED = "\n"  # no parameter is called so


@dataclass(frozen=True)
class ParameterGroup:
    """Parameters that share a learning rate and a weight decay.

    Attributes:
        layer: Depth in the backbone, 0 the first; what is not in the backbone's layers has the number after its last.
        scale: What the learning rate is multiplied with.
        weight_decay: Of these parameters.
        names: Of the parameters in the module.
        parameters: The parameters.
    """

    layer: int
    scale: float
    weight_decay: float
    names: tuple[str, ...]
    parameters: tuple[nn.Parameter, ...]

    @property
    def count(self) -> int:
        """Number of values in all parameters."""
        return sum(parameter.numel() for parameter in self.parameters)


def parameter_groups(
    module: nn.Module, weight_decay: float = 0.0, layer_decay: float | None = None
) -> list[ParameterGroup]:
    """Sort all parameters that are trained into groups, by depth and by whether they decay.

    Biases, the parameters of normalisations and what the backbone itself excludes (such as position embeddings) have no
    weight decay. With `layer_decay` the timm backbones inside the module are found, and a parameter of layer i of a
    backbone of L layers (the stem is layer 0) learns with `layer_decay` to the power of L - i, and everything that is
    not in a layer at the full rate. BEiT (Bao et al., 2022) has the same rule.

    Args:
        module: Such as a LightningModule.
        weight_decay: Of those that decay.
        layer_decay: In (0, 1]; None treats all layers alike.

    Returns:
        The groups, in order of depth.

    Raises:
        ValueError: If a value is outside its range, or `layer_decay` is given and there is no backbone with layers.
    """
    if weight_decay < 0 or (layer_decay is not None and not 0 < layer_decay <= 1):
        raise ValueError(
            f"weight_decay must be at least 0 and layer_decay in (0, 1], got {weight_decay}, {layer_decay}"
        )
    layers = _layers(module) if layer_decay is not None else {}
    if layer_decay is not None and not layers:
        raise ValueError("layer_decay needs a timm backbone whose layers are known, and there is none in the model")
    last = max(layers.values(), default=-1) + 1
    unweighted = set(_without_weight_decay(module))
    found: dict[tuple[int, bool], list[tuple[str, nn.Parameter]]] = {}
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            decays = parameter.ndim > 1 and name not in unweighted
            found.setdefault((layers.get(name, last), decays), []).append((name, parameter))
    return [
        ParameterGroup(
            layer=layer,
            scale=1.0 if layer_decay is None else layer_decay ** (last - layer),
            weight_decay=weight_decay if decays else 0.0,
            names=tuple(name for name, _ in found[layer, decays]),
            parameters=tuple(parameter for _, parameter in found[layer, decays]),
        )
        for layer, decays in sorted(found, key=lambda key: (key[0], not key[1]))
    ]


def table_of_groups(groups: Sequence[ParameterGroup], learning_rate: float) -> Table:
    """The groups as a table for the terminal."""
    numbers = ("layer", "learning rate", "x", "weight decay", "tensors", "parameters")
    table = Table(*(Column(name, justify="right") for name in numbers), "first of them")
    for group in groups:
        table.add_row(
            str(group.layer),
            f"{learning_rate * group.scale:.3g}",
            f"{group.scale:.4f}",
            f"{group.weight_decay:g}",
            str(len(group.names)),
            f"{group.count:,}",
            group.names[0],
        )
    return table


def _layers(module: nn.Module) -> dict[str, int]:
    """The layer of each parameter of the backbones in a module; what belongs to none of a backbone's is left out."""
    layers: dict[str, int] = {}
    for prefix, backbone, described in _backbones(module):
        names = {_name_in_whole_model(backbone, name): name for name, _ in backbone.named_parameters()}
        # timm gives what no pattern matches, heads above all, a number of its own, which the one more name tells
        found = group_with_matcher(
            ((name, None) for name in (*names, _UNMATCHED)), described.group_matcher(coarse=False), reverse=True
        )
        unmatched = found.pop(_UNMATCHED)
        layers |= {prefix + names[name]: layer for name, layer in found.items() if layer != unmatched}
    return layers


def _without_weight_decay(module: nn.Module) -> Iterator[str]:
    """Names of parameters that backbones exclude from weight decay, such as position embeddings."""
    for prefix, backbone, described in _backbones(module):
        excluded = described.no_weight_decay() if hasattr(described, "no_weight_decay") else ()
        for name, _ in backbone.named_parameters():
            if _name_in_whole_model(backbone, name) in excluded:
                yield prefix + name


def _backbones(module: nn.Module) -> Iterator[tuple[str, nn.Module, Any]]:
    """(prefix of its parameters' names, backbone, whole timm model that knows its layers) of the timm models inside."""
    for name, part in module.named_modules():
        prefix = f"{name}." if name else ""
        if hasattr(part, "group_matcher"):
            yield prefix, part, part
        elif isinstance(part, FeatureListNet):  # the stages alone, cut out of a model
            described: Any = part.pretrained_cfg
            with torch.device("meta"):
                yield prefix, part, timm.create_model(str(described["architecture"]))


def _name_in_whole_model(backbone: nn.Module, name: str) -> str:
    """`stages_0.norm.weight` of stages that were cut out of a model was `stages.0.norm.weight` in it."""
    return re.sub(r"^([a-z_]+?)_(\d+)\.", r"\1.\2.", name) if isinstance(backbone, FeatureListNet) else name
