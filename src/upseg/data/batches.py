"""Batches: samples of one size as tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from upseg.data.sample import Sample, TruthSegment
from upseg.errors import DataError
from upseg.segmentation import Category

Targets = Callable[[Sample], Mapping[str, Tensor]]
"""What a method learns from a sample, by name; each tensor must have the same shape for all samples."""


@runtime_checkable
class ClassTargets(Protocol):
    """Targets that depend on the classes of the data.

    Attributes:
        categories: In the order in which the method counts them; empty until somebody says.
    """

    categories: tuple[Category, ...]

    def __call__(self, sample: Sample) -> Mapping[str, Tensor]:
        """As `Targets`."""


@dataclass(frozen=True, eq=False)
class Batch:
    """B samples of one height and width.

    Attributes:
        images: (B, 3, H, W) RGB in [0, 1].
        segment_maps: (B, H, W) 0 unlabelled, k >= 1 the segment with id k of that sample.
        depths: (B, H, W) metres, 0 where it is not known.
        segments: For each sample its table of segments.
        names: For each sample what its data set calls it.
        targets: What the method learns from, by name, each (B, ...).
    """

    images: Float32[Tensor, "b 3 h w"]
    segment_maps: Int64[Tensor, "b h w"]
    depths: Float32[Tensor, "b h w"]
    segments: tuple[tuple[TruthSegment, ...], ...]
    names: tuple[str, ...]
    targets: Mapping[str, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.segments)

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> Batch:
        """The same batch on a device."""
        return self._mapped(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Batch:
        """The same batch in memory from which it can be copied to a GPU in the background."""
        return self._mapped(lambda tensor: tensor.pin_memory())

    def _mapped(self, function: Callable[[Tensor], Tensor]) -> Batch:
        return replace(
            self,
            images=function(self.images),
            segment_maps=function(self.segment_maps),
            depths=function(self.depths),
            targets={name: function(tensor) for name, tensor in self.targets.items()},
        )


class Collate:
    """Makes a batch of samples; a `DataLoader` calls it in its workers.

    Args:
        targets: Computes what the method learns from, in the worker.
    """

    def __init__(self, targets: Targets | None = None) -> None:
        self.targets = targets

    def __call__(self, samples: Sequence[Sample | None]) -> Batch | None:
        """Stack samples.

        Args:
            samples: All of one height and width; None for one that could not be read.

        Returns:
            None where no sample could be read.

        Raises:
            DataError: If they differ in size.
        """
        whole = [sample for sample in samples if sample is not None]
        return self._stack(whole) if whole else None

    def _stack(self, samples: Sequence[Sample]) -> Batch:
        sizes = sorted({sample.shape for sample in samples})
        if len(sizes) != 1:
            raise DataError(
                f"the samples of a batch must have one height and width, got {sizes}; "
                "crop them to one size (upseg.data.transforms), or take batches of one"
            )
        unknown = np.zeros(sizes[0], np.float32)
        found = [self.targets(sample) for sample in samples] if self.targets else []
        names = found[0].keys() if found else ()
        return Batch(
            images=_stacked([sample.image for sample in samples]).permute(0, 3, 1, 2).contiguous(),
            segment_maps=_stacked([sample.segment_map for sample in samples]).long(),
            depths=_stacked([unknown if sample.depth is None else sample.depth for sample in samples]),
            segments=tuple(sample.segments for sample in samples),
            names=tuple(sample.name for sample in samples),
            targets={name: torch.stack([targets[name] for targets in found]) for name in names},
        )


def _stacked(arrays: Sequence[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.stack(arrays))
