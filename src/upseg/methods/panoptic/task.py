"""How `panoptic` is trained: a LightningModule. Needs the `train` extra."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Integer, UInt8
from torch import Tensor

from upseg.data.batches import Batch
from upseg.data.sample import TruthSegment
from upseg.formats.depth import colour_depth
from upseg.methods.panoptic.encodings import make_encoding
from upseg.methods.panoptic.losses import LossWeights, panoptic_losses
from upseg.methods.panoptic.network import PanopticNetwork, output_channels
from upseg.methods.panoptic.segmenter import PanopticSegmenter
from upseg.methods.panoptic.settings import PanopticSettings
from upseg.metrics.class_agnostic import ClassAgnostic
from upseg.metrics.depth_errors import Depth
from upseg.metrics.panoptic_quality import PanopticQuality
from upseg.models.checkpoints import read_start
from upseg.predicted_depth import PredictedDepth
from upseg.segmentation import Category, Segmentation
from upseg.training.accumulator_metric import AccumulatorMetric
from upseg.training.task import Task, draw_found

_LARGE = 50e6
"""Parameters of a backbone."""


class PanopticTask(Task[PanopticNetwork, PanopticSegmenter]):
    """Trains a `PanopticNetwork` by the losses of its heads, and validates panoptic segmentations.

    Paper: Sec. 3 and 5.1.

    Args:
        init_from: Such as the checkpoint of the stage before. Projections to heads or classes that it does not have
            start anew, and that to depth where it learned disparities and this one learns metres.

    Raises:
        ValueError: If there are no classes but the head semantic, or `average` is not in [0, 1).
    """

    segmenter_class = PanopticSegmenter
    shown = ("pq", "recall", "abs_rel")

    def __init__(
        self,
        categories: Sequence[Category] = (),
        settings: PanopticSettings | None = None,
        loss_weights: LossWeights | None = None,
        pretrained: bool = True,
        init_from: str | None = None,
        average: float = 0.0,
    ) -> None:
        super().__init__()
        self.settings = settings or PanopticSettings()
        self.categories = tuple(categories) if "semantic" in self.settings.heads else ()
        self.loss_weights = loss_weights or LossWeights()
        self.encoding = make_encoding(self.settings)
        network = PanopticNetwork(
            self.settings.backbone,
            self.settings.layers,
            self.settings.decoder_channels,
            outputs=output_channels(self.settings, self.categories),
            patch=self.settings.patch,
            relative=self.settings.grid if self.settings.relative else None,
            pretrained=pretrained,
        )
        self._warn_of_noise(network, pretrained=pretrained, init_from=init_from)
        # nearer is more in disparities and less in metres
        other = init_from is not None and self._learns_other_depth(read_start(init_from).settings)
        anew = ("projections.depth.",) if other else ()
        self.take_network(network, init_from=init_from, average=average, may_differ=("projections.",), anew=anew)
        scores = PanopticQuality(self.categories) if self.categories else ClassAgnostic()
        self.scores = AccumulatorMetric(scores)
        self.depth_errors = AccumulatorMetric(Depth()) if self.settings.maximum_depth is not None else None

    def _warn_of_noise(self, network: PanopticNetwork, *, pretrained: bool, init_from: str | None) -> None:
        """A backbone of such a size learns nothing from nothing; whoever left out `init_from` should hear of it."""
        parameters = sum(parameter.numel() for parameter in network.backbone.parameters())
        if not pretrained and init_from is None and parameters > _LARGE:
            warnings.warn(
                f"{self.settings.backbone} ({parameters / 1e6:.0f} million parameters) starts from random weights; "
                "give --model.init_args.init_from the checkpoint of the stage before, "
                "or --model.init_args.pretrained true",
                stacklevel=3,
            )

    def _learns_other_depth(self, start: Mapping[str, Any]) -> bool:
        """Whether the network that it starts from predicts disparity, and this one metres, or the reverse."""
        if "depth" not in self.settings.heads or "depth" not in start.get("heads", ()):
            return False
        return (start.get("maximum_depth") is None) != (self.settings.maximum_depth is None)

    def losses(self, batch: Batch, index: int) -> Mapping[str, Float[Tensor, ""]]:  # noqa: ARG002
        """The losses of all tasks and their sum; the batch's `targets` are those of `PanopticTargets`."""
        outputs = self.network(batch.images)
        maximum = self.settings.maximum_depth
        return panoptic_losses(outputs, batch.targets, self.encoding, self.loss_weights, maximum)

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

    def draw_validation(self, batch: Batch) -> UInt8[np.ndarray, "h w 3"]:
        """The first image of a batch, its segments, those found, and the depth where it is predicted, side by side."""
        found, depth = self._segment(batch.images[0])
        return draw_found(batch, found, after={} if depth is None else {"depth": colour_depth(depth)})

    def _segment(self, image: Float[Tensor, "3 h w"]) -> tuple[Segmentation, PredictedDepth | None]:
        segmenter = self.segmenter()
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
