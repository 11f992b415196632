"""Every setting of every method reaches the code: changing it changes the network's outputs, the answer or the fit.

A row of the table is a field of the method's settings and another value for it, or that value and what else has to be
set for it to matter. A setting without a row must be named in `WITHOUT`, with the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.methods.baiseg.drawn import drawing, drawn_segmenter, scene
from tests.methods.contract import drawn_image
from upseg.methods.baiseg import BaisegSegmenter, BaisegSettings
from upseg.methods.baiseg.network import BaisegNetwork
from upseg.methods.dynaseg import DynaSegSegmenter, DynaSegSettings
from upseg.methods.dynaseg.class_segmenter import DynaSegClassSegmenter, label_categories
from upseg.methods.dynaseg.class_settings import DynaSegClassesSettings
from upseg.methods.dynaseg.fit import fit_network
from upseg.methods.entity import EntitySegmenter, EntitySettings
from upseg.methods.entity.extensions.cells import CellSegmenter, CellSettings
from upseg.methods.mask_rcnn import MaskRcnnSegmenter, MaskRcnnSettings
from upseg.methods.panoptic import PanopticSegmenter, PanopticSettings
from upseg.models.registry import METHODS
from upseg.segmentation import Category, Segmentation

IMAGE = drawn_image(40, 56)
LARGE = drawn_image(72, 100)
THREADS = "torch's threads: the last digits of sums alone may depend on it"
CATEGORIES = (Category(1, "cat"), Category(2, "dog"), Category(3, "grass", is_thing=False))


class With(NamedTuple):
    """A value that matters only where other settings have certain values."""

    value: Any
    context: Mapping[str, Any]


@dataclass(frozen=True)
class Subject:
    """A method: settings to start from, what can be seen of it, and another value for each setting."""

    base: Any
    observe: Callable[[Any], Any]
    changes: Mapping[str, Any]


def facts(result: Segmentation) -> list[Any]:
    return [
        result.labels.tobytes(),
        [(s.score, s.parent, s.category and s.category.id) for s in result],
    ]


def seeded(make: Callable[[], nn.Module]) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return make()


def outputs(network: nn.Module, image: np.ndarray) -> list[Any]:
    """Shapes and sums of what a network gives in training, where every head speaks."""
    batch = torch.from_numpy(image.astype(np.float32) / 255).permute(2, 0, 1)[None].repeat(2, 1, 1, 1)
    with torch.no_grad():
        found = network.train()(batch)
    network.eval()
    named = found.items() if isinstance(found, Mapping) else enumerate([found] if isinstance(found, Tensor) else [])
    return [(name, tuple(value.shape), float(value.double().sum())) for name, value in named]


def observe_dynaseg(settings: DynaSegSettings) -> list[Any]:
    segmenter = DynaSegSegmenter(settings)
    seen: list[Any] = facts(segmenter.segment(IMAGE))
    if settings.steps:
        reduced = segmenter._reduced(IMAGE.astype(np.float32) / 255)
        fit = fit_network(reduced, settings, segmenter._floor(reduced))
        seen += [fit.losses, fit.label_counts, segmenter._floor(reduced)]
    return seen


def observe_learned(
    kind: Any, categories: tuple[Category, ...], image: np.ndarray, sharper: Callable[[Any], Any] = lambda _: None
) -> Callable[[Any], list[Any]]:
    def observe(settings: Any) -> list[Any]:
        empty = object.__new__(kind)
        empty.settings, empty.categories = settings, categories
        network = seeded(empty.make_network)
        with torch.no_grad():
            sharper(network)
        shapes = [(name, tuple(value.shape)) for name, value in network.state_dict().items()]
        segmenter = kind(settings, categories=categories, network=network.eval())
        answer = facts(segmenter.segment(image))
        if getattr(settings, "predicts_depth", False):
            answer.append(segmenter.segment_with_depth(image)[1].values.tobytes())
        return [shapes, answer]

    return observe


def observe_baiseg(settings: BaisegSettings) -> list[Any]:
    """The network by its own outputs; the extraction on boundaries that are drawn."""
    image = drawing(scene()).astype(np.float32) / 255
    image[20:24, 26:30, 2] = 0.6  # a weak stretch of boundary, and noise
    image[..., 2] += np.random.default_rng(0).uniform(0, 0.3, image.shape[:2]).astype(np.float32)
    network = seeded(lambda: BaisegNetwork(settings, 3 + settings.background))
    names = [f.name for f in fields(settings) if f.name not in ("semantic_width", *NETWORK)]
    drawn = drawn_segmenter(**{name: getattr(settings, name) for name in names})
    own = BaisegSegmenter(settings, categories=CATEGORIES, network=network.eval())
    with torch.no_grad():
        pixels = torch.from_numpy(LARGE.astype(np.float32) / 255).permute(2, 0, 1)[None]
        in_tiles = own._probabilities(pixels, None, own=settings.semantic_width is not None)[0].double().sum().item()
    return [outputs(network, IMAGE), facts(drawn.segment(np.clip(image, 0, 1))), in_tiles]


NETWORK = (
    "backbone", "levels", "width", "cascade", "hidden", "fusion", "attention", "contrast_dimensions",
    "contrast_projection", "contrast_module",
)  # fmt: skip
VOID = {"background": "void", "bandwidth": 60.0}
SUBJECTS: dict[str, Subject] = {
    "dynaseg": Subject(
        DynaSegSettings(steps=5, features=6, clusters=6, crop=12, compare_by="colour", floor=1),
        observe_dynaseg,
        {
            "extractor": With("resnet18-fpn", {"pretrained": False}),
            "features": 8, "clusters": 8, "blocks": 2, "weighting": "scf", "alpha": 1.0, "steps": 7,
            "learning_rate": 0.01, "momentum": 0.0, "weight_decay": 0.5, "floor": 6, "crop": None,
            "precision": "float32", "working_pixels": 300, "grouping": "labels",
            "connected": With(False, {"grouping": "labels"}), "compare_by": "imagenet", "detail": 0.95, "seed": 1,
        },
    ),
    "dynaseg_classes": Subject(
        DynaSegClassesSettings("cnn", features=6, clusters=4, blocks=1, size=20),
        lambda settings: observe_learned(DynaSegClassSegmenter, label_categories(settings.clusters), IMAGE)(settings),
        {"extractor": "lite0-fpn", "features": 8, "clusters": 6, "blocks": 2, "size": None},
    ),
    "entity": Subject(
        EntitySettings(backbone="resnet10t", channels=8, dimensions=6, size=24, scales=(1.0, 1.5), tile=64, overlap=8),
        observe_learned(EntitySegmenter, (), IMAGE),
        {
            "backbone": "resnet14t", "channels": 12, "dimensions": 8, "positions": 16, "background": "void",
            "size": 30, "scales": (1.0,),
            "tile": With(32, {"size": None}), "overlap": With(16, {"size": None, "tile": 32}),
            "memory": 1e-5, "bandwidth": 20.0, "window": 16, "connected": True, "minimum_area": 60,
            "minimum_thickness": 6, "minimum_score": 0.97, "fill_holes": With(True, VOID), "trim": With(2, VOID),
            "minimum_added_area": With(2000, {"bandwidth": 20.0}),
        },
    ),
    "cells": Subject(
        CellSettings(
            "mobilenetv3_small_050", (8, 8, 8, 8), foreground=0.5, largest=64, tile=64, overlap=16, minimum_area=0.0,
            minimum_score=0.0, border_weight=0.5, smoothing=1.0, prominence=0.05,
        ),
        observe_learned(CellSegmenter, (), LARGE, lambda network: network.head.weight.mul_(40)),
        {
            "backbone": "mobilenetv3_small_075", "channels": (8, 8, 8, 12),
            "canonical": With(12.0, {"diameter": 18.0}), "diameter": 30.0,
             "largest": 96, "enlarged": 0.4, "stretch": False, "flips": True,
            "tile": With(96, {"diameter": 12.0}), "overlap": With(32, {"diameter": 12.0}), "foreground": 0.45,
            "border_weight": 0.0, "smoothing": 4.0, "prominence": 0.3, "minimum_area": 1.0, "minimum_score": 0.52,
        },
    ),
    "panoptic": Subject(
        PanopticSettings(
            backbone="vit_tiny_patch16_224", layers=(1, 2), decoder_channels=(8, 8, 8), grid=(16, 16), size=32,
            heads=("semantic", "instance", "depth"), maximum_depth=10.0, frequencies=3, minimum_votes=0.0,
            minimum_thing_area=0.0, minimum_stuff_area=0.0,
        ),
        observe_learned(PanopticSegmenter, CATEGORIES, IMAGE),
        {
            "backbone": "vit_small_patch16_224", "patch": 8, "layers": (1, 3), "decoder_channels": (8, 8),
            "heads": With(("semantic", "instance"), {"maximum_depth": None}), "encoding": "rgb", "frequencies": 2,
            "grid": (8, 8), "maximum_depth": 5.0, "size": 48, "suppression_radius": 20.0, "minimum_votes": 0.9,
            "minimum_thing_area": 0.9, "minimum_stuff_area": 0.9, "minimum_score": 0.99, "relative": True,
        },
    ),
    "baiseg": Subject(
        BaisegSettings(
            backbone="resnet10t", width=6, hidden=8, cascade=2, semantic_width=8, boundary_threshold=0.3,
            marker_ratio=0.6, minimum_area=0, tile=64, overlap=8,
        ),
        observe_baiseg,
        {
            "backbone": "resnet14t", "levels": (-1,), "width": 8, "resolution": 2, "cascade": 3, "hidden": 12,
            "fusion": False, "attention": False, "contrast_dimensions": 2, "contrast_projection": "mlp",
            "contrast_module": 1, "semantic_width": None, "semantic_resolution": 16, "background": True, "size": 40,
            "max_pixels": 800, "tile": 32, "overlap": 24, "boundary_threshold": 0.9,
            "dilations": 3, "marker_ratio": 0.95, "distance_threshold": 0.8, "flood": "image",
            "prominence": 0.5, "boundary_depth": With(30.0, {"prominence": 0.5}),
            "semantic_contours": False, "refine": False, "closing": With(15, {"semantic_contours": False}),
            "minimum_area": 700, "minimum_score": 0.95,
        },
    ),
    "mask_rcnn": Subject(
        MaskRcnnSettings(
            backbone="resnet10t", channels=8, box_width=8, mask_width=8, mask_layers=1,
            anchor_sizes=(4.0, 8.0, 16.0, 32.0, 64.0), proposals=20, min_size=40, max_size=80,
            minimum_score=0.0, minimum_visible=0.0, mask_threshold=0.3,
        ),
        observe_learned(MaskRcnnSegmenter, CATEGORIES[:2], IMAGE),
        {
            "backbone": "resnet14t", "channels": 12, "box_width": 12, "mask_width": 12, "mask_layers": 2,
            "anchor_sizes": (6.0, 8.0, 16.0, 32.0, 64.0), "anchor_ratios": (1.0,), "proposals": 5, "min_size": 30,
            "max_size": 44, "minimum_score": 0.6, "nms_threshold": 0.05, "max_detections": 2, "mask_threshold": 0.7,
            "minimum_visible": 0.9, "minimum_area": 300,
        },
    ),
}  # fmt: skip
WITHOUT: dict[str, dict[str, str]] = {
    "dynaseg": {
        "threads": THREADS,
        "learned_level": "needs an image with entities; extensions/test_entity_levels.py has it",
        "pretrained": "needs a download; test_settings.py and test_network.py have it",
        "weights": "needs a file; test_fit.py has it",
    },
    "dynaseg_classes": {"threads": THREADS},
    "entity": {
        "threads": THREADS,
        "seed": "maps of up to 4,096 pixels are taken whole; test_mean_shift.py has larger ones",
    },
    "cells": {"threads": THREADS, "passes": "needs a network that knows sizes: its test_segmenter.py has one"},
    "panoptic": {"threads": THREADS},
    "baiseg": {"threads": THREADS},
    "mask_rcnn": {"threads": THREADS},
}


def rows() -> Iterator[Any]:
    for method, subject in SUBJECTS.items():
        for name, change in subject.changes.items():
            yield pytest.param(method, name, change, id=f"{method}-{name}")


def test_every_method_and_every_setting_has_a_row_or_a_reason() -> None:
    assert SUBJECTS.keys() == METHODS.keys()
    for method, subject in SUBJECTS.items():
        assert subject.changes.keys() | WITHOUT[method].keys() == {f.name for f in fields(subject.base)}
        assert not subject.changes.keys() & WITHOUT[method].keys()


@pytest.mark.parametrize(("method", "name", "change"), list(rows()))
def test_a_setting_reaches_the_code(method: str, name: str, change: Any) -> None:
    subject = SUBJECTS[method]
    change = change if isinstance(change, With) else With(change, {})
    base = replace(subject.base, **change.context)
    changed = replace(base, **{name: change.value})
    assert changed != base
    assert subject.observe(changed) != subject.observe(base)
