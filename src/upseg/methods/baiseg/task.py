"""How `baiseg` is trained: a LightningModule. Needs the `train` extra."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import lightning
import numpy as np
import torch
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor
from torchmetrics.classification import MulticlassJaccardIndex

from upseg.data.batches import Batch
from upseg.data.sample import IGNORE, TruthSegment
from upseg.formats.montage import side_by_side
from upseg.formats.overlay import draw_overlay
from upseg.layers.averaging import AveragedTraining
from upseg.methods.baiseg.losses import LossWeights, baiseg_losses
from upseg.methods.baiseg.network import BaisegNetwork
from upseg.methods.baiseg.segmenter import BaisegSegmenter
from upseg.methods.baiseg.settings import BaisegSettings
from upseg.methods.baiseg.targets import class_count
from upseg.metrics.voc_mask_ap import VocMaskAP
from upseg.models.checkpoints import RECORD_KEY, checkpoint_record, take_over_weights, training_account
from upseg.segmentation import Category, Segmentation
from upseg.training.accumulator_metric import AccumulatorMetric

SHOWN = ("map50", "given_map50", "mean_iou")
"""The metrics that the progress bar has."""
OBJECT = Category(1, "object")
"""What instances are in the metrics where the data has no classes."""
OWN, GIVEN = "own", "given"
"""Whose semantic map cuts instances out: the network's or the ground truth's."""
SEED_STRIDE = 1_000_003
"""More than an epoch has batches: each has a seed of its own."""


class BaisegTask(AveragedTraining[BaisegNetwork], lightning.LightningModule):
    """Trains a `BaisegNetwork` by Eq. 7 from class masks alone, and validates the instances that it leads to.

    Paper: Sec. 3.5 and 4.2. Optimiser and learning rate are the recipe's (`optimization`). No loss sees an instance;
    the metrics do, where the validation data has them: `val/map50` and so on with the network's own semantic map (not
    for a model without a semantic branch), and `val/given_map50` with that of the ground truth.

    Args:
        categories: The classes; a recipe leaves them out, and those of the training data are taken.
        settings: Of the network and of the segmentation that it is trained for; both go into the model folder.
        weights: Of the losses, and how pixels are drawn for the contrast.
        pretrained: Whether the encoder starts from published weights, which are downloaded once.
        init_from: A checkpoint of the same network to start from; a last layer of other classes starts anew.
        average: Decay per step of the moving average of the weights, which is what is validated and exported, in
            [0, 1); 0 for the weights as they are.

    Raises:
        ValueError: If `average` is not in [0, 1), or a part of the network would learn nothing: its loss has weight 0.
    """

    def __init__(
        self,
        categories: Sequence[Category] = (),
        settings: BaisegSettings | None = None,
        weights: LossWeights | None = None,
        pretrained: bool = True,
        init_from: str | None = None,
        average: float = 0.0,
    ) -> None:
        super().__init__()
        self.settings = settings or BaisegSettings()
        self.categories = tuple(categories)
        self.weights = weights or LossWeights()
        _require_losses(self.settings, self.weights)
        classes = class_count(self.categories, self.settings.background)
        network = BaisegNetwork(self.settings, classes, pretrained=pretrained)
        self.before: Mapping[str, Any] = {}
        if init_from is not None:
            self.before = take_over_weights(network, init_from, may_differ=("semantic.", "projection."))
        self.take_network(network, average)
        things = [category for category in self.categories if category.is_thing] or [OBJECT]
        self.scores = torch.nn.ModuleDict({GIVEN: AccumulatorMetric(VocMaskAP(things))})
        self.semantic_scores: MulticlassJaccardIndex | None = None
        if self.settings.semantic_width is not None:
            self.scores[OWN] = AccumulatorMetric(VocMaskAP(things))
            self.semantic_scores = MulticlassJaccardIndex(classes, ignore_index=IGNORE)

    def training_step(self, batch: Batch, index: int) -> Float[Tensor, ""]:
        """The loss of one batch; its `targets` are those of `BaisegTargets`: maps of classes and their contours."""
        seed = (self.current_epoch * SEED_STRIDE + index) * self.trainer.world_size + self.global_rank
        generator = torch.Generator().manual_seed(seed)  # so that a resumed training draws what it would have drawn
        losses = baiseg_losses(self.network(batch.images), batch.targets, self.weights, generator)
        values = {f"train/{name}": value.detach() for name, value in losses.terms().items()}
        self.log_dict(values, batch_size=len(batch), sync_dist=True)
        self.log("loss", losses.total.detach(), prog_bar=True, logger=False, batch_size=len(batch))
        return losses.total

    def validation_step(self, batch: Batch, index: int, dataloader_idx: int = 0) -> None:  # noqa: ARG002
        """Segment each image with its own and with the given classes, and add it to the metrics."""
        for number, segments in enumerate(batch.segments):
            image, labels = batch.images[number], batch.segment_maps[number].cpu().numpy()
            found = {GIVEN: self._segment(image, _class_ids(labels, segments))}
            if self.semantic_scores is not None:
                found[OWN] = self._segment(image)
                self._add_semantic(image, batch.targets["classes"][number])
            for name, metric in self._metrics().items():
                self._add_instances(metric, labels, segments, found[name])

    def on_validation_epoch_end(self) -> None:
        """Log the metrics of all images and start anew."""
        for which, metric in self._metrics().items():
            prefix = "given_" if which == GIVEN else ""
            for name, value in metric.compute().items():
                self.log(f"val/{prefix}{name}", float(value), prog_bar=f"{prefix}{name}" in SHOWN)
            metric.reset()
        if self.semantic_scores is not None:
            self.log("val/mean_iou", self.semantic_scores.compute(), prog_bar="mean_iou" in SHOWN)
            self.semantic_scores.reset()

    def draw_validation(self, batch: Batch) -> UInt8[np.ndarray, "h w 3"]:
        """The first image of a batch, its boundary map, its instances and those found, side by side."""
        image, labels = batch.images[0], batch.segment_maps[0].cpu().numpy()
        segmenter = self._segmenter()
        given = None if self.semantic_scores is not None else _class_ids(labels, batch.segments[0])
        found = segmenter.segment(image.float().cpu(), semantic_map=given)
        boundary = segmenter.predict(image[None])["boundary"][0, 0].float().sigmoid().cpu().numpy()
        picture = image.permute(1, 2, 0).float().cpu().numpy()
        truth = Segmentation.from_labels(labels)
        grey = np.rint(boundary * 255).astype(np.uint8)[..., None].repeat(3, axis=2)
        pictures = [np.rint(picture * 255).astype(np.uint8), grey, *(draw_overlay(s, picture) for s in (truth, found))]
        return side_by_side(pictures, ["", "boundary", f"{len(truth)} segments", f"{len(found)} found"])

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Say what `upseg export-model` has to know."""
        checkpoint[RECORD_KEY] = checkpoint_record(
            "baiseg",
            self.settings,
            categories=self.categories,
            training=training_account(self, loss_weights=asdict(self.weights)),
            prefix=self.exported_prefix,
        )

    def _metrics(self) -> dict[str, AccumulatorMetric]:
        return {name: metric for name, metric in self.scores.items() if isinstance(metric, AccumulatorMetric)}

    def _segmenter(self) -> BaisegSegmenter:
        return BaisegSegmenter(self.settings, str(self.device), categories=self.categories, network=self.validated)

    def _segment(self, image: Float[Tensor, "3 h w"], classes: Int64[np.ndarray, "h w"] | None = None) -> Segmentation:
        return self._segmenter().segment(image.float().cpu(), semantic_map=classes)

    def _add_semantic(self, image: Float[Tensor, "3 h w"], classes: Int64[Tensor, "h w"]) -> None:
        assert self.semantic_scores is not None  # noqa: S101 - for the type checker
        self.semantic_scores.update(self._segmenter().predict(image[None])["semantic"].argmax(1), classes[None])

    def _add_instances(
        self,
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
            valid=~_among(labels, crowds),
        )


def _require_losses(settings: BaisegSettings, weights: LossWeights) -> None:
    """A part without a loss is an error: it would stay random, and training on several devices waits for all parts."""
    if settings.contrast_dimensions and not weights.contrast:
        raise ValueError(
            "the weight contrast is 0, so the projection would learn nothing; set contrast_dimensions to 0 too"
        )
    if settings.semantic_width is not None and not weights.semantic:
        raise ValueError(
            "the weight semantic is 0, so the semantic branch would learn nothing; set semantic_width to null too"
        )
    if not weights.boundary:
        raise ValueError("the weight boundary is 0, but the boundary map is what the method needs; set it above 0")


def _class_ids(labels: Int64[np.ndarray, "h w"], segments: Sequence[TruthSegment]) -> Int64[np.ndarray, "h w"]:
    """The class id of each pixel, -1 without one: all that a map of classes says, whatever instances there are."""
    table: Int64[np.ndarray, " k1"] = np.full(len(segments) + 1, IGNORE, np.int64)
    table[1:] = [(segment.category or OBJECT).id for segment in segments]
    return np.take(table, labels)


def _among(labels: np.ndarray, numbers: Sequence[int]) -> Bool[np.ndarray, "h w"]:
    return np.isin(labels, list(numbers))


def _only(labels: np.ndarray, numbers: Mapping[int, Any]) -> np.ndarray:
    return np.where(np.isin(labels, list(numbers)), labels, 0)
