"""How `baiseg` is trained: a LightningModule. Needs the `train` extra."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int64, UInt8
from torch import Tensor
from torchmetrics.classification import MulticlassJaccardIndex

from upseg.data.batches import Batch
from upseg.data.sample import IGNORE, TruthSegment
from upseg.errors import UpsegError
from upseg.functional.random_numbers import seeded_generator
from upseg.methods.baiseg.losses import LossWeights, baiseg_losses
from upseg.methods.baiseg.network import BaisegNetwork
from upseg.methods.baiseg.segmenter import BaisegSegmenter
from upseg.methods.baiseg.settings import BaisegSettings
from upseg.methods.baiseg.targets import class_count
from upseg.metrics.voc_mask_ap import VocMaskAP
from upseg.segmentation import Category, Segmentation
from upseg.training.accumulator_metric import AccumulatorMetric
from upseg.training.task import Task, draw_found

OBJECT = Category(1, "object")
"""What instances are in the metrics where the data has no classes."""
SEED_STRIDE = 1_000_003
"""More than an epoch has batches: each has a seed of its own."""


class BaisegTask(Task[BaisegNetwork, BaisegSegmenter]):
    """Trains a `BaisegNetwork` by Eq. 7 from class masks alone, and validates the instances that it leads to.

    Paper: Sec. 3.5 and 4.2. No loss sees an instance;
    the metrics do, where the validation data has them: `val/map50` and so on with the network's own semantic map (not
    for a model without a semantic branch), and `val/given_map50` with that of the ground truth.

    Args:
        loss_weights: Of the losses, and how pixels are drawn for the contrast.
        init_from: A checkpoint of the same network to start from; a last layer of other classes starts anew.

    Raises:
        ValueError: If `average` is not in [0, 1), or a part of the network would learn nothing: its loss has weight 0.
    """

    segmenter_class = BaisegSegmenter
    shown = ("map50", "given_map50", "mean_iou")
    prefixes = {"given_scores": "given_", "semantic_scores": "mean_iou"}  # noqa: RUF012 - as the base declares it

    def __init__(
        self,
        categories: Sequence[Category] = (),
        settings: BaisegSettings | None = None,
        loss_weights: LossWeights | None = None,
        pretrained: bool = True,
        init_from: str | None = None,
        average: float = 0.0,
    ) -> None:
        super().__init__()
        self.settings = settings or BaisegSettings()
        self.categories = tuple(categories)
        self.loss_weights = loss_weights or LossWeights()
        _require_losses(self.settings, self.loss_weights)
        classes = class_count(self.categories, self.settings.background)
        if classes < 2 and self.settings.semantic_width is not None:
            raise UpsegError(
                "baiseg tells classes apart, and this data has one class and no background beside it: "
                "open the data with background=true, or give the setting background"
            )
        network = BaisegNetwork(self.settings, classes, pretrained=pretrained)
        self.take_network(network, init_from=init_from, average=average, may_differ=("semantic.", "projection."))
        things = [category for category in self.categories if category.is_thing] or [OBJECT]
        self.given_scores = AccumulatorMetric(VocMaskAP(things))
        own = self.settings.semantic_width is not None
        self.scores = AccumulatorMetric(VocMaskAP(things)) if own else None
        self.semantic_scores = MulticlassJaccardIndex(classes, ignore_index=IGNORE) if own else None

    def losses(self, batch: Batch, index: int) -> Mapping[str, Float[Tensor, ""]]:
        """Eq. 7 and its terms; the batch's `targets` are those of `BaisegTargets`: maps of classes, and contours."""
        seed = (self.current_epoch * SEED_STRIDE + index) * self.trainer.world_size + self.global_rank
        generator = seeded_generator(seed)  # so that a resumed training draws what it would have drawn
        return baiseg_losses(self.network(batch.images), batch.targets, self.loss_weights, generator)

    def validation_step(self, batch: Batch, index: int, dataloader_idx: int = 0) -> None:  # noqa: ARG002
        """Segment each image with its own and with the given classes, and add it to the metrics."""
        for number, segments in enumerate(batch.segments):
            image, labels = batch.images[number], batch.segment_maps[number].cpu().numpy()
            given = self._segment(image, _class_ids(labels, segments))
            _add_instances(self.given_scores, labels, segments, given)
            if self.scores is not None and self.semantic_scores is not None:
                _add_instances(self.scores, labels, segments, self._segment(image))
                classes = self.segmenter().predict(image[None])["semantic"].argmax(1)
                self.semantic_scores.update(classes, batch.targets["classes"][number][None])

    def draw_validation(self, batch: Batch) -> UInt8[np.ndarray, "h w 3"]:
        """The first image of a batch, its boundary map, its instances and those found, side by side."""
        image, labels = batch.images[0], batch.segment_maps[0].cpu().numpy()
        segmenter = self.segmenter()
        given = None if self.semantic_scores is not None else _class_ids(labels, batch.segments[0])
        found = segmenter.segment(image.float().cpu(), semantic_map=given)
        boundary = segmenter.predict(image[None])["boundary"][0, 0].float().sigmoid().cpu().numpy()
        grey = np.rint(boundary * 255).astype(np.uint8)[..., None].repeat(3, axis=2)
        return draw_found(batch, found, between={"boundary": grey})

    def _segment(self, image: Float[Tensor, "3 h w"], classes: Int64[np.ndarray, "h w"] | None = None) -> Segmentation:
        return self.segmenter().segment(image.float().cpu(), semantic_map=classes)


def _add_instances(
    metric: AccumulatorMetric,
    labels: Int64[np.ndarray, "h w"],
    segments: Sequence[TruthSegment],
    found: Segmentation,
) -> None:
    """Add an image to the average precision: things against things, crowds left out."""
    truth = {s.id: (s.category or OBJECT).id for s in segments if s.is_thing and not s.is_crowd}
    crowds = [s.id for s in segments if s.is_crowd]
    predicted = {s.id: s for s in found if s.category is None or s.category.is_thing}
    metric.update(
        _only(labels, truth),
        truth,
        _only(found.labels, predicted),
        {number: (s.category or OBJECT).id for number, s in predicted.items()},
        {number: 1.0 if s.score is None else s.score for number, s in predicted.items()},
        valid=~np.isin(labels, crowds),
    )


def _require_losses(settings: BaisegSettings, loss_weights: LossWeights) -> None:
    """A part without a loss is an error: it would stay random, and training on several devices waits for all parts."""
    if settings.contrast_dimensions and not loss_weights.contrast:
        raise ValueError(
            "the weight contrast is 0, so the projection would learn nothing; set contrast_dimensions to 0 too"
        )
    if settings.semantic_width is not None and not loss_weights.semantic:
        raise ValueError(
            "the weight semantic is 0, so the semantic branch would learn nothing; set semantic_width to null too"
        )
    if not loss_weights.boundary:
        raise ValueError("the weight boundary is 0, but the boundary map is what the method needs; set it above 0")


def _class_ids(labels: Int64[np.ndarray, "h w"], segments: Sequence[TruthSegment]) -> Int64[np.ndarray, "h w"]:
    """The class id of each pixel, -1 without one: all that a map of classes says, whatever instances there are."""
    table: Int64[np.ndarray, " k1"] = np.full(len(segments) + 1, IGNORE, np.int64)
    table[1:] = [(segment.category or OBJECT).id for segment in segments]
    return np.take(table, labels)


def _only(labels: np.ndarray, numbers: Mapping[int, Any]) -> np.ndarray:
    return np.where(np.isin(labels, list(numbers)), labels, 0)
