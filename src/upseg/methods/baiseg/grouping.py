"""From the boundary map and the classes of the pixels to scored instances, and to one segment for each other class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int32, Int64
from torch import Tensor

from upseg.methods.baiseg.extraction import ExtractedInstances, extract
from upseg.methods.baiseg.settings import BaisegSettings


@dataclass(frozen=True, eq=False)
class Grouping:
    """The segments of one image.

    Attributes:
        labels: (H, W) ids 1..K, 0 void. Instances of things come first, then the other classes in their order.
        classes: For each id the position of its class.
        scores: For each id how sure it is, in [0, 1].
    """

    labels: Int32[np.ndarray, "h w"]
    classes: Mapping[int, int]
    scores: Mapping[int, float]


@torch.inference_mode()
def group_instances(
    boundary: Float[Tensor, "h w"],
    semantic: Float[Tensor, "c h w"] | None,
    classes: Int64[np.ndarray, "h w"] | None,
    is_thing: Bool[np.ndarray, " c"],
    settings: BaisegSettings,
    image: Float32[np.ndarray, "h w 3"] | None = None,
) -> Grouping:
    """Cut the things of one image into instances, and make one segment of each other class.

    Paper: Appendix C for the instances; the scores are a choice.

    An instance's score is the mean of 1 - boundary over its pixels, times the mean probability that they have its
    class. Another class's is that probability alone: boundaries say nothing about it. The classes of a map that is
    given have probability 1. Instances with less than the setting `minimum_score` become void; with the setting
    `background` the first class is no segment.

    Args:
        boundary: (H, W) probabilities that pixels lie on a boundary.
        semantic: (C, H, W) probabilities of the classes; None where `classes` is given.
        classes: (H, W) positions of the pixels' classes, -1 for none; None where `semantic` is given.
        is_thing: (C,) which classes are things.
        settings: What `extract` needs, `minimum_score` and `background`.
        image: (H, W, 3) RGB in [0, 1], for the watershed in its gradient (setting `flood`).

    Raises:
        ValueError: If not just one of `semantic` and `classes` is given, shapes do not fit together, or values are
            not probabilities.
    """
    _check_probabilities("boundary", boundary)
    if semantic is not None and classes is None:
        _check_probabilities("semantic", semantic)
        _check_fit(boundary, semantic.shape[1:], is_thing, len(semantic) - 1)
        classes = semantic.argmax(dim=0).cpu().numpy()
    elif semantic is None and classes is not None:
        _check_fit(boundary, classes.shape, is_thing, int(classes.max()))
    else:
        raise ValueError(f"give either semantic or classes, got {'neither' if classes is None else 'both'}")
    probabilities = boundary.float().cpu().numpy()
    instances = extract(probabilities, classes, is_thing, settings, image=image)
    labels, positions = _with_other_classes(instances, classes, is_thing, background=settings.background)
    scores = np.ones(len(positions)) if semantic is None else _confidences(labels, positions, semantic)
    count = len(instances.classes)
    scores[1 : count + 1] *= _means(labels, 1 - probabilities, len(positions))[1 : count + 1]
    return _surviving(labels, positions, scores, count, settings.minimum_score)


def _check_probabilities(name: str, values: Float[Tensor, "*shape"]) -> None:
    low, high = (float(value) for value in torch.aminmax(values))
    if not (low >= 0 and high <= 1):  # NaN is neither
        raise ValueError(
            f"{name} must hold probabilities from 0 to 1, got values from {low} to {high}; check the network's weights"
        )


def _check_fit(
    boundary: Float[Tensor, "h w"], size: tuple[int, ...], is_thing: Bool[np.ndarray, " c"], last: int
) -> None:
    if tuple(boundary.shape) != tuple(size):
        raise ValueError(f"boundary and classes must have one (H, W), got {tuple(boundary.shape)} and {tuple(size)}")
    if last >= len(is_thing):
        raise ValueError(f"is_thing must say it of each of the {last + 1} classes, got {len(is_thing)}")


def _with_other_classes(
    instances: ExtractedInstances,
    classes: Int64[np.ndarray, "h w"],
    is_thing: Bool[np.ndarray, " c"],
    *,
    background: bool,
) -> tuple[Int32[np.ndarray, "h w"], Int64[np.ndarray, " k1"]]:
    """Ids 1..K, instances before others; and the class of each, of id 0 too, where it means nothing."""
    found = sorted(instances.classes)
    table = np.zeros(max(found, default=0) + 1, np.int32)
    table[found] = np.arange(1, len(found) + 1)
    labels: Int32[np.ndarray, "h w"] = table[instances.labels]
    kept = ~is_thing
    kept[: int(background)] = False
    others = np.flatnonzero(kept & (np.bincount(classes.ravel() + 1, minlength=len(is_thing) + 1)[1:] > 0))
    ids = np.zeros(len(is_thing) + 1, np.int32)  # the last is that of no class, -1
    ids[others] = len(found) + np.arange(1, len(others) + 1)
    labels = np.where(labels > 0, labels, ids[classes])
    positions = np.array([0, *(instances.classes[k] for k in found), *others.tolist()], np.int64)
    return labels, positions


def _confidences(
    labels: Int32[np.ndarray, "h w"], positions: Int64[np.ndarray, " k1"], semantic: Float[Tensor, "c h w"]
) -> Float[np.ndarray, " k1"]:
    """The mean probability of each segment's class over its pixels."""
    wanted = torch.from_numpy(positions[labels]).to(semantic.device)
    return _means(labels, semantic.gather(0, wanted[None])[0].float().cpu().numpy(), len(positions))


def _means(
    labels: Int32[np.ndarray, "h w"], values: Float32[np.ndarray, "h w"], count: int
) -> Float[np.ndarray, " k1"]:
    """The mean value over the pixels of each of so many ids."""
    flat = labels.ravel()
    sums, areas = np.bincount(flat, values.ravel(), count), np.bincount(flat, minlength=count)
    # sums of many numbers just below 1 may end just above it
    return np.asarray(np.minimum(sums / np.maximum(areas, 1), 1))


def _surviving(
    labels: Int32[np.ndarray, "h w"],
    positions: Int64[np.ndarray, " k1"],
    scores: Float[np.ndarray, " k1"],
    instances: int,
    minimum_score: float,
) -> Grouping:
    """Without the instances, the ids 1..`instances`, whose score is too low, and without ids that have no pixel."""
    kept = np.bincount(labels.ravel(), minlength=len(positions)) > 0
    kept[0] = False
    kept[1 : instances + 1] &= scores[1 : instances + 1] >= minimum_score
    ids = np.flatnonzero(kept)
    table = np.zeros(len(positions), np.int32)
    table[ids] = np.arange(1, len(ids) + 1)
    return Grouping(
        table[labels],
        dict(enumerate(positions[ids].tolist(), start=1)),
        dict(enumerate(scores[ids].tolist(), start=1)),
    )
