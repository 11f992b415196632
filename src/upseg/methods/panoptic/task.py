"""How `panoptic` is trained: a LightningModule. Needs the `train` extra."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import lightning
import numpy as np
from jaxtyping import Float, Integer, UInt8
from torch import Tensor

from upseg.data.batches import Batch
from upseg.data.sample import TruthSegment
from upseg.formats.depth import colour_depth
from upseg.formats.montage import side_by_side
from upseg.formats.overlay import draw_overlay
from upseg.layers.averaging import AveragedTraining
from upseg.methods.panoptic.encodings import make_encoding
from upseg.methods.panoptic.losses import LossWeights, panoptic_losses
from upseg.methods.panoptic.network import PanopticNetwork, output_channels
from upseg.methods.panoptic.segmenter import PanopticSegmenter
from upseg.methods.panoptic.settings import PanopticSettings
from upseg.metrics.class_agnostic import ClassAgnostic
from upseg.metrics.depth_errors import Depth
from upseg.metrics.panoptic_quality import PanopticQuality
from upseg.models.checkpoints import RECORD_KEY, checkpoint_record, take_over_weights, training_account
from upseg.predicted_depth import PredictedDepth
from upseg.segmentation import Category, Segmentation
from upseg.training.accumulator_metric import AccumulatorMetric

SHOWN = ("pq", "recall", "abs_rel")
"""The metrics that the progress bar has."""


class PanopticTask(AveragedTraining[PanopticNetwork], lightning.LightningModule):
    """Trains a `PanopticNetwork` by the losses of its heads, and validates panoptic segmentations.

    Paper: Sec. 3 and 4.1. Optimiser and learning rate are the recipe's (`optimization`).

    Args:
        categories: The classes; a recipe leaves them out, and those of the training data are taken.
        settings: Of the network and of the segmentation that it is trained for; both go into the model folder.
        weights: Of the losses; 0 switches one off.
        pretrained: Whether the encoder starts from published weights, which are downloaded once.
        init_from: A checkpoint of the same network to start from, such as that of the stage before. Projections to
            heads or classes that it does not have start anew.
        average: Decay per step of the moving average of the weights, which is what is validated and exported, in
            [0, 1); 0 for the weights as they are.

    Raises:
        ValueError: If there are no classes but the head semantic, or `average` is not in [0, 1).
    """

    def __init__(
        self,
        categories: Sequence[Category] = (),
        settings: PanopticSettings | None = None,
        weights: LossWeights | None = None,
        pretrained: bool = True,
        init_from: str | None = None,
        average: float = 0.0,
    ) -> None:
        super().__init__()
        self.settings = settings or PanopticSettings()
        self.categories = tuple(categories) if "semantic" in self.settings.heads else ()
        self.weights = weights or LossWeights()
        self.encoding = make_encoding(self.settings)
        network = PanopticNetwork(
            self.settings.backbone,
            self.settings.layers,
            self.settings.decoder_channels,
            outputs=output_channels(self.settings, self.categories),
            patch=self.settings.patch,
            pretrained=pretrained,
        )
        self.before: Mapping[str, Any] = {}
        if init_from is not None:
            self.before = take_over_weights(network, init_from, may_differ=("projections.",))
        self.take_network(network, average)
        scores = PanopticQuality(self.categories) if self.categories else ClassAgnostic()
        self.scores = AccumulatorMetric(scores)
        self.depth_errors = AccumulatorMetric(Depth()) if self.settings.maximum_depth is not None else None

    def training_step(self, batch: Batch, index: int) -> Float[Tensor, ""]:  # noqa: ARG002 - Lightning's signature
        """The loss of one batch; its `targets` are those of `PanopticTargets`."""
        outputs = self.network(batch.images)
        losses = panoptic_losses(outputs, batch.targets, self.encoding, self.weights, self.settings.maximum_depth)
        values = {f"train/{name}": value.detach() for name, value in losses.terms().items()}
        self.log_dict(values, batch_size=len(batch), sync_dist=True)
        self.log("loss", losses.total.detach(), prog_bar=True, logger=False, batch_size=len(batch))
        return losses.total

    def validation_step(self, batch: Batch, index: int, dataloader_idx: int = 0) -> None:  # noqa: ARG002
        """Segment each image, and add it to the metrics; images without any segment count for the depth alone."""
        for image, sample, segments, depth in zip(
            batch.images, batch.segment_maps, batch.segments, batch.depths, strict=True
        ):
            found, predicted = self._segment(image)
            labels = sample.cpu().numpy()
            if segments and self.categories:
                self._add_quality(labels, segments, found)
            elif segments:
                things = np.isin(labels, [s.id for s in segments if s.is_thing and not s.is_crowd])
                crowds = np.isin(labels, [s.id for s in segments if s.is_crowd])
                self.scores.update(np.where(things, labels, 0), found.labels, valid=~crowds)
            if self.depth_errors is not None and predicted is not None:
                self.depth_errors.update(depth.cpu().numpy(), predicted.values)

    def on_validation_epoch_end(self) -> None:
        """Log the metrics of all images and start anew."""
        for metric in (self.scores, self.depth_errors):
            if metric is None:
                continue
            for name, value in metric.compute().items():
                self.log(f"val/{name}", float(value), prog_bar=name in SHOWN)
            metric.reset()

    def draw_validation(self, batch: Batch) -> UInt8[np.ndarray, "h w 3"]:
        """The first image of a batch, its segments, those found, and the depth where it is predicted, side by side."""
        found, depth = self._segment(batch.images[0])
        image = batch.images[0].permute(1, 2, 0).float().cpu().numpy()
        truth = Segmentation.from_labels(batch.segment_maps[0].cpu().numpy())
        pictures = [np.rint(image * 255).astype(np.uint8), draw_overlay(truth, image), draw_overlay(found, image)]
        titles = ["", f"{len(truth)} segments", f"{len(found)} found"]
        if depth is not None:
            pictures, titles = [*pictures, colour_depth(depth)], [*titles, "depth"]
        return side_by_side(pictures, titles)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Say what `upseg export-model` has to know."""
        checkpoint[RECORD_KEY] = checkpoint_record(
            "panoptic",
            self.settings,
            categories=self.categories,
            training=training_account(self, loss_weights=asdict(self.weights)),
            prefix=self.exported_prefix,
        )

    def _segment(self, image: Float[Tensor, "3 h w"]) -> tuple[Segmentation, PredictedDepth | None]:
        segmenter = PanopticSegmenter(
            self.settings, str(self.device), categories=self.categories, network=self.validated
        )
        if self.settings.predicts_depth:
            return segmenter.segment_with_depth(image.float().cpu())
        return segmenter.segment(image.float().cpu()), None

    def _add_quality(
        self, labels: Integer[np.ndarray, "h w"], segments: Sequence[TruthSegment], found: Segmentation
    ) -> None:
        """Add an image to the panoptic quality; segments that have no class are void."""
        classes = {s.id: s.category.id for s in segments if s.category is not None}
        self.scores.update(
            np.where(np.isin(labels, list(classes)), labels, 0),
            classes,
            found.labels,
            {s.id: s.category.id for s in found if s.category is not None},
            crowd_ids=[s.id for s in segments if s.is_crowd],
        )
