"""Every accumulator, with a function that draws the arguments of its `update` from a seed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tests.metrics.strategies import blobs
from tests.metrics.test_segment_similarity import scene
from upseg.metrics import (
    Accumulator,
    CellMatching,
    ClassAgnostic,
    CocoMaskAP,
    Depth,
    HungarianScores,
    PanopticQuality,
    RegionIoU,
    RegionSweep,
    VocMaskAP,
)
from upseg.metrics.segment_similarity import SegmentSimilarities
from upseg.segmentation import Category

CLASSES = (Category(0, "dog"), Category(1, "sky", is_thing=False))
TABLE = {i: i % 2 for i in range(1, 7)}


def maps(seed: int) -> tuple[np.ndarray, np.ndarray]:
    labels = blobs(seed, 24, 28, 6) % 6 + 1
    return labels, np.roll(labels, seed % 3, axis=1)


def used(labels: np.ndarray) -> dict[int, int]:
    return {i: c for i, c in TABLE.items() if (labels == i).any()}


def labelled(seed: int) -> tuple[Any, ...]:
    truth, prediction = maps(seed)
    return truth, used(truth), prediction, used(prediction)


def scored(seed: int) -> tuple[Any, ...]:
    return *labelled(seed), {i: i / 7 + seed / 100 for i in TABLE}


CASES: dict[str, tuple[Accumulator, Callable[[int], tuple[Any, ...]]]] = {
    "region_iou": (RegionIoU(), lambda s: ([maps(s)[0], maps(s + 1)[0]], maps(s)[1])),
    "region_sweep": (RegionSweep(2), lambda s: ([maps(s)[0]], [maps(s + 1)[0], maps(s + 2)[1]])),
    "class_agnostic": (ClassAgnostic(), maps),
    "panoptic_quality": (PanopticQuality(CLASSES), labelled),
    "voc": (VocMaskAP(CLASSES), scored),
    "coco": (CocoMaskAP(CLASSES), lambda s: (s, *scored(s))),
    "cells": (CellMatching(), maps),
    "hungarian": (HungarianScores(CLASSES, 6), lambda s: (maps(s)[0] % 2, maps(s)[1])),
    "depth": (Depth(), lambda s: tuple(m.astype(np.float64) for m in maps(s))),
    "similarity": (SegmentSimilarities(), scene),
}
