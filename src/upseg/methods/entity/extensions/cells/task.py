"""How a network of cells is trained: a LightningModule. Needs the `train` extra."""

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
from upseg.errors import ModelError
from upseg.formats.montage import side_by_side
from upseg.formats.overlay import draw_overlay
from upseg.layers.averaging import AveragedTraining
from upseg.methods.entity.extensions.cells.losses import CellLossWeights, cell_losses
from upseg.methods.entity.extensions.cells.network import CellNetwork
from upseg.methods.entity.extensions.cells.segmenter import CellSegmenter
from upseg.methods.entity.extensions.cells.settings import CellSettings
from upseg.metrics.cell_matching import CellMatching
from upseg.metrics.torchmetrics_wrappers import AccumulatorMetric
from upseg.models.checkpoints import RECORD_KEY, checkpoint_record, read_start, take_over_weights, training_account
from upseg.segmentation import Segmentation
from upseg.settings import build_settings


class CellTask(AveragedTraining[CellNetwork], lightning.LightningModule):
    """Trains a `CellNetwork`, and validates the objects that its maps lead to.

    Args:
        settings: Of the network and of the segmentation that it is trained for; both go into the model folder. None for
            those of the model that it starts from, or the defaults.
        weights: Of the losses; 0 switches one off.
        pretrained: Whether the encoder starts from ImageNet weights.
        init_from: What to start from, as `read_start` takes it: a checkpoint of the same network, with its averaged
            weights where it has them, or a model. The optimiser starts anew.
        average: Decay per step of the moving average of the weights, which is what is validated and exported, in
            [0, 1); 0 for the weights as they are.

    Raises:
        ValueError: If `average` is not in [0, 1).
    """

    def __init__(
        self,
        settings: CellSettings | None = None,
        weights: CellLossWeights | None = None,
        pretrained: bool = True,
        init_from: str | None = None,
        average: float = 0.0,
    ) -> None:
        super().__init__()
        self.settings = settings or _settings_of(init_from)
        self.weights = weights or CellLossWeights()
        chosen = self.settings
        network = CellNetwork(chosen.backbone, chosen.channels, pretrained=pretrained)
        self.before: Mapping[str, Any] = {}
        if init_from is not None:
            self.before = take_over_weights(network, init_from)
        self.take_network(network, average)
        self.scores = AccumulatorMetric(CellMatching())

    def training_step(self, batch: Batch, index: int) -> Float[Tensor, ""]:  # noqa: ARG002 - Lightning's signature
        """The loss of one batch; its `targets` are those of `CellTargets`."""
        losses = cell_losses(self.network(batch.images), batch.targets, self.weights)
        total = torch.stack(list(losses.values())).sum()
        values = {f"train/{name}": value.detach() for name, value in losses.items()}
        self.log_dict(values, batch_size=len(batch), sync_dist=True)
        self.log("loss", total.detach(), prog_bar=True, logger=False, batch_size=len(batch))
        return total

    def validation_step(self, batch: Batch, index: int, dataloader_idx: int = 0) -> None:  # noqa: ARG002
        """Segment each image and add it to the metric."""
        for image, labels in zip(batch.images, batch.segment_maps, strict=True):
            self.scores.update(labels.cpu().numpy(), self._segment(image).labels)

    def on_validation_epoch_end(self) -> None:
        """Log the metrics of all images and start anew."""
        for name, value in self.scores.compute().items():
            self.log(f"val/{name}", float(value), prog_bar=name in ("ap50", "image_ap50"))
        self.scores.reset()

    def draw_validation(self, batch: Batch) -> UInt8[np.ndarray, "h w 3"]:
        """The first image of a batch, its objects and those found, side by side."""
        found = self._segment(batch.images[0])
        image = batch.images[0].permute(1, 2, 0).float().cpu().numpy()
        truth = Segmentation.from_labels(batch.segment_maps[0].cpu().numpy())
        pictures = [np.rint(image * 255).astype(np.uint8), draw_overlay(truth, image), draw_overlay(found, image)]
        return side_by_side(pictures, ["", f"{len(truth)} annotated", f"{len(found)} found"])

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Say what `upseg export-model` has to know."""
        checkpoint[RECORD_KEY] = checkpoint_record(
            "cells",
            self.settings,
            training=training_account(self, loss_weights=asdict(self.weights)),
            prefix=self.exported_prefix,
        )

    def _segment(self, image: Float[Tensor, "3 h w"]) -> Segmentation:
        segmenter = CellSegmenter(self.settings, str(self.device), network=self.validated)
        return segmenter.segment(image.float().cpu())


def _settings_of(start: str | None) -> CellSettings:
    """The settings of the model that a training starts from."""
    if start is None:
        return CellSettings()
    found = read_start(start)
    if found.method != "cells":
        raise ModelError(
            f"{start} is a model of the method {found.method}, a training of cells starts from one of cells"
        )
    settings = build_settings(CellSettings, found.settings)
    assert isinstance(settings, CellSettings)  # noqa: S101  (it makes what it is told to make)
    return settings
