"""How `entity` is trained: a LightningModule. Needs the `train` extra."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import lightning
import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from upseg.data.batches import Batch
from upseg.data.sample import IGNORE
from upseg.formats.montage import side_by_side
from upseg.formats.overlay import draw_overlay
from upseg.layers.averaging import AveragedTraining
from upseg.methods.entity.equations import LossWeights
from upseg.methods.entity.extensions.picture import colour_features
from upseg.methods.entity.losses import entity_losses
from upseg.methods.entity.network import EntityNetwork
from upseg.methods.entity.segmenter import EntitySegmenter
from upseg.methods.entity.settings import EntitySettings
from upseg.metrics.cell_matching import CellMatching
from upseg.metrics.class_agnostic import ClassAgnostic
from upseg.metrics.segment_similarity import SegmentSimilarities
from upseg.models.checkpoints import RECORD_KEY, checkpoint_record, take_over_weights, training_account
from upseg.segmentation import Segmentation
from upseg.training.accumulator_metric import AccumulatorMetric

SHOWN = ("recall", "mean_iou", "ap50")
"""The metrics that the progress bar has."""


class EntityTask(AveragedTraining[EntityNetwork], lightning.LightningModule):
    """Trains an `EntityNetwork` by Eq. 9, and validates the segments that it leads to.

    Paper: Sec. 3.6 and 5. Optimiser and learning rate are the recipe's (`optimization`).

    Args:
        settings: Of the network and of the segmentation that it is trained for; both go into the model folder.
        weights: Of the losses; 0 switches one off.
        pretrained: Whether the encoder starts from ImageNet weights, which timm downloads.
        reach: Only entities whose bounding boxes are at most so many pixels apart repel each other, for images with
            more objects than there are orthogonal lines; None for all pairs, as in the paper.
        contrast_queries: Of L_rc, the most pixels of an entity that are compared; the paper has 256.
        contrast_negatives: Of L_rc, how many pixels of others each of them is compared with.
        init_from: A checkpoint of the same network to start from: the averaged weights where it has them. The optimiser
            starts anew.
        average: Decay per step of the moving average of the weights, which is what is validated and exported, in
            [0, 1); 0 for the weights as they are.

    Raises:
        ValueError: If `average` is not in [0, 1).
    """

    def __init__(
        self,
        settings: EntitySettings | None = None,
        weights: LossWeights | None = None,
        pretrained: bool = True,
        reach: int | None = None,
        contrast_queries: int = 256,
        contrast_negatives: int = 512,
        init_from: str | None = None,
        average: float = 0.0,
    ) -> None:
        super().__init__()
        self.settings = settings or EntitySettings()
        self.weights = weights or LossWeights()
        self.reach = reach
        self.contrast_queries, self.contrast_negatives = contrast_queries, contrast_negatives
        chosen = self.settings
        network = EntityNetwork(
            chosen.backbone, chosen.channels, chosen.dimensions, chosen.positions, pretrained=pretrained
        )
        self.before: Mapping[str, Any] = {}
        if init_from is not None:
            self.before = take_over_weights(network, init_from)
        self.take_network(network, average)
        metrics = {"": ClassAgnostic(), **({"cells_": CellMatching()} if chosen.background == "void" else {})}
        self.scores = torch.nn.ModuleDict({f"{name}scores": AccumulatorMetric(m) for name, m in metrics.items()})
        self.similarities = AccumulatorMetric(SegmentSimilarities(), keep_tensors=True)

    def training_step(self, batch: Batch, index: int) -> Float[Tensor, ""]:  # noqa: ARG002 - Lightning's signature
        """The loss of one batch; its `targets` are those of `EntityTargets`."""
        losses = entity_losses(
            self.network(batch.images),
            batch.targets["labels"],
            seeds=batch.targets["seed"],
            weights=self.weights,
            background=self.settings.background,
            reach=self.reach,
            queries=self.contrast_queries,
            negatives=self.contrast_negatives,
        )
        values = {f"train/{name}": value.detach() for name, value in losses.terms().items()}
        self.log_dict(values, batch_size=len(batch), sync_dist=True)
        self.log("loss", losses.total.detach(), prog_bar=True, logger=False, batch_size=len(batch))
        return losses.total

    def validation_step(self, batch: Batch, index: int, dataloader_idx: int = 0) -> None:  # noqa: ARG002
        """Segment each image and add it to the metrics; crowds count neither for nor against."""
        for image, labels, segments in zip(batch.images, batch.segment_maps, batch.segments, strict=True):
            features, segmentation = self._segment(image)
            crowds = torch.tensor([s.id for s in segments if s.is_crowd], dtype=labels.dtype, device=labels.device)
            entities = labels.masked_fill(torch.isin(labels, crowds), IGNORE)
            truth, valid = entities.clamp(min=0).cpu().numpy(), (entities != IGNORE).cpu().numpy()
            for metric in self._segment_scores():
                metric.update(truth, segmentation.labels, valid=valid)
            self.similarities.update(features, entities)

    def on_validation_epoch_end(self) -> None:
        """Log the metrics of all images and start anew."""
        for metric in (*self._segment_scores(), self.similarities):
            for name, value in metric.compute().items():
                self.log(f"val/{name}", float(value), prog_bar=name in SHOWN)
            metric.reset()

    def draw_validation(self, batch: Batch) -> UInt8[np.ndarray, "h w 3"]:
        """The first image of a batch, its entities, the segments found, and the features in colour, side by side."""
        features, found = self._segment(batch.images[0])
        image = batch.images[0].permute(1, 2, 0).float().cpu().numpy()
        truth = Segmentation.from_labels(batch.segment_maps[0].cpu().numpy())
        pictures = [
            np.rint(image * 255).astype(np.uint8),
            draw_overlay(truth, image),
            draw_overlay(found, image),
            colour_features(features),
        ]
        return side_by_side(pictures, ["", f"{len(truth)} entities", f"{len(found)} segments", "features"])

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Say what `upseg export-model` has to know."""
        checkpoint[RECORD_KEY] = checkpoint_record(
            "entity",
            self.settings,
            training=training_account(self, loss_weights=asdict(self.weights), reach=self.reach),
            prefix=self.exported_prefix,
        )

    def _segment_scores(self) -> list[AccumulatorMetric]:
        return [metric for metric in self.scores.values() if isinstance(metric, AccumulatorMetric)]

    def _segment(self, image: Float[Tensor, "3 h w"]) -> tuple[Float[Tensor, "d h w"], Segmentation]:
        segmenter = EntitySegmenter(self.settings, str(self.device), network=self.validated)
        features = segmenter.predict(image[None])[0].float()
        return features, segmenter.segment(image.float().cpu())
