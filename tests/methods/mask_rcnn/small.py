"""A small model for the tests, and a scene that it can learn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from upseg.data.sample import Sample
from upseg.methods.mask_rcnn import MaskRcnnSettings
from upseg.methods.mask_rcnn.network import MaskRcnnNetwork
from upseg.segmentation import Category

CATEGORIES = (Category(2, "cell"), Category(7, "star"))
SETTINGS = MaskRcnnSettings(
    backbone="test_resnet",
    channels=16,
    box_width=32,
    mask_width=8,
    mask_layers=1,
    anchor_sizes=(8.0, 12.0, 16.0, 24.0, 32.0),
    anchor_ratios=(1.0,),
    proposals=50,
    min_size=None,
    max_size=None,
    minimum_score=0.0,
    max_detections=20,
)


def network(settings: MaskRcnnSettings = SETTINGS, classes: int = 2, seed: int = 0, **options) -> MaskRcnnNetwork:
    """One with random weights, large enough for its detections to differ from place to place."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = MaskRcnnNetwork(settings, classes, **options)
        with torch.no_grad():
            made.detector.rpn.head.bbox_pred.weight.normal_(std=0.1)
            made.detector.roi_heads.box_predictor.cls_score.weight.normal_(std=0.5)
    return made


def with_settings(**changes) -> MaskRcnnSettings:
    return replace(SETTINGS, **changes)


def sample(name: str = "") -> Sample:
    """Two touching cells and a star, in colours of their own before a dark ground."""
    labels = np.zeros((48, 48), np.int32)
    labels[6:22, 4:16], labels[6:22, 16:30], labels[30:44, 24:42] = 1, 2, 3
    colours = np.array([[0.1, 0.1, 0.1], [0.9, 0.2, 0.1], [0.8, 0.6, 0.1], [0.1, 0.3, 0.9]], np.float32)
    cell, star = CATEGORIES
    return Sample.from_labels(colours[labels], labels, categories={1: cell, 2: cell, 3: star}, name=name)
