"""Fitting the network to the one image, and reading its response."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.optim.sgd import sgd

from upseg.functional.random_numbers import seeded_generator
from upseg.methods.dynaseg.equations import WEIGHTINGS, cluster_labels, labels_in_use
from upseg.methods.dynaseg.losses import fused_total_loss
from upseg.methods.dynaseg.network import ConvolutionalExtractor, DynaSegNetwork, ResNetPyramidExtractor
from upseg.methods.dynaseg.settings import DynaSegSettings
from upseg.segmentation import Progress

CROPS_FOR_FLOOR = 4
"""With crops, the labels in use are those of this many crops in a row: one crop may lie wholly in the sky."""


@dataclass(frozen=True)
class Fit:
    """A fitted network.

    Attributes:
        network: In training mode, as it was fitted.
        label_counts: q' before each step.
        losses: L at each step.
    """

    network: DynaSegNetwork
    label_counts: list[int] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)


def build_network(settings: DynaSegSettings) -> DynaSegNetwork:
    """The network with its first weights, drawn from the seed; the global random state is left as it was.

    Raises:
        ModelError: If pretrained weights cannot be had.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        extractor: ConvolutionalExtractor | ResNetPyramidExtractor
        if settings.extractor == "cnn":
            extractor = ConvolutionalExtractor(settings.features, settings.blocks)
        else:
            weights = Path(settings.weights) if settings.weights else None
            extractor = ResNetPyramidExtractor(
                settings.features, pretrained=settings.downloads_weights, weights=weights
            )
        return DynaSegNetwork(extractor, settings.clusters)


def fit_network(
    image: Float[Tensor, "1 3 h w"],
    settings: DynaSegSettings,
    floor: int,
    progress: Progress | None = None,
    observe: Callable[[int, DynaSegNetwork], None] | None = None,
) -> Fit:
    """Fit a network to one image until few labels are left or the steps are used up.

    Paper: Sec. 3.1 and 4.1, Eq. 7 to 9. A step is: forward, labels, stop if q' <= floor, loss, update.

    Args:
        image: (1, 3, H, W) in [0, 1], on the device to compute on.
        settings: Of the fit.
        floor: q*.
        progress: Called with (steps done, steps at most).
        observe: Called before each step with (steps done, network).

    Returns:
        The network and its history.
    """
    network = build_network(settings).to(image.device).to(memory_format=torch.channels_last)
    parameters: list[Tensor] = list(network.parameters())
    velocities: list[Tensor | None] = [None] * len(parameters)
    generator = seeded_generator(settings.seed)
    window = 1 if settings.crop is None else CROPS_FOR_FLOOR
    used: deque[Bool[Tensor, " q"]] = deque(maxlen=window)
    counts: list[Int64[Tensor, ""]] = []
    losses: list[Float[Tensor, ""]] = []
    # reading q' waits for the device; a GPU is asked one step late, when the answer has long been there
    delay = 0 if image.device.type == "cpu" else 1
    for step in range(settings.steps):
        if observe:
            observe(step, network)
        crop = _random_crop(image, settings.crop, generator)
        with _precision(settings, image.device):
            response = network(crop)
        labels = cluster_labels(response)
        used.append(labels_in_use(labels, settings.clusters))
        counts.append(torch.stack(tuple(used)).any(0).sum())
        if step - delay >= window - 1 and int(counts[step - delay]) <= floor:
            break
        weight = WEIGHTINGS[settings.weighting](used[-1].sum(), settings.balance)
        loss = fused_total_loss(response, labels, weight)
        gradients = list(torch.autograd.grad(loss, parameters))
        _update(parameters, gradients, velocities, settings)
        losses.append(loss.detach())
        if progress:
            progress(step + 1, settings.steps)
    return Fit(network, [int(count) for count in counts], [float(loss) for loss in losses])


@torch.no_grad()
def whole_response(
    network: DynaSegNetwork, image: Float[Tensor, "1 3 h w"], settings: DynaSegSettings
) -> Float[Tensor, "1 q h w"]:
    """R' of the whole image, normalised by the image's own statistics as during the fit.

    Paper: Sec. 3.4.
    """
    with _precision(settings, image.device):
        response: Tensor = network(image)
    return response


@torch.no_grad()
def _update(
    parameters: list[Tensor], gradients: list[Tensor], velocities: list[Tensor | None], settings: DynaSegSettings
) -> None:
    """One step of SGD; the function, because making the optimizer object imports torch's compiler: seconds."""
    sgd(
        parameters,
        gradients,
        velocities,
        lr=settings.learning_rate,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
        dampening=0.0,
        nesterov=False,
        maximize=False,
        foreach=False,
    )


def _random_crop(
    image: Float[Tensor, "1 3 h w"], side: int | None, generator: torch.Generator
) -> Float[Tensor, "1 3 _ _"]:
    if side is None:
        return image
    height, width = image.shape[-2:]
    rows, columns = min(side, height), min(side, width)
    top = int(torch.randint(height - rows + 1, (), generator=generator))
    left = int(torch.randint(width - columns + 1, (), generator=generator))
    return image[..., top : top + rows, left : left + columns]


def _precision(settings: DynaSegSettings, device: torch.device) -> AbstractContextManager[None]:
    return torch.autocast(device.type, torch.bfloat16, enabled=settings.precision == "bfloat16")
