"""What the tasks of all methods share: the moving average, the log, the validation's metrics and pictures, the record.

A method's task, a LightningModule, has what is the paper's: its network, its losses, and what is validated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, ClassVar, Generic, TypeVar, cast

import lightning
import numpy as np
import torch
from jaxtyping import Float, Integer, UInt8
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from torchmetrics import Metric

from upseg.data.batches import Batch
from upseg.errors import ModelError
from upseg.formats.montage import side_by_side
from upseg.formats.overlay import draw_overlay
from upseg.images.options import ReadingOptions
from upseg.models.checkpoints import RECORD_KEY, checkpoint_record, read_start, take_over_weights
from upseg.models.folders import ModelConfig
from upseg.models.learned import LearnedSegmenter
from upseg.segmentation import Category, Segmentation
from upseg.settings import build_settings

_ENCODER = "backbone"  # the setting that names it, and the part of a network that it is
_Settings = TypeVar("_Settings")
_Network = TypeVar("_Network", bound=nn.Module)
_Segmenter = TypeVar("_Segmenter", bound=LearnedSegmenter[Any, Any])


class Task(lightning.LightningModule, Generic[_Network, _Segmenter]):
    """Trains a network, validates the segments that it leads to, and leaves checkpoints that become models.

    A method adds the constructor, which ends the making of the network with `take_network`; `losses`; and
    `validation_step`, which updates the metrics: all attributes that are a `Metric`. Optimiser and learning rate are
    the recipe's (`optimization`). Of the arguments of the constructors, all methods have

    - `settings`: Of the network and of the segmentation that it is trained for; both go into the model folder.
    - `categories`: The classes, of methods that have them; a recipe leaves them out, and those of the training data are
      taken.
    - `loss_weights`: Of the losses; 0 switches one off.
    - `pretrained`: Whether the encoder starts from published weights, where it starts from nothing else: those of
      `tf_efficientnet_lite0` come with the package, others are downloaded once.
    - `init_from`: What to start from, as `upseg.models.checkpoints.read_start` takes it: a checkpoint of the same
      network, of which the averaged weights are taken where it has them, or a model; of one of another method, for
      `entity` and `cells`, its encoder. The optimiser starts anew.
    - `average`: Decay per step of the moving average of the weights, which is what is validated and exported, in
      [0, 1); 0 for the weights as they are.

    Attributes:
        segmenter_class: The method's segmenter, whose `method` names the method.
        shown: The metrics that the progress bar has.
        prefixes: What the names of a metric's values begin with in the log, for attributes where that is not empty; for
            a metric that has one value, all of the name.
        settings: Of the network and of the segmentation that it is trained for; both go into the model folder.
        categories: The classes that the network knows.
        loss_weights: Of the losses, a dataclass; None where they have no weights.
        network: What is trained.
        averaged: Its moving average; None without one.
        average: The average's decay per step; 0 without one.
        before: How the model came to be whose weights the network started from; empty without one.
    """

    segmenter_class: type[_Segmenter]
    shown: ClassVar[tuple[str, ...]]
    prefixes: ClassVar[Mapping[str, str]] = {}

    settings: Any
    categories: tuple[Category, ...] = ()
    loss_weights: Any = None
    network: _Network
    averaged: MovingAverage | None
    average: float
    before: Mapping[str, Any]

    def take_network(
        self,
        network: _Network,
        *,
        init_from: str | None,
        average: float,
        may_differ: tuple[str, ...] = (),
        anew: tuple[str, ...] = (),
        only: str = "",
    ) -> None:
        """Set what is trained.

        Args:
            network: With its first weights.
            init_from: A checkpoint to take over weights from, the averaged ones where it has them; None for none.
            average: Decay of the average per step, in [0, 1); 0 for none.
            may_differ: What the names of weights begin with that the checkpoint need not have in the same shape.
            anew: What the names of weights begin with that are not taken over.
            only: What the names of weights begin with that are taken over.

        Raises:
            ModelError: If the checkpoint is none, or one of another network.
            ValueError: If `average` is not in [0, 1).
        """
        self.before = {} if init_from is None else take_over_weights(network, init_from, may_differ, anew, only=only)
        self.network = network
        self.averaged = MovingAverage(network, average) if average else None
        self.average = average

    @property
    def validated(self) -> _Network:
        """The network that is validated and exported."""
        return self.network if self.averaged is None else cast("_Network", self.averaged.module)

    def segmenter(self, settings: Any = None) -> _Segmenter:
        """A segmenter with the validated network, of the task's settings or of others."""
        chosen, device = settings or self.settings, str(self.device)
        return self.segmenter_class(chosen, device, categories=self.categories, network=self.validated)

    @property
    def image_reading(self) -> ReadingOptions:
        """How the images are read that it learns from."""
        return getattr(getattr(self._trainer, "datamodule", None), "reading", ReadingOptions())

    def losses(self, batch: Batch, index: int) -> Mapping[str, Float[Tensor, ""]]:
        """The terms of a batch's loss for the log, and their sum, `total`, which is minimised."""
        raise NotImplementedError

    def training_step(self, batch: Batch, index: int) -> Float[Tensor, ""]:
        """The loss of one batch."""
        losses = self.losses(batch, index)
        values = {f"train/{name}": value.detach() for name, value in losses.items()}
        self.log_dict(values, batch_size=len(batch), sync_dist=True)
        self.log("loss", losses["total"].detach(), prog_bar=True, logger=False, batch_size=len(batch))
        return losses["total"]

    def on_train_start(self) -> None:
        """Have parts that do not learn go to evaluation mode: Lightning itself never calls `train`."""
        self.train()

    def optimizer_step(self, *arguments: Any, **keywords: Any) -> None:
        """Move the average once per step of the optimiser, however many batches it gathers."""
        super().optimizer_step(*arguments, **keywords)
        if self.averaged is not None:
            self.averaged.update_parameters(self.network)

    def on_validation_epoch_end(self) -> None:
        """Log the metrics of all images and start anew."""
        for attribute, metric in self.named_children():
            if isinstance(metric, Metric):
                prefix, computed = self.prefixes.get(attribute, ""), metric.compute()
                for name, value in (computed if isinstance(computed, Mapping) else {"": computed}).items():
                    self.log(f"val/{prefix}{name}", float(value), prog_bar=f"{prefix}{name}" in self.shown)
                metric.reset()

    def draw_validation(self, batch: Batch) -> UInt8[np.ndarray, "h w 3"]:
        """The first image of a batch, its segments and those found, side by side."""
        return draw_found(batch, cast("Any", self.segmenter()).segment(batch.images[0].float().cpu()))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Say what `upseg export-model` has to know."""
        told = (self.categories, self.training_provenance())
        config = ModelConfig(self.segmenter_class.method, asdict(self.settings), *told, reading=self.image_reading)
        prefix = "network." if self.averaged is None else "averaged.module."
        checkpoint[RECORD_KEY] = checkpoint_record(config, prefix)

    def training_provenance(self) -> dict[str, Any]:
        """How the model came to be, in training."""
        return {
            "data": str(getattr(getattr(self.trainer, "datamodule", None), "description", "")),
            "steps": self.global_step,
            **({"reading": self.image_reading.of_model()} if self.image_reading.of_model() else {}),
            **self.training_facts(),
            "average": self.average,
            "before": dict(self.before),
        }

    def training_facts(self) -> dict[str, Any]:
        """What the provenance says beside the data, the steps, the average and the training before."""
        return {} if self.loss_weights is None else {"loss_weights": asdict(self.loss_weights)}


def settings_from_start(
    method: str, settings: _Settings | None, start: str | None, default: _Settings, fixed: tuple[str, ...]
) -> tuple[_Settings, str]:
    """The settings of a training that may start from a model: what the model's weights fix is the model's.

    Args:
        method: What is trained.
        settings: That were asked for; None for those of the model, or the default.
        start: What to start from, as `read_start` takes it; None for nothing.
        default: Of the method.
        fixed: Names of the settings that weights fix.

    Returns:
        The settings, and what the names of the weights begin with that can be taken over: of a model of another method
        its encoder alone.

    Raises:
        ModelError: If there is no such start, or it is of another method and has no encoder of timm.
    """
    if start is None:
        return settings or default, ""
    found = read_start(start)
    if found.method == method:
        own = build_settings(type(default), found.settings)
        if settings is None:
            return cast("_Settings", own), ""
        return replace(cast("Any", settings), **{name: getattr(own, name) for name in fixed}), ""
    if not isinstance(found.settings.get(_ENCODER), str):
        raise ModelError(
            f"{start} is a model of the method {found.method}, which has no encoder to start from; "
            f"a training of {method} starts from a model of {method}"
        )
    chosen = replace(cast("Any", settings or default), **{_ENCODER: found.settings[_ENCODER]})
    return chosen, f"{_ENCODER}."


def draw_found(
    batch: Batch,
    found: Segmentation,
    nouns: tuple[str, str] = ("segments", "found"),
    *,
    labels: Integer[np.ndarray, "h w"] | None = None,
    between: Mapping[str, UInt8[np.ndarray, "h w 3"]] | None = None,
    after: Mapping[str, UInt8[np.ndarray, "h w 3"]] | None = None,
) -> UInt8[np.ndarray, "height width 3"]:
    """The first image of a batch, its segments, and those found, side by side.

    Args:
        batch: Of validation.
        found: In its first image.
        nouns: What segments of the ground truth, and segments found are called in the titles.
        labels: (H, W) the ground truth; None for all of it.
        between: Pictures between the image and its segments, by their titles.
        after: Pictures after the segments found, by their titles.
    """
    image = batch.images[0].permute(1, 2, 0).float().cpu().numpy()
    truth = Segmentation.from_labels(batch.segment_maps[0].cpu().numpy() if labels is None else labels)
    segments = [(f"{len(s)} {noun}", draw_overlay(s, image)) for s, noun in zip((truth, found), nouns, strict=True)]
    drawn = [("", np.rint(image * 255).astype(np.uint8)), *(between or {}).items(), *segments, *(after or {}).items()]
    titles, pictures = zip(*drawn, strict=True)
    return side_by_side(list(pictures), list(titles))


class MovingAverage(AveragedModel):
    """A copy of a network whose weights and buffers follow the network's; `module` is the copy.

    Args:
        network: What `update_parameters(network)` is given after each step of the optimiser.
        decay: Of the average per step, in [0, 1).

    Raises:
        ValueError: If `decay` is not in [0, 1).
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"the decay of an average must be in [0, 1), got {decay}")

        def move(averaged: Sequence[Tensor], current: Sequence[Tensor], count: Tensor | int) -> None:
            # in the first steps it forgets faster, so that the first weights leave no trace
            steps = int(count)
            share = 1 - min(decay, (1 + steps) / (10 + steps))
            # all of one type at once: a GPU is asked once, not for each of hundreds
            if averaged[0].is_floating_point():
                torch._foreach_lerp_(list(averaged), list(current), share)
            else:
                torch._foreach_copy_(list(averaged), list(current))

        super().__init__(network, multi_avg_fn=move, use_buffers=True)
        self.requires_grad_(False)
