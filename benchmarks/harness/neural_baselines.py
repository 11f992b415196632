"""What the paper of DynaSeg compares with: a CNN whose labels superpixels correct, and IIC, fitted to the one image."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from skimage.segmentation import slic
from torch import Tensor

from upseg.methods.dynaseg.equations import cluster_labels
from upseg.methods.dynaseg.fit import build_network
from upseg.methods.dynaseg.settings import DynaSegSettings

Settings = Mapping[str, Any]
Network = Callable[[Tensor], Tensor]
LEAST_LABELS = 3
"""Below so many labels a fit ends, as in the papers."""


def slic_cnn_maps(image: np.ndarray, settings: Settings, sweep: Sequence[Settings]) -> list[np.ndarray]:
    """Each step learns the label that most pixels of a superpixel have (Kanezaki, ICASSP 2018).

    Settings: steps, superpixels and compactness of SLIC, clusters, seed.
    """
    maps = []
    for changes in sweep:
        chosen = {"superpixels": 10_000, "compactness": 100.0, **settings, **changes}
        regions = slic(image, n_segments=chosen["superpixels"], compactness=chosen["compactness"], start_label=0)
        places = torch.from_numpy(regions.astype(np.int64)).flatten()
        count = int(places.max()) + 1

        def loss(response: Tensor, _: Network, places: Tensor = places, count: int = count) -> Tensor:
            labels = cluster_labels(response)[0].flatten()
            votes = torch.zeros(count, response.shape[1]).index_put_(
                (places, labels), torch.ones(len(labels)), accumulate=True
            )
            return F.cross_entropy(response, votes.argmax(1)[places].view(1, *image.shape[:2]))

        maps.append(_fitted(image, chosen, loss))
    return maps


def iic_maps(image: np.ndarray, settings: Settings, sweep: Sequence[Settings]) -> list[np.ndarray]:
    """Maximises the mutual information of the labels of a pixel and of one near it, in other light (Ji et al. 2019).

    Settings: steps, reach (of the displacement, in pixels), jitter (of the colours), clusters, seed.
    """
    maps = []
    for changes in sweep:
        chosen = {"reach": 5, "jitter": 0.1, **settings, **changes}
        generator = torch.Generator().manual_seed(chosen.get("seed", 0))

        pixels = _pixels(image)

        def loss(
            response: Tensor,
            network: Network,
            chosen: Settings = chosen,
            pixels: Tensor = pixels,
            g: torch.Generator = generator,
        ) -> Tensor:
            light = 1 + chosen["jitter"] * torch.randn(1, 3, 1, 1, generator=g)
            down, right = (int(torch.randint(1, chosen["reach"] + 1, (), generator=g)) for _ in range(2))
            here, there = response.softmax(1), network((pixels * light).clamp(0, 1)).softmax(1)
            one, other = here[..., :-down, :-right], there[..., down:, right:]
            joint = torch.einsum("bihw,bjhw->ij", one, other)
            joint = ((joint + joint.T) / (2 * joint.sum())).clamp(min=1e-9)
            rows, columns = joint.sum(1, keepdim=True), joint.sum(0, keepdim=True)
            return -(joint * (joint / (rows * columns)).log()).sum()

        maps.append(_fitted(image, chosen, loss))
    return maps


def _pixels(image: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(image, np.float32)).permute(2, 0, 1)[None]


def _fitted(image: np.ndarray, chosen: Settings, loss: Callable[[Tensor, Network], Tensor]) -> np.ndarray:
    """(H, W) labels from 1 after the paper's SGD; the order of a step is that of DynaSeg's fit."""
    clusters = chosen.get("clusters", 100)
    settings = DynaSegSettings.preset("paper", features=clusters, clusters=clusters, seed=chosen.get("seed", 0))
    network, pixels = build_network(settings), _pixels(image)
    optimizer = torch.optim.SGD(network.parameters(), 0.1, momentum=0.9, weight_decay=1e-4)
    for _ in range(chosen["steps"]):
        response = network(pixels)
        if len(cluster_labels(response).unique()) <= LEAST_LABELS:
            break
        optimizer.zero_grad()
        loss(response, network).backward()
        optimizer.step()
    with torch.no_grad():
        return (cluster_labels(network(pixels))[0] + 1).numpy().astype(np.int32)
