"""Every weight of a loss and every argument of a task or of its targets reaches what is minimised, or is named."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from upseg.data.batches import Batch, Collate
from upseg.data.sample import Sample
from upseg.methods.baiseg import BaisegSettings
from upseg.methods.baiseg.losses import LossWeights as BaisegWeights
from upseg.methods.baiseg.targets import BaisegTargets
from upseg.methods.baiseg.task import BaisegTask
from upseg.methods.dynaseg.class_settings import DynaSegClassesSettings
from upseg.methods.dynaseg.targets import DynaSegTargets
from upseg.methods.dynaseg.task import DynaSegTask
from upseg.methods.entity import EntitySettings
from upseg.methods.entity.equations import LossWeights as EntityWeights
from upseg.methods.entity.extensions.cells import CellSettings
from upseg.methods.entity.extensions.cells.losses import CellLossWeights
from upseg.methods.entity.extensions.cells.targets import CellTargets
from upseg.methods.entity.extensions.cells.task import CellTask
from upseg.methods.entity.targets import EntityTargets
from upseg.methods.entity.task import EntityTask
from upseg.methods.panoptic import PanopticSettings
from upseg.methods.panoptic.losses import LossWeights as PanopticWeights
from upseg.methods.panoptic.targets import PanopticTargets
from upseg.methods.panoptic.task import PanopticTask
from upseg.segmentation import Category

CLASSES = (Category(1, "cat"), Category(2, "dog"), Category(3, "grass", is_thing=False))
ELSEWHERE = {"self", "categories", "settings", "loss_weights", "pretrained", "init_from", "average"}
"""Arguments of tasks with tests of their own: what is trained, and from where."""


def sample() -> Sample:
    """Cats that touch, a dog, grass, a strip of void, and depth."""
    labels = np.full((64, 64), 4, np.int32)
    labels[:6] = 0
    labels[30:34, 50:] = 0  # narrow void
    labels[10:36, 8:24], labels[10:36, 24:44], labels[44:60, 10:30] = 1, 2, 3
    depth = np.tile(np.linspace(1, 4, 64, dtype=np.float32), (64, 1))
    categories = {1: CLASSES[0], 2: CLASSES[0], 3: CLASSES[1], 4: CLASSES[2]}
    colours = np.float32([[0.5, 0.5, 0.5], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0]])  # so that lines are apart
    noise = np.random.default_rng(0).normal(0, 0.05, (64, 64, 3))
    image = np.clip(colours[labels] + noise, 0, 1).astype(np.float32)
    return Sample.from_labels(image, labels, categories=categories, depth=depth)


@dataclass(frozen=True)
class Subject:
    """A task with its targets: what they are made with, and another value for each weight and argument."""

    task: Callable[..., Any]
    targets: Callable[..., Any]
    settings: Any
    weights: Any
    of_weights: Mapping[str, Any]
    of_task: Mapping[str, Any]
    of_targets: Mapping[str, Any]
    given: Mapping[str, Any]


SUBJECTS = {
    "entity": Subject(
        EntityTask,
        EntityTargets,
        EntitySettings(backbone="resnet10t", channels=16, dimensions=32, size=None),
        EntityWeights(),
        {f.name: 7.0 for f in fields(EntityWeights)},
        {"reach": 1, "contrast_queries": 8, "contrast_negatives": 8},
        {"erosion": 1},
        {},
    ),
    "cells": Subject(
        CellTask,
        CellTargets,
        CellSettings("mobilenetv3_small_050", (8, 8, 8, 8)),
        CellLossWeights(),
        {f.name: 7.0 for f in fields(CellLossWeights)},
        {},
        {"diameter": 9.0, "border": 4.0},
        {},
    ),
    "panoptic": Subject(
        PanopticTask,
        PanopticTargets,
        PanopticSettings(
            backbone="vit_tiny_patch16_224", layers=(1, 2), decoder_channels=(8, 8, 8), grid=(16, 16), size=None,
            heads=("semantic", "instance", "depth"), maximum_depth=10.0,
        ),
        PanopticWeights(),
        {f.name: 7.0 for f in fields(PanopticWeights)},
        {},
        {
            "edge_sampling": (), "minimum_weight": 0.5, "reach": 2.0, "void_weight": 0.1,
            "semantic_boundaries": "segments", "inverse_depth": True, "grid": (8, 8),
        },
        {"categories": CLASSES, "patch": 16, "upsampling": 8, "grid": (16, 16)},
    ),
    "baiseg": Subject(
        BaisegTask,
        BaisegTargets,
        BaisegSettings(backbone="resnet10t", width=6, hidden=8, cascade=2, semantic_width=8, background=True),
        BaisegWeights(anchors=64, keys=64),
        {
            "contrast": 7.0, "boundary": 7.0, "semantic": 7.0, "temperature": 0.7, "anchors": 8, "keys": 8,
            "anchor_kinds": "both", "weighted": False, "hard": True,
        },
        {},
        {"background": False, "void_reach": 0, "background_reach": 2, "contours": "segments"},
        {"categories": CLASSES, "background": True},
    ),
    "dynaseg_classes": Subject(
        DynaSegTask,
        DynaSegTargets,
        DynaSegClassesSettings("cnn", features=6, clusters=4, blocks=1, size=None),
        None,
        {},
        {"weighting": "scf", "alpha": 2.0},
        {"floor": 4},
        {"floor": 1},
    ),
}  # fmt: skip
WITHOUT: dict[str, dict[str, str]] = {
    "panoptic": {"categories": "classes of the data", "patch": "must be the network's", "upsampling": "likewise"},
    "baiseg": {"categories": "classes of the data"},
    "dynaseg_classes": {
        "frozen_backbone": "of a backbone, which this one has not: test_task.py",
        "samples": "of the silhouette's estimate: test_floor.py",
        "seed": "likewise: test_floor.py",
    },
}


def loss(subject: Subject, weights: Any = None, task: Mapping[str, Any] | None = None, **targets: Any) -> list[float]:
    """The total, and each term, of one batch for a network with the same first weights."""
    batch: Batch = Collate(subject.targets(**{**subject.given, **targets}))([sample(), sample()])
    options = {"settings": subject.settings, "pretrained": False, **(task or {})}
    if "categories" in inspect.signature(subject.task).parameters:
        options["categories"] = CLASSES
    if weights is not None:
        options["loss_weights"] = weights
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = subject.task(**options)
    made._trainer = SimpleNamespace(current_epoch=0, world_size=1, global_rank=0)
    made._fabric = None
    return [round(float(value.detach()), 7) for value in made.losses(batch, 0).values()]


def rows(kind: str) -> Iterator[Any]:
    for method, subject in SUBJECTS.items():
        for name, value in getattr(subject, kind).items():
            yield pytest.param(method, name, value, id=f"{method}-{name}")


def arguments(function: Callable[..., Any]) -> set[str]:
    return set(inspect.signature(function).parameters) - ELSEWHERE


def test_everything_has_a_row_or_a_reason() -> None:
    for method, subject in SUBJECTS.items():
        reasons = WITHOUT.get(method, {}).keys()
        assert subject.of_task.keys() | reasons >= arguments(subject.task), method
        assert subject.of_targets.keys() | reasons >= arguments(subject.targets), method
        if subject.weights is not None:
            assert subject.of_weights.keys() == {f.name for f in fields(subject.weights)}, method


@pytest.mark.parametrize(("method", "name", "value"), list(rows("of_weights")))
def test_a_weight_reaches_the_loss(method: str, name: str, value: Any) -> None:
    subject = SUBJECTS[method]
    changed = replace(subject.weights, **{name: value})
    assert changed != subject.weights
    assert loss(subject, changed) != loss(subject, subject.weights)


@pytest.mark.parametrize(("method", "name", "value"), list(rows("of_task")))
def test_an_argument_of_a_task_reaches_the_loss(method: str, name: str, value: Any) -> None:
    subject = SUBJECTS[method]
    assert loss(subject, subject.weights, {name: value}) != loss(subject, subject.weights)


@pytest.mark.parametrize(("method", "name", "value"), list(rows("of_targets")))
def test_an_argument_of_the_targets_reaches_them_or_the_loss(method: str, name: str, value: Any) -> None:
    subject = SUBJECTS[method]
    assert loss(subject, subject.weights, **{name: value}) != loss(subject, subject.weights)
