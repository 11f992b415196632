"""DynaSeg written slowly from the paper: every equation as a loop over pixels and channels, and the plain fit."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Map = list[list[list[list[float]]]]  # response[b][j][row][column]
LabelMap = list[list[list[int]]]  # labels[b][row][column]


def sizes(response: Map) -> tuple[int, int, int, int]:
    return len(response), len(response[0]), len(response[0][0]), len(response[0][0][0])


def cluster_labels(response: Map) -> LabelMap:
    batch, clusters, height, width = sizes(response)
    labels = [[[0] * width for _ in range(height)] for _ in range(batch)]
    for b in range(batch):
        for row in range(height):
            for column in range(width):
                best = 0
                for j in range(clusters):
                    if response[b][j][row][column] > response[b][best][row][column]:
                        best = j
                labels[b][row][column] = best
    return labels


def feature_similarity_loss(response: Map, labels: LabelMap) -> float:
    """Eq. 1, divided by the number of pixels."""
    batch, clusters, height, width = sizes(response)
    total = 0.0
    for b in range(batch):
        for row in range(height):
            for column in range(width):
                exponentials = [math.exp(response[b][j][row][column]) for j in range(clusters)]
                for j in range(clusters):
                    delta = 1 if j - labels[b][row][column] == 0 else 0
                    total -= delta * math.log(exponentials[j] / sum(exponentials))
    return total / (batch * height * width)


def horizontal_differences(response: Map) -> Map:
    """Eq. 2."""
    batch, clusters, height, width = sizes(response)
    return [
        [
            [[abs(response[b][j][i][c] - response[b][j][i][c + 1]) for c in range(width - 1)] for i in range(height)]
            for j in range(clusters)
        ]
        for b in range(batch)
    ]


def vertical_differences(response: Map) -> Map:
    """Eq. 3."""
    batch, clusters, height, width = sizes(response)
    return [
        [
            [[abs(response[b][j][i][c] - response[b][j][i + 1][c]) for c in range(width)] for i in range(height - 1)]
            for j in range(clusters)
        ]
        for b in range(batch)
    ]


def mean_of(differences: Map) -> float:
    """The sum of Eq. 4 or 5, divided by the number of its terms; 0 without any."""
    total, terms = 0.0, 0
    for one_image in differences:
        for channel in one_image:
            for row in channel:
                for difference in row:
                    total += abs(difference)
                    terms += 1
    return total / terms if terms else 0.0


def horizontal_norm(response: Map) -> float:
    """Eq. 4."""
    return mean_of(horizontal_differences(response))


def vertical_norm(response: Map) -> float:
    """Eq. 5."""
    return mean_of(vertical_differences(response))


def spatial_continuity_loss(response: Map) -> float:
    """Eq. 6."""
    return horizontal_norm(response) + vertical_norm(response)


def total_loss(response: Map, weight: float) -> float:
    """Eq. 7."""
    similarity = feature_similarity_loss(response, cluster_labels(response))
    return similarity + weight * spatial_continuity_loss(response)


def balance(weighting: str, label_count: int, alpha: float) -> float:
    """μ of Eq. 8 ("fsf"), of Eq. 9 ("scf"), or a constant ("fixed")."""
    return {"fsf": label_count / alpha, "scf": alpha / label_count, "fixed": alpha}[weighting]


def batch_loss(response: Map, floors: list[int], weighting: str, alpha: float) -> float:
    """Training over a data set: the mean over the images of Eq. 7 with each one's own q', 0 for those that ended."""
    total = 0.0
    for one_image, floor in zip(response, floors, strict=True):
        label_count = len({label for row in cluster_labels([one_image])[0] for label in row})
        if label_count > floor:
            total += total_loss([one_image], balance(weighting, label_count, alpha))
    return total / len(response)


class PaperFit(NamedTuple):
    """What the plain fit gives: the last labels (H, W), q' at each forward pass, and L at each step."""

    labels: Tensor
    label_counts: list[int]
    losses: list[float]


def paper_network(features: int, clusters: int, blocks: int, seed: int) -> nn.Sequential:
    """M x [3x3 convolution, ReLU, batch norm], 1x1 classifier, batch norm; PyTorch's own initial values."""
    layers: list[nn.Module] = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for block in range(blocks):
            layers.append(nn.Conv2d(features if block else 3, features, 3, padding=1))
            layers.append(nn.ReLU())
            layers.append(nn.BatchNorm2d(features))
        layers.append(nn.Conv2d(features, clusters, 1, bias=False))
        layers.append(nn.BatchNorm2d(clusters))
    return nn.Sequential(*layers)


def paper_loop(
    image: Tensor,
    *,
    weighting: str = "fsf",
    alpha: float = 15.0,
    steps: int = 1000,
    floor: int = 3,
    features: int = 100,
    clusters: int = 100,
    blocks: int = 3,
    learning_rate: float = 0.1,
    momentum: float = 0.9,
    weight_decay: float = 1e-4,
    seed: int = 0,
) -> PaperFit:
    """The straightforward optimisation of the paper's setting: plain float32 on the whole image.

    Each step is a forward pass, the labels, the test for the end, the loss, a backward pass and an update. The fit ends
    where a forward pass leaves no more than `floor` labels, or after `steps` updates and one more forward pass.

    Args:
        image: (3, H, W) float32 in [0, 1].
        weighting: "fsf", "scf" or "fixed".
        alpha: Of the weighting.
        steps: T.
        floor: q*.
        features: p.
        clusters: q.
        blocks: M.
        learning_rate: Of SGD.
        momentum: Of SGD.
        weight_decay: Of SGD.
        seed: Of the initial weights.
    """
    network = paper_network(features, clusters, blocks, seed).train()
    optimizer = torch.optim.SGD(network.parameters(), lr=learning_rate, momentum=momentum, weight_decay=weight_decay)
    label_counts: list[int] = []
    losses: list[float] = []
    for step in range(steps + 1):
        response = network(image[None])
        labels = response.argmax(dim=1)
        label_counts.append(len(labels.unique()))
        if label_counts[-1] <= floor or step == steps:
            break
        similarity = F.cross_entropy(response, labels)
        continuity = F.l1_loss(response[..., :-1], response[..., 1:]) + F.l1_loss(
            response[..., :-1, :], response[..., 1:, :]
        )
        loss = similarity + balance(weighting, label_counts[-1], alpha) * continuity
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return PaperFit(labels[0], label_counts, losses)
