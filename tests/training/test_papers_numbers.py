"""The recipes hold the papers' numbers: each row says where in the paper a value stands."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from upseg.methods.baiseg.losses import LossWeights as BaisegWeights
from upseg.methods.baiseg.settings import BaisegSettings
from upseg.methods.dynaseg.settings import PAPER_ALPHA, PRESETS
from upseg.methods.entity.equations import LossWeights as EntityWeights
from upseg.methods.entity.settings import EntitySettings
from upseg.methods.panoptic.settings import PanopticSettings
from upseg.methods.panoptic.targets import PanopticTargets
from upseg.training.recipes import recipes
from upseg.training.schedules import Optimization

MODEL, DATA = "model.init_args", "data.init_args"
SETTINGS, TRANSFORM = f"{MODEL}.settings", f"{DATA}.transform.init_args"
ADAM = {"optimization.optimizer": "adam", "optimization.learning_rate": 5e-5, "optimization.schedule": "polynomial"}
PANOPTIC = {
    "optimization.learning_rate": 5e-4,  # Sec. 5.1
    "optimization.layer_decay": 0.8,  # Sec. 5.1 has a layer decay, its value is a choice (PAPER.md, 21)
}
LARGE = {f"{SETTINGS}.backbone": "vit_large_patch14_dinov2"}  # Sec. 5.1
NUMBERS: dict[str, dict[str, Any]] = {
    # DynaSeg, Sec. 4.1
    "dynaseg/coco-stuff27": {
        "optimization.optimizer": "sgd",
        "optimization.learning_rate": 0.1,
        "optimization.momentum": 0.9,
        "optimization.weight_decay": 1e-4,
        f"{SETTINGS}.features": 100,  # p
        f"{SETTINGS}.clusters": 27,  # the classes of the data set
        f"{SETTINGS}.extractor": "resnet18-fpn",
        f"{DATA}.targets.init_args.floor": "silhouette",  # Sec. 3.3.2
    },
    # Entity, Sec. 3.6 and 5; shares by the sizes of the four data sets
    "entity/paper": {
        "trainer.max_epochs": 60,
        "optimization.learning_rate": 1e-5,
        f"{SETTINGS}.backbone": "convnext_base",
        f"{SETTINGS}.dimensions": 128,
        f"{TRANSFORM}.size": [384, 384],
        f"{DATA}.train.0.weight": 118287,
        f"{DATA}.train.1.weight": 20210,
        f"{DATA}.train.2.weight": 28280,
    },
    # Panoptic, Sec. 5.1: three stages, Cityscapes; Sec. 5.3: the ablation
    "panoptic/coco-stage1": {
        **PANOPTIC, **LARGE, "trainer.max_epochs": 400, f"{DATA}.effective_batch": 1024,
        f"{TRANSFORM}.size": [280, 280], f"{SETTINGS}.heads": ["instance"],
    },
    "panoptic/coco-stage2": {
        **PANOPTIC, **LARGE, "trainer.max_epochs": 200, f"{DATA}.effective_batch": 512, f"{TRANSFORM}.size": [336, 336],
    },
    "panoptic/coco-stage2-depth": {
        **PANOPTIC, **LARGE, "trainer.max_epochs": 200, f"{DATA}.effective_batch": 512, f"{TRANSFORM}.size": [336, 336],
    },
    "panoptic/coco-stage3": {
        **PANOPTIC, **LARGE, "trainer.max_epochs": 50, f"{DATA}.effective_batch": 16, f"{TRANSFORM}.size": [1008, 1008],
        f"{SETTINGS}.size": 1008,
    },
    "panoptic/coco-stage3-depth": {
        **PANOPTIC, **LARGE, "trainer.max_epochs": 50, f"{DATA}.effective_batch": 16, f"{TRANSFORM}.size": [1008, 1008],
        f"{SETTINGS}.maximum_depth": 10.0,
    },
    "panoptic/cityscapes": {
        **PANOPTIC, **LARGE, "trainer.max_epochs": 400, f"{TRANSFORM}.size": [784, 1568], f"{SETTINGS}.size": 1568,
        f"{SETTINGS}.grid": [160, 320],
    },
    "panoptic/ablation": {
        **PANOPTIC, "trainer.max_epochs": 200, f"{TRANSFORM}.size": [420, 420],
        f"{SETTINGS}.backbone": "vit_base_patch14_dinov2",
    },
    # BAISeg, Sec. 4.2: batches of 16 at 416, 60,000 and 480,000 iterations
    "baiseg/voc": {
        **ADAM, f"{DATA}.batch_size": 16, f"{TRANSFORM}.size": [416, 416], f"{SETTINGS}.backbone": "hrnet_w48",
        f"{DATA}.epoch_length": 96_000, "trainer.max_epochs": 10,
    },
    "baiseg/coco": {
        **ADAM, f"{DATA}.batch_size": 16, f"{TRANSFORM}.size": [416, 416], f"{SETTINGS}.backbone": "hrnet_w48",
        f"{DATA}.epoch_length": 96_000, "trainer.max_epochs": 80,
    },
}  # fmt: skip

CHOICES: dict[str, dict[str, Any]] = {
    "entity/paper": {"optimization.weight_decay": 0.05, f"{DATA}.targets.init_args.erosion": 5},  # entity/PAPER.md 8, 9
    # panoptic/PAPER.md 21, 23
    "panoptic/coco-stage1": {f"{TRANSFORM}.scale": [0.1, 1.0], "optimization.warm_up": 0.025},
    "panoptic/coco-stage2": {f"{TRANSFORM}.scale": [0.2, 1.0], "optimization.warm_up": 0.025},
    "panoptic/coco-stage3": {
        f"{TRANSFORM}.scale": [0.7, 1.3], f"{TRANSFORM}.crop": "jitter", "optimization.warm_up": 0.025,
    },
    # dynaseg/PAPER.md, one network for a data set, 5 and 8
    "dynaseg/coco-stuff27": {
        f"{DATA}.batch_size": 16, "trainer.max_epochs": 2, f"{TRANSFORM}.size": 320, f"{MODEL}.frozen_backbone": None,
    },
    "dynaseg/folder": {f"{MODEL}.frozen_backbone": True, "optimization.learning_rate": 0.01},
}  # fmt: skip
"""Where a paper is silent: what its PAPER.md says that the recipes do."""


def value_at(content: Any, place: str) -> Any:
    for key in place.split("."):
        content = content[int(key)] if isinstance(content, list) else content.get(key)
    return content


@pytest.mark.parametrize("recipe", NUMBERS)
def test_a_recipe_has_its_paper_s_numbers(recipe: str) -> None:
    content = yaml.safe_load(recipes()[recipe].read_text("utf-8"))
    assert {place: value_at(content, place) for place in NUMBERS[recipe]} == NUMBERS[recipe]


@pytest.mark.parametrize("recipe", CHOICES)
def test_a_recipe_has_the_choices_that_are_written_down(recipe: str) -> None:
    content = yaml.safe_load(recipes()[recipe].read_text("utf-8"))
    assert {place: value_at(content, place) for place in CHOICES[recipe]} == CHOICES[recipe]


@pytest.mark.parametrize(
    ("recipe", "weights", "sizes"),
    [("panoptic/coco-stage3-depth", [None, None], 2), ("panoptic/coco-stage2-depth", [None, None], 2)],
)
def test_data_sets_share_by_size(recipe: str, weights: list[None], sizes: int) -> None:
    train = value_at(yaml.safe_load(recipes()[recipe].read_text("utf-8")), f"{DATA}.train")
    assert (len(train), [source.get("weight") for source in train]) == (sizes, weights)


@pytest.mark.parametrize("recipe", [name for name in NUMBERS if name.startswith("baiseg")])
def test_adam_has_no_decay(recipe: str) -> None:
    """BAISeg, Sec. 4.2: Adam, 5e-5, and no word of a decay."""
    options = yaml.safe_load(recipes()[recipe].read_text("utf-8"))["optimization"]
    assert Optimization(**options).decay == 0


def test_the_defaults_that_recipes_leave_out_are_the_papers() -> None:
    entity = EntityWeights()
    assert (entity.contrast, entity.gradient, entity.unit_length) == (0.125, 0.025, 0.05)  # Sec. 3.6
    assert EntitySettings().dimensions == 128  # Sec. 3.6
    baiseg = BaisegWeights()
    assert (baiseg.contrast, baiseg.boundary, baiseg.semantic) == (0.3, 50.0, 1.0)  # Sec. 3.5
    assert (baiseg.temperature, baiseg.anchor_kinds, baiseg.weighted) == (0.2, "boundary", True)  # Tables 7, 9; Eq. 6
    settings = BaisegSettings()
    assert (settings.cascade, settings.hidden, settings.width) == (4, 128, 48)  # Tables 4, 5, 6
    assert (settings.contrast_dimensions, settings.contrast_module) == (1, 2)  # Tables 10, 9
    assert PanopticSettings().grid == (80, 80)  # Sec. 5.2
    assert PanopticSettings().decoder_channels == (512, 256, 256)  # three transposed convolutions, Sec. 5.1
    assert PanopticTargets().minimum_weight == 0  # w_min, Sec. 3.3.2
    assert dict(PAPER_ALPHA) == {"fsf": 15.0, "scf": 50.0, "fixed": 5.0}  # Sec. 4.1, Table 1
    paper = PRESETS["paper"]
    assert (paper.blocks, paper.features, paper.clusters) == (3, 100, 100)  # Sec. 4.1
    assert (paper.learning_rate, paper.momentum, paper.weight_decay) == (0.1, 0.9, 1e-4)  # Sec. 4.1
