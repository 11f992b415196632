"""Data for training: a weighted mixture of data sets, and data sets to validate on."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, cast

import torch
from lightning import LightningDataModule
from torch.utils.data import DataLoader

from upseg.data.batches import ClassTargets, Collate, Targets
from upseg.data.dataset import Dataset
from upseg.data.mixing import MixedSamples, MixtureSampler, WeightedDataset
from upseg.data.sample import Sample
from upseg.data.transforms import SampleTransform
from upseg.errors import DataError
from upseg.functional.random_numbers import seeded_generator
from upseg.images.options import ReadingOptions
from upseg.segmentation import Category


class _Readable:
    """A data set whose damaged samples are None, if it skips them; all that a loader asks of one."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Sample | None:
        return self.dataset.read(index)


class WholeBatches(DataLoader[Sample]):
    """Batches of the samples that could be read; one without any is left out."""

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        """Go through them.

        Raises:
            DataError: If not one sample could be read.
        """
        found = False
        for batch in super().__iter__():
            if batch is not None:
                found = True
                yield batch
        if not found:
            raise DataError(f"none of the {len(self.dataset)} samples to validate on can be read")  # type: ignore[arg-type]


def check_learnable(dataset: Dataset) -> None:
    """Look for a segment, or depth, that something can be learned from; the first sample mostly has one.

    Raises:
        DataError: If there is none.
    """
    crowds = 0
    for index in range(len(dataset)):
        sample = dataset.read(index)
        if sample is None:
            continue
        if sample.depth is not None:
            return
        if len(sample.crowds) < len(sample.segments) or (sample.segments and not dataset.has_objects):
            return
        crowds += len(sample.crowds)
    raise DataError(
        f"all {crowds} segments to learn from are crowds (iscrowd 1), of which nothing is learned"
        if crowds
        else f"there is nothing to learn from: none of the {len(dataset)} samples that can be read has a segment"
        + (f"; {dataset.problems[0]}" if dataset.problems else "")
    )


class MixedDataModule(LightningDataModule):
    """Batches from several data sets, each with its share.

    The batches of an epoch depend on the seed, the epoch and the number of processes that train together, not on the
    number of workers. Training that goes on from a checkpoint of an epoch's end draws what it would have drawn.

    Args:
        train: The data sets to learn from.
        transform: Must bring all samples to one size; None where they have one.
        validation: Data sets to validate on, each by itself, untransformed and in order.
        targets: What the method learns from a sample, computed in the workers. Where they need classes (an attribute
            `categories`) and were given none, they get those of the training data. Where their attribute
            `needs_segments` is False, samples without any are learned from as well.
        batch_size: Samples in a batch of one process.
        effective_batch: Samples in a step of the optimiser, all processes together, however many there are: gradients
            of as many batches as that takes are gathered. None for one batch of each process.
        validation_batch_size: The same for validation; 1 unless all images of a data set have one size.
        workers: Processes that read data; 0 reads in the training process.
        epoch_length: Draws in an epoch, all processes together; by default as many as there are samples.
        seed: Of order and transforms.
        channels: Which channels of all images to take; None for what the data sets say themselves.
        normalize: How samples of all images become numbers in [0, 1]; likewise.

    Attributes:
        reading: How images are read, which a model has to know.

    Raises:
        ValueError: If data sets have different classes of one id, or are read in different ways.
    """

    def __init__(
        self,
        train: Sequence[WeightedDataset],
        transform: SampleTransform | None = None,
        validation: Sequence[Dataset] = (),
        targets: Targets | None = None,
        batch_size: int = 16,
        validation_batch_size: int = 1,
        workers: int = 4,
        epoch_length: int | None = None,
        seed: int = 0,
        channels: list[int] | None = None,
        normalize: str | None = None,
        effective_batch: int | None = None,
    ) -> None:
        super().__init__()
        self.effective_batch = effective_batch
        asked = ReadingOptions(None if channels is None else tuple(channels), normalize=normalize)
        for dataset in (*(source.dataset for source in train), *validation):
            dataset.reading = asked.over(dataset.reading)
        ways = {json.dumps(source.dataset.reading.of_model()) for source in train}
        if len(ways) > 1:
            raise ValueError(f"the images of all data sets must be read in one way, got {' and '.join(sorted(ways))}")
        self.reading = train[0].dataset.reading if train else asked
        self.samples = MixedSamples(train, transform, epoch_length)
        self.validation = tuple(validation)
        self.targets = targets
        if isinstance(targets, ClassTargets) and not targets.categories:
            targets.categories = self.categories
        self.batch_size = batch_size
        self.validation_batch_size = validation_batch_size
        self.workers = workers
        self.seed = seed

    @property
    def categories(self) -> tuple[Category, ...]:
        """The classes of all data sets to learn from, in order of id."""
        found: dict[int, Category] = {}
        for category in (c for source in self.samples.sources for c in source.dataset.categories):
            known = found.setdefault(category.id, category)
            if known != category:
                raise ValueError(
                    f"the data sets to learn from must agree about classes, but id {category.id} is "
                    f"{known.name!r} in one and {category.name!r} in another"
                )
        return tuple(found[identifier] for identifier in sorted(found))

    def batches_per_step(self, processes: int) -> int | None:
        """How many batches of each process make one step; None where the recipe does not say.

        Raises:
            ValueError: If no whole number of batches has the effective size.
        """
        if self.effective_batch is None:
            return None
        together = self.batch_size * processes
        if self.effective_batch % together:
            raise ValueError(
                f"effective_batch is {self.effective_batch}, which is no multiple of {self.batch_size} samples on each "
                f"of {processes} devices; change batch_size or the number of devices"
            )
        return self.effective_batch // together

    @property
    def description(self) -> str:
        """What is learned from, in a few words, for the provenance of a model."""
        return "; ".join(f"{type(s.dataset).__name__}, {len(s.dataset)} images" for s in self.samples.sources)

    def setup(self, stage: str) -> None:
        """Look whether there is anything to learn from.

        Raises:
            DataError: If no sample has a segment, or all are crowds though objects are told apart.
        """
        if stage != "fit":
            return
        if not getattr(self.targets, "needs_segments", True):
            return
        for source in self.samples.sources:
            check_learnable(source.dataset)

    def train_dataloader(self) -> DataLoader[Sample]:
        """Shuffled batches of the mixture; incomplete ones are left out, unless there is none that is complete."""
        # Lightning replaces any other kind of sampler when several processes train, and tells this one the epoch
        processes, rank = (self.trainer.world_size, self.trainer.global_rank) if self.trainer else (1, 0)
        sampler = MixtureSampler(self.samples, self.seed, processes, rank)
        size = min(self.batch_size, len(sampler))
        if size < self.batch_size:
            warnings.warn(
                f"an epoch has {size} draws: batches have {size} samples, not {self.batch_size}", stacklevel=2
            )
        return DataLoader(self.samples, size, sampler=sampler, drop_last=True, **self._options())

    def val_dataloader(self) -> list[DataLoader[Sample]]:
        """One loader for each data set; damaged samples are left out where its `on_error` says so."""
        sets = cast("Sequence[torch.utils.data.Dataset[Sample]]", [_Readable(samples) for samples in self.validation])
        return [WholeBatches(samples, self.validation_batch_size, **self._options()) for samples in sets]

    def _options(self) -> dict[str, Any]:
        return {
            "num_workers": self.workers,
            "collate_fn": Collate(self.targets),
            "pin_memory": torch.cuda.is_available(),
            "persistent_workers": self.workers > 0,
            # or each loader would take a number from the global generator
            "generator": seeded_generator(self.seed),
        }
