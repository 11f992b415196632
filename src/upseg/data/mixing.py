"""Several data sets as one: how often each is drawn from, in which order, with which random seeds."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch.utils.data
from jaxtyping import Int64
from torch.utils.data.distributed import DistributedSampler

from upseg.data.dataset import Dataset
from upseg.data.sample import Sample
from upseg.data.transforms import SampleTransform
from upseg.errors import DataError


@dataclass(frozen=True)
class WeightedDataset:
    """A data set and its share of a mixture.

    Attributes:
        dataset: Where the samples come from.
        weight: Proportional to how many of the draws of an epoch fall on it; None for the number of its samples.
    """

    dataset: Dataset
    weight: float | None = None

    def __post_init__(self) -> None:
        if self.weight is not None and not (math.isfinite(self.weight) and self.weight > 0):
            raise ValueError(f"a weight must be positive, got {self.weight}; leave a data set out to give it none")
        if len(self.dataset) == 0:
            raise DataError(f"a data set in a mixture needs at least 1 sample, {type(self.dataset).__name__} has none")

    @property
    def share(self) -> float:
        """The weight that counts."""
        return float(len(self.dataset)) if self.weight is None else self.weight


class Draw(NamedTuple):
    """One sample to read.

    Attributes:
        source: Which data set of the mixture.
        item: Which sample of it.
        seed: For the random choices of its transform.
    """

    source: int
    item: int
    seed: int


class MixedSamples(torch.utils.data.Dataset[Sample]):
    """Reads and transforms the samples that a `MixtureSampler` draws.

    Everything random about a sample is in its `Draw`, so a sample does not depend on the process that reads it. Classes
    are taken over from the data sets as they are: a method that uses them needs data sets that agree about them.

    Args:
        sources: The data sets. Those with `on_error="skip"` give the next sample that is whole in place of a damaged
            one; the others raise.
        transform: Applied to every sample.
        epoch_length: Draws in an epoch; by default as many as there are samples in all data sets together.

    Raises:
        ValueError: If there is no data set, or an epoch is so short that one of them would never be drawn from.
    """

    def __init__(
        self,
        sources: Sequence[WeightedDataset],
        transform: SampleTransform | None = None,
        epoch_length: int | None = None,
    ) -> None:
        if not sources:
            raise ValueError("a mixture needs at least one data set, got none")
        self.sources = tuple(sources)
        self.transform = transform
        self.epoch_length = sum(len(s.dataset) for s in sources) if epoch_length is None else epoch_length
        self.quotas = apportion([source.share for source in sources], self.epoch_length)
        if min(self.quotas) == 0:
            raise ValueError(
                f"an epoch of {self.epoch_length} draws gives the data sets {self.quotas} draws each; "
                "every one needs at least one: make epoch_length larger or the weights less different"
            )

    def __len__(self) -> int:
        return self.epoch_length

    def repeated(self, times: float = 10.0) -> list[str]:
        """A line for each data set whose samples are seen more often than so many times in an epoch."""
        return [
            f"{type(source.dataset).__name__}: each of its {len(source.dataset)} samples is seen "
            f"{quota / len(source.dataset):.0f} times in an epoch"
            for source, quota in zip(self.sources, self.quotas, strict=True)
            if quota > times * len(source.dataset)
        ]

    def __getitem__(self, draw: Draw) -> Sample:
        dataset = self.sources[draw.source].dataset
        for step in range(len(dataset)):
            sample = dataset.read((draw.item + step) % len(dataset))
            if sample is not None:
                return sample if self.transform is None else self.transform(sample, draw.seed)
        raise DataError(f"all {len(dataset)} samples of {type(dataset).__name__} are damaged; `problems` lists them")


class MixtureSampler(DistributedSampler[Sample]):
    """Draws the samples of each epoch: of every data set exactly its share, in random order.

    Each data set is gone through in random order, and only when all its samples have been drawn, over however many
    epochs, in another order again. The draws depend on the seed and the epoch alone (`set_epoch`); of several processes
    each takes every n-th.

    Args:
        samples: The mixture.
        seed: Another seed gives another order and other transforms.
        processes: Number of processes that train together.
        rank: Number of this process, from 0.
    """

    def __init__(self, samples: MixedSamples, seed: int = 0, processes: int = 1, rank: int = 0) -> None:
        super().__init__(samples, num_replicas=processes, rank=rank, seed=seed)
        self.samples = samples

    def __iter__(self) -> Iterator[Draw]:  # type: ignore[override]
        quotas = self.samples.quotas
        sizes = [len(source.dataset) for source in self.samples.sources]
        streams = [
            _stream((self.seed, source), size, self.epoch * quota, quota)
            for source, (size, quota) in enumerate(zip(sizes, quotas, strict=True))
        ]
        sources, indices = np.repeat(np.arange(len(quotas)), quotas), np.concatenate(streams)
        # the entropy has three numbers here and more below, so no two generators are the same
        rng = np.random.default_rng((self.seed, self.epoch, 0))
        order = rng.permutation(len(indices))
        seeds = rng.integers(2**62, size=len(indices))
        # the last draws of processes that get one fewer are the epoch's first
        mine = np.arange(self.rank, self.total_size, self.num_replicas) % len(indices)
        chosen = order[mine]
        return map(Draw, sources[chosen].tolist(), indices[chosen].tolist(), seeds[mine].tolist())


def apportion(weights: Sequence[float], total: int) -> list[int]:
    """Split a total in proportion to weights, by largest remainder; of equal remainders the first comes first."""
    exact = np.array(weights, float) / sum(weights) * total
    shares = np.floor(exact).astype(int)
    order = np.argsort(shares - exact, kind="stable")
    shares[order[: total - int(shares.sum())]] += 1
    return [int(share) for share in shares]


def _stream(key: tuple[int, int], size: int, start: int, count: int) -> Int64[np.ndarray, " count"]:
    """Elements start..start + count - 1 of an endless sequence of random permutations of 0..size - 1."""
    rounds = range(start // size, (start + count - 1) // size + 1)
    orders = [np.random.default_rng((*key, number, 1)).permutation(size) for number in rounds]
    offset = start - rounds.start * size
    return np.concatenate(orders)[offset : offset + count]
