"""How `entity` is trained: a LightningModule. Needs the `train` extra."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from upseg.data.batches import Batch
from upseg.data.sample import IGNORE
from upseg.methods.entity.equations import LossWeights
from upseg.methods.entity.extensions.picture import colour_features
from upseg.methods.entity.losses import entity_losses
from upseg.methods.entity.network import EntityNetwork
from upseg.methods.entity.segmenter import EntitySegmenter
from upseg.methods.entity.settings import EntitySettings
from upseg.metrics.cell_matching import CellMatching
from upseg.metrics.class_agnostic import ClassAgnostic
from upseg.metrics.segment_similarity import SegmentSimilarities
from upseg.segmentation import Segmentation
from upseg.training.accumulator_metric import AccumulatorMetric
from upseg.training.task import Task, draw_found, settings_from_start

_FIXED = ("backbone", "channels", "dimensions", "positions", "background")  # by the weights of a model


class EntityTask(Task[EntityNetwork, EntitySegmenter]):
    """Trains an `EntityNetwork` by Eq. 9, and validates the segments that it leads to.

    Paper: Sec. 3.6 and 5.

    Args:
        settings: Of the network and of the segmentation that it is trained for; both go into the model folder. None for
            those of the model that it starts from, or the defaults. What builds the network is always that model's.
        reach: Only entities whose bounding boxes are at most so many pixels apart repel each other, for images with
            more objects than there are orthogonal lines; None for all pairs, as in the paper.
        contrast_queries: Of L_rc, the most pixels of an entity that are compared; the paper has 256.
        contrast_negatives: Of L_rc, how many pixels of others each of them is compared with.
    """

    segmenter_class = EntitySegmenter
    shown = ("recall", "mean_iou", "ap50")

    def __init__(
        self,
        settings: EntitySettings | None = None,
        loss_weights: LossWeights | None = None,
        pretrained: bool = True,
        reach: int | None = None,
        contrast_queries: int = 256,
        contrast_negatives: int = 512,
        init_from: str | None = None,
        average: float = 0.0,
    ) -> None:
        super().__init__()
        self.settings, only = settings_from_start("entity", settings, init_from, EntitySettings(), _FIXED)
        self.loss_weights = loss_weights or LossWeights()
        self.reach = reach
        self.contrast_queries, self.contrast_negatives = contrast_queries, contrast_negatives
        chosen = self.settings
        weights = pretrained and init_from is None
        network = EntityNetwork(
            chosen.backbone, chosen.channels, chosen.dimensions, chosen.positions, pretrained=weights
        )
        self.take_network(network, init_from=init_from, average=average, only=only)
        self.scores = AccumulatorMetric(ClassAgnostic())
        self.cells = AccumulatorMetric(CellMatching()) if chosen.background == "void" else None
        self.similarities = AccumulatorMetric(SegmentSimilarities(), keep_tensors=True)

    def losses(self, batch: Batch, index: int) -> Mapping[str, Float[Tensor, ""]]:  # noqa: ARG002
        """Eq. 9 and its terms; the batch's `targets` are those of `EntityTargets`."""
        return entity_losses(
            self.network(batch.images),
            batch.targets["labels"],
            seeds=batch.targets["seed"],
            loss_weights=self.loss_weights,
            background=self.settings.background,
            reach=self.reach,
            queries=self.contrast_queries,
            negatives=self.contrast_negatives,
        )

    def validation_step(self, batch: Batch, index: int, dataloader_idx: int = 0) -> None:  # noqa: ARG002
        """Segment each image and add it to the metrics; crowds count neither for nor against."""
        for image, labels, segments in zip(batch.images, batch.segment_maps, batch.segments, strict=True):
            features, segmentation = self._segment(image)
            crowds = torch.tensor([s.id for s in segments if s.is_crowd], dtype=labels.dtype, device=labels.device)
            entities = labels.masked_fill(torch.isin(labels, crowds), IGNORE)
            truth, valid = entities.clamp(min=0).cpu().numpy(), (entities != IGNORE).cpu().numpy()
            self.scores.update(truth, segmentation.labels, valid=valid)
            if self.cells is not None:
                self.cells.update(truth, segmentation.labels, valid=valid)
            self.similarities.update(features, entities)

    def draw_validation(self, batch: Batch) -> UInt8[np.ndarray, "h w 3"]:
        """The first image of a batch, its entities, the segments found, and the features in colour, side by side."""
        features, found = self._segment(batch.images[0])
        return draw_found(batch, found, ("entities", "segments"), after={"features": colour_features(features)})

    def training_facts(self) -> dict[str, Any]:
        """The weights of the losses, and between which entities they are."""
        return {**super().training_facts(), "reach": self.reach}

    def _segment(self, image: Float[Tensor, "3 h w"]) -> tuple[Float[Tensor, "d h w"], Segmentation]:
        segmenter = self.segmenter()
        features = segmenter.predict(image[None])[0].float()
        return features, segmenter.segment(image.float().cpu())
