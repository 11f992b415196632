"""How one network of DynaSeg is trained over a data set: a LightningModule. Needs the `train` extra."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
from jaxtyping import Float, Int64, Integer
from torch import Tensor
from torch.nn import Module
from torchmetrics import MeanMetric

from upseg.data.batches import Batch
from upseg.data.sample import IGNORE, TruthSegment
from upseg.methods.dynaseg.class_segmenter import DynaSegClassSegmenter, build_class_network, label_categories
from upseg.methods.dynaseg.class_settings import DynaSegClassesSettings
from upseg.methods.dynaseg.equations import WEIGHTINGS
from upseg.methods.dynaseg.losses import Weighting, image_losses
from upseg.methods.dynaseg.network import DynaSegNetwork
from upseg.methods.dynaseg.settings import PAPER_ALPHA
from upseg.metrics.hungarian import HungarianScores, assign_labels
from upseg.segmentation import Category
from upseg.training.accumulator_metric import AccumulatorMetric
from upseg.training.task import Task


class DynaSegTask(Task[DynaSegNetwork, DynaSegClassSegmenter]):
    """Trains a network without ground truth, and names its labels after the ground truth that validation data have.

    Paper: Sec. 3.3, Eq. 1 to 9, for each image of a batch: with batches of one this is the paper's own loop. An image
    with no more labels in use than its floor has ended and adds nothing; a batch in which all have ended makes no step,
    and an epoch of such batches ends the training. The labels are assigned to the classes once for all validation
    images (Sec. 4.2), after each validation; the ground truth plays no other part.

    Args:
        categories: The classes of the ground truth, which labels are named after; a recipe leaves them out, and those
            of the training data are taken. Without any, labels keep their numbers.
        settings: Of the network and of the segmentation that it is trained for; both go into the model folder.
        weighting: How mu balances the two losses: `fsf` (Eq. 8), `scf` (Eq. 9) or `fixed` (mu = alpha).
        alpha: Of the weighting, above 0; None for the paper's value for it (15, 50, 5).
        pretrained: Whether the backbone starts from ImageNet weights; None for: if there is one.
        frozen_backbone: Whether the backbone stays as it starts; the paper trains it along. On 57 photos the paper's
            learning rate of 0.1 makes ImageNet features worse within ten steps (`benchmarks/dynaseg_classes.py`).
        init_from: A checkpoint or model of the same network to start from.
        average: Decay per step of the moving average of the weights, which is what is validated and exported, in
            [0, 1); 0 for the weights as they are.

    Raises:
        ModelError: If the ImageNet weights cannot be had.
        ValueError: If the weighting is none, a number is outside its range, or there is no backbone to freeze.
    """

    segmenter_class = DynaSegClassSegmenter
    shown = ("mean_iou", "pixel_accuracy", "labels")
    prefixes = {"mean_loss": "loss", "mean_labels": "labels"}  # noqa: RUF012 - as the base declares it

    def __init__(
        self,
        categories: Sequence[Category] = (),
        settings: DynaSegClassesSettings | None = None,
        weighting: Weighting = "fsf",
        alpha: float | None = None,
        pretrained: bool | None = None,
        frozen_backbone: bool = False,
        init_from: str | None = None,
        average: float = 0.0,
    ) -> None:
        super().__init__()
        if weighting not in WEIGHTINGS or (alpha is not None and not alpha > 0):
            raise ValueError(f"expected one of {', '.join(WEIGHTINGS)} and alpha above 0, got {weighting!r}, {alpha}")
        self.settings = settings or DynaSegClassesSettings()
        self.weighting, self.alpha = weighting, PAPER_ALPHA[weighting] if alpha is None else alpha
        if (pretrained or frozen_backbone) and not self.settings.has_backbone:
            raise ValueError("the extractor cnn has no backbone: set pretrained and frozen_backbone to false")
        started = self.settings.has_backbone if pretrained is None else pretrained
        network = build_class_network(self.settings, pretrained=started and init_from is None)
        self.frozen_backbone = frozen_backbone
        if frozen_backbone:
            cast("Module", network.extractor.backbone).requires_grad_(False)
        self.take_network(network, init_from=init_from, average=average)
        self.classes = tuple(categories)
        self.categories = label_categories(self.settings.clusters)
        self.scores = AccumulatorMetric(HungarianScores(self.classes, self.settings.clusters)) if self.classes else None
        self.mean_loss, self.mean_labels = MeanMetric(), MeanMetric()
        self.went_on = False

    def train(self, mode: bool = True) -> DynaSegTask:
        """Change the mode of all but a frozen backbone."""
        super().train(mode)
        if self.frozen_backbone:
            cast("Module", self.network.extractor.backbone).eval()
        return self

    def losses(self, batch: Batch, index: int) -> Mapping[str, Float[Tensor, ""]]:  # noqa: ARG002
        """L of the images that have not ended, summed and divided by the number of all (Eq. 7)."""
        response = self.network(batch.images)
        terms, counts = image_losses(response, self.weighting, self.alpha)
        active = counts > batch.targets["floor"].to(counts.device)
        self.went_on |= bool(active.any())
        facts = {"labels": counts.float().mean(), "active": active.float().mean()}
        if not active.any() and self.trainer.world_size == 1:
            return {**facts, "total": response.new_zeros(())}
        return {**facts, "total": (terms * active).sum() / len(batch)}

    def training_step(self, batch: Batch, index: int) -> Float[Tensor, ""] | None:  # type: ignore[override]
        """The loss of one batch; None, which makes no step, if all its images have ended."""
        total = super().training_step(batch, index)
        return total if total.requires_grad else None

    def on_train_epoch_end(self) -> None:
        """End the training if every image of the epoch had ended."""
        if not self.went_on and self.trainer.world_size == 1:
            self.trainer.should_stop = True
        self.went_on = False

    def validation_step(self, batch: Batch, index: int, dataloader_idx: int = 0) -> None:  # noqa: ARG002
        """Label each image, and count its labels against the classes."""
        segmenter = self.segmenter()
        for image, segment_map, segments in zip(batch.images, batch.segment_maps, batch.segments, strict=True):
            response = segmenter.predict(segmenter.shown(image[None].float().clamp(0, 1)))
            terms, counts = image_losses(response, self.weighting, self.alpha)
            self.mean_loss.update(terms)
            self.mean_labels.update(counts.float())
            if self.scores is not None:
                truth = class_positions(segment_map, segments, self.classes)
                labels = segmenter.group(response[0], (truth.shape[0], truth.shape[1]))
                self.scores.update(truth, labels, truth != IGNORE)

    def on_validation_epoch_end(self) -> None:
        """Name the labels after the classes, and log the metrics."""
        if self.scores is not None:
            confusion = cast("Tensor", self.scores.sum_confusion)
            together = cast("Tensor", self.all_gather(confusion)).reshape(-1, *confusion.shape)
            assignment = assign_labels(together.sum(0).cpu().numpy())[1:]
            self.categories = label_categories(self.settings.clusters, self.classes, assignment)
        super().on_validation_epoch_end()

    def training_facts(self) -> dict[str, Any]:
        """The balance of the losses."""
        return {"weighting": self.weighting, "alpha": self.alpha}


def class_positions(
    segment_map: Int64[Tensor, "h w"], segments: Sequence[TruthSegment], classes: Sequence[Category]
) -> Integer[np.ndarray, "h w"]:
    """The position of each pixel's class among the classes; `IGNORE` where it has none."""
    positions = {category.id: position for position, category in enumerate(classes)}
    known = [IGNORE if s.category is None else positions.get(s.category.id, IGNORE) for s in segments]
    return np.take(np.array([IGNORE, *known]), segment_map.cpu().numpy())
