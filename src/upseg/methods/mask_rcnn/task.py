"""How `mask_rcnn` is trained: a LightningModule. Needs the `train` extra."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float, Integer, UInt8
from torch import Tensor

from upseg.data.batches import Batch
from upseg.data.sample import TruthSegment
from upseg.methods.mask_rcnn.network import MaskRcnnNetwork, class_count
from upseg.methods.mask_rcnn.segmenter import MaskRcnnSegmenter
from upseg.methods.mask_rcnn.settings import MaskRcnnSettings
from upseg.methods.mask_rcnn.targets import instance_targets, learned_segments
from upseg.metrics.cell_matching import CellMatching
from upseg.metrics.coco_mask_ap import CocoMaskAP
from upseg.segmentation import Category, Segmentation
from upseg.training.accumulator_metric import AccumulatorMetric
from upseg.training.task import Task, draw_found

OBJECT = Category(1, "object")
"""What average precision takes for the class of objects without one."""

NEW_FOR_OTHER_CLASSES = ("detector.roi_heads.box_predictor.", "detector.roi_heads.mask_predictor.")
"""What the weights begin with whose shape depends on the classes."""


class MaskRcnnTask(Task[MaskRcnnNetwork, MaskRcnnSegmenter]):
    """Trains a `MaskRcnnNetwork` by torchvision's losses, and validates its segments by COCO's mask AP.

    Learned from are the things of the samples. Crowds are left out, masks and boxes: where there is nothing else, their
    pixels count as background, as all that is not labelled does. Optimiser and learning rate are the recipe's
    (`optimization`).

    Args:
        categories: The classes, of which those of stuff are left out; a recipe leaves them out, and those of the
            training data are taken. Without any, every segment is one object without class.
        frozen_normalisation: Whether batch normalisation of the encoder stays as it is; None for: if pretrained. From
            scratch it has to learn.
        box_samples: Of the boxes of each image, on how many the heads learn in a step.
        anchor_samples: Of the anchors of each image, on how many the search learns in a step.
        validation_score: In validation, segments of at least this score count even if the settings' `minimum_score` is
            higher: average precision is made for segments in the order of their scores. In [0, 1].
        init_from: A checkpoint of the same network to start from: the averaged weights where it has them. What depends
            on the classes starts anew if there are others.

    Raises:
        ValueError: If there are classes but none of things, or a number is outside its range.
    """

    segmenter_class = MaskRcnnSegmenter
    shown = ("ap", "ap50")
    prefixes = {"cells": "cells_"}  # noqa: RUF012 - as the base declares it

    def __init__(
        self,
        categories: Sequence[Category] = (),
        settings: MaskRcnnSettings | None = None,
        pretrained: bool = True,
        frozen_normalisation: bool | None = None,
        box_samples: int = 512,
        anchor_samples: int = 256,
        validation_score: float = 0.05,
        init_from: str | None = None,
        average: float = 0.0,
    ) -> None:
        super().__init__()
        self.settings = settings or MaskRcnnSettings()
        self.categories = _things(categories)
        self.validated_settings = replace(
            self.settings, minimum_score=min(validation_score, self.settings.minimum_score)
        )
        network = MaskRcnnNetwork(
            self.settings,
            class_count(self.categories),
            pretrained=pretrained,
            frozen_normalisation=pretrained if frozen_normalisation is None else frozen_normalisation,
            box_samples=box_samples,
            anchor_samples=anchor_samples,
        )
        self.take_network(network, init_from=init_from, average=average, may_differ=NEW_FOR_OTHER_CLASSES)
        precision = CocoMaskAP(self.categories or (OBJECT,), self.settings.max_detections)
        self.precision = AccumulatorMetric(precision)
        self.cells = None if self.categories else AccumulatorMetric(CellMatching())
        self.validated_images = 0

    def losses(self, batch: Batch, index: int) -> Mapping[str, Float[Tensor, ""]]:  # noqa: ARG002
        """Torchvision's five and their sum."""
        targets = [
            instance_targets(labels, segments, self.categories)
            for labels, segments in zip(batch.segment_maps, batch.segments, strict=True)
        ]
        losses = self.network(batch.images, targets)
        return {**losses, "total": sum(losses.values(), start=batch.images.new_zeros(()))}

    def validation_step(self, batch: Batch, index: int, dataloader_idx: int = 0) -> None:  # noqa: ARG002
        """Segment each image and add it to the metrics; crowds count neither for nor against."""
        for image, segment_map, segments in zip(batch.images, batch.segment_maps, batch.segments, strict=True):
            labels = segment_map.cpu().numpy()
            self._add_precision(labels, segments, self._segment(image, self.validated_settings))
            if self.cells is not None:
                objects = np.where(np.isin(labels, list(learned_segments(segments, ()))), labels, 0)
                crowds = np.isin(labels, [s.id for s in segments if s.is_crowd])
                self.cells.update(objects, self._segment(image, self.settings).labels, valid=~crowds)

    def on_validation_epoch_end(self) -> None:
        """Log the metrics, and count images anew."""
        super().on_validation_epoch_end()
        self.validated_images = 0

    def draw_validation(self, batch: Batch) -> UInt8[np.ndarray, "h w 3"]:
        """The first image of a batch, the things in it, and those found, side by side."""
        found = self._segment(batch.images[0], self.settings)
        labels = batch.segment_maps[0].cpu().numpy()
        learned = list(learned_segments(batch.segments[0], self.categories))
        things = np.where(np.isin(labels, learned), labels, 0)
        return draw_found(batch, found, ("objects", "found"), labels=things)

    def _segment(self, image: Float[Tensor, "3 h w"], settings: MaskRcnnSettings) -> Segmentation:
        return self.segmenter(settings).segment(image.float().cpu())

    def _add_precision(
        self, labels: Integer[np.ndarray, "h w"], segments: Sequence[TruthSegment], found: Segmentation
    ) -> None:
        """Add an image to the average precision; crowds are COCO's, and only swallow what is found in them."""
        crowds = {s.id for s in segments if s.is_crowd}
        told_apart = [replace(segment, is_crowd=False) for segment in segments]
        classes = self.categories or (OBJECT,)
        truth = {i: classes[p].id for i, p in learned_segments(told_apart, self.categories).items()}
        self.precision.update(
            self.global_rank + self.trainer.world_size * self.validated_images,
            np.where(np.isin(labels, list(truth)), labels, 0),
            truth,
            found.labels,
            {s.id: (s.category or OBJECT).id for s in found},
            {s.id: s.score for s in found},
            crowd_ids=crowds,
        )
        self.validated_images += 1


def _things(categories: Sequence[Category]) -> tuple[Category, ...]:
    things = tuple(category for category in categories if category.is_thing)
    if categories and not things:
        raise ValueError(
            f"Mask R-CNN learns things, but all {len(categories)} classes of the data are stuff; make instances of "
            "class masks with `upseg split`, or mark the things in the table of categories"
        )
    return things
