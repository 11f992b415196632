"""How a network of cells is trained: a LightningModule. Needs the `train` extra."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from upseg.data.batches import Batch
from upseg.methods.entity.extensions.cells.losses import CellLossWeights, cell_losses
from upseg.methods.entity.extensions.cells.network import CellNetwork
from upseg.methods.entity.extensions.cells.segmenter import CellSegmenter
from upseg.methods.entity.extensions.cells.settings import CellSettings
from upseg.metrics.cell_matching import CellMatching
from upseg.training.accumulator_metric import AccumulatorMetric
from upseg.training.task import Task, settings_from_start

_FIXED = ("backbone", "channels", "canonical")  # by the weights of a model


class CellTask(Task[CellNetwork, CellSegmenter]):
    """Trains a `CellNetwork`, and validates the objects that its maps lead to.

    Args:
        settings: Of the network and of the segmentation that it is trained for; both go into the model folder. None for
            those of the model that it starts from, or the defaults. What builds the network is always that model's.
    """

    segmenter_class = CellSegmenter
    shown = ("ap50", "image_ap50")

    def __init__(
        self,
        settings: CellSettings | None = None,
        loss_weights: CellLossWeights | None = None,
        pretrained: bool = True,
        init_from: str | None = None,
        average: float = 0.0,
    ) -> None:
        super().__init__()
        self.settings, only = settings_from_start("cells", settings, init_from, CellSettings(), _FIXED)
        self.loss_weights = loss_weights or CellLossWeights()
        chosen = self.settings
        network = CellNetwork(chosen.backbone, chosen.channels, pretrained=pretrained and init_from is None)
        self.take_network(network, init_from=init_from, average=average, only=only)
        self.scores = AccumulatorMetric(CellMatching())

    def losses(self, batch: Batch, index: int) -> Mapping[str, Float[Tensor, ""]]:  # noqa: ARG002
        """The terms of a batch's loss, and their sum; its `targets` are those of `CellTargets`."""
        terms = cell_losses(self.network(batch.images), batch.targets, self.loss_weights)
        return {**terms, "total": torch.stack(list(terms.values())).sum()}

    def validation_step(self, batch: Batch, index: int, dataloader_idx: int = 0) -> None:  # noqa: ARG002
        """Segment each image and add it to the metric."""
        for image, labels in zip(batch.images, batch.segment_maps, strict=True):
            self.scores.update(labels.cpu().numpy(), self.segmenter().segment(image.float().cpu()).labels)
