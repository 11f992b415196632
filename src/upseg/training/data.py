"""Data for training: a weighted mixture of data sets, and data sets to validate on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from lightning import LightningDataModule
from torch.utils.data import DataLoader

from upseg.data.batches import ClassTargets, Collate, Targets
from upseg.data.dataset import Dataset
from upseg.data.mixing import MixedSamples, MixtureSampler, WeightedDataset
from upseg.data.sample import Sample
from upseg.data.transforms import SampleTransform
from upseg.segmentation import Category


class MixedDataModule(LightningDataModule):
    """Batches from several data sets, each with its share.

    The batches of an epoch depend on the seed, the epoch and the number of processes that train together, not on the
    number of workers. Training that goes on from a checkpoint of an epoch's end draws what it would have drawn.

    Args:
        train: The data sets to learn from.
        transform: Must bring all samples to one size; None where they have one.
        validation: Data sets to validate on, each by itself, untransformed and in order.
        targets: What the method learns from a sample, computed in the workers. Where they need classes (an attribute
            `categories`) and were given none, they get those of the training data.
        batch_size: Samples in a batch of one process.
        validation_batch_size: The same for validation; 1 unless all images of a data set have one size.
        workers: Processes that read data; 0 reads in the training process.
        epoch_length: Draws in an epoch, all processes together; by default as many as there are samples.
        seed: Of order and transforms.

    Raises:
        ValueError: If data sets have different classes of one id.
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
    ) -> None:
        super().__init__()
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

    @property
    def description(self) -> str:
        """What is learned from, in a few words, for the provenance of a model."""
        return "; ".join(f"{type(s.dataset).__name__}, {len(s.dataset)} images" for s in self.samples.sources)

    def train_dataloader(self) -> DataLoader[Sample]:
        """Shuffled batches of the mixture; incomplete ones are left out."""
        # Lightning replaces any other kind of sampler when several processes train, and tells this one the epoch
        processes, rank = (self.trainer.world_size, self.trainer.global_rank) if self.trainer else (1, 0)
        sampler = MixtureSampler(self.samples, self.seed, processes, rank)
        return DataLoader(self.samples, self.batch_size, sampler=sampler, drop_last=True, **self._options())

    def val_dataloader(self) -> list[DataLoader[Sample]]:
        """One loader for each data set."""
        sets = cast("Sequence[torch.utils.data.Dataset[Sample]]", self.validation)  # all that a loader asks of one
        return [DataLoader(samples, self.validation_batch_size, **self._options()) for samples in sets]

    def _options(self) -> dict[str, Any]:
        return {
            "num_workers": self.workers,
            "collate_fn": Collate(self.targets),
            "pin_memory": torch.cuda.is_available(),
            "persistent_workers": self.workers > 0,
            # or each loader would take a number from the global generator
            "generator": torch.Generator().manual_seed(self.seed),
        }
