"""The segmentation methods by name, described without importing them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Method:
    """One segmentation method, described without importing it.

    Attributes:
        description: One line for people.
        settings: `module:class` of its settings, a frozen dataclass that checks its own values.
        segmenter: `module:class` of its segmenter, made with `(settings, device)`; of a learned method it is a
            `LearnedSegmenter`, made also with `weights` and `categories`.
        learned: Whether it needs weights.
        reports_progress: Whether `segment`, and `split` where there is one, have a parameter `progress`, called with
            (steps done, those there are).
        splits_masks: Whether its segmenter is a `Splitter`, which cuts class masks into instances.
        predicts_depth: Whether its segmenter is a `DepthSegmenter`; its settings then say by a property of that name
            whether a model was trained for depth.
        has_hierarchy: Whether its results have several levels of detail; its settings then say by a property of that
            name whether a model's do.
        embeds: Whether its segmenter is an `EmbeddingSegmenter`: features of pixels are grouped, and can be again.
        in_blocks: Whether its segmenter has `segment_in_blocks`, for images that do not fit into memory.
        pictures: What its segmenter, a `PictureSegmenter`, can draw beside segments.
    """

    description: str
    settings: str
    segmenter: str
    learned: bool = False
    reports_progress: bool = False
    splits_masks: bool = False
    predicts_depth: bool = False
    has_hierarchy: bool = False
    embeds: bool = False
    in_blocks: bool = False
    pictures: tuple[str, ...] = ()


METHODS: dict[str, Method] = {
    "dynaseg": Method(
        "a hierarchy of regions of the one image, or a small network fitted to it: needs no training",
        "upseg.methods.dynaseg:DynaSegSettings",
        "upseg.methods.dynaseg:DynaSegSegmenter",
        reports_progress=True,
        has_hierarchy=True,
        in_blocks=True,
        pictures=("snapshots",),
    ),
    "dynaseg_classes": Method(
        "classes found without labels: one network for a whole data set, the same labels in every image",
        "upseg.methods.dynaseg.class_settings:DynaSegClassesSettings",
        "upseg.methods.dynaseg.class_segmenter:DynaSegClassSegmenter",
        learned=True,
    ),
    "entity": Method(
        "class-agnostic: an embedding of each pixel, grouped by mean shift on the projective sphere",
        "upseg.methods.entity:EntitySettings",
        "upseg.methods.entity:EntitySegmenter",
        learned=True,
        reports_progress=True,
        embeds=True,
        pictures=("features",),
    ),
    "cells": Method(
        "objects alike and many, such as nuclei, of any size: borders and inner distance, flooded from its peaks",
        "upseg.methods.entity.extensions.cells:CellSettings",
        "upseg.methods.entity.extensions.cells:CellSegmenter",
        learned=True,
        reports_progress=True,
        in_blocks=True,
    ),
    "panoptic": Method(
        "things and stuff with their classes: each pixel says where its object's centre is; depth too, if trained for",
        "upseg.methods.panoptic:PanopticSettings",
        "upseg.methods.panoptic:PanopticSegmenter",
        learned=True,
        predicts_depth=True,
    ),
    "baiseg": Method(
        "instances, learned from class masks alone: boundaries between objects, cut by a watershed; cuts masks too",
        "upseg.methods.baiseg:BaisegSettings",
        "upseg.methods.baiseg:BaisegSegmenter",
        learned=True,
        reports_progress=True,
        splits_masks=True,
        pictures=("boundaries",),
    ),
    "mask_rcnn": Method(
        "things with their classes: torchvision's Mask R-CNN, to be trained on instances, real ones or pseudo labels",
        "upseg.methods.mask_rcnn:MaskRcnnSettings",
        "upseg.methods.mask_rcnn:MaskRcnnSegmenter",
        learned=True,
    ),
}
"""The methods by name. A name without a learned method's weights is no model; `load_model` says so."""
