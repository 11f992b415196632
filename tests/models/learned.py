"""A method with weights, as small as one can be, for the tests of saving, loading and publishing."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from upseg.errors import ModelError
from upseg.images.reading import ImageLike
from upseg.models.learned import LearnedSegmenter
from upseg.models.registry import Method
from upseg.segmentation import Segmentation


@dataclass(frozen=True)
class BandSettings:
    bands: int = 2
    limits: tuple[float, ...] = (0.25, 0.75)
    threads: ClassVar[None] = None
    renamed: ClassVar[Mapping[str, str]] = {"range": "limits"}


class BandNetwork(torch.nn.Module):
    """One number per band, and a count that is not a float."""

    def __init__(self, bands: int) -> None:
        super().__init__()
        self.shift = torch.nn.Parameter(torch.zeros(bands))
        self.register_buffer("count", torch.tensor(bands))


class BandSegmenter(LearnedSegmenter[BandSettings, BandNetwork]):
    """Segment 1 where the grey value plus the first weight lies within the limits."""

    method = "band"

    def make_network(self) -> BandNetwork:
        return BandNetwork(self.settings.bands)

    def check_categories(self) -> None:
        if len(self.categories) > 1:
            raise ModelError("a band has one class")

    def segment(self, image: ImageLike) -> Segmentation:
        with self.reading(image) as pixels:
            grey = (pixels[0].mean(dim=0) + self.network.shift[0]).numpy()
        inside = (self.settings.limits[0] <= grey) & (grey <= self.settings.limits[1])
        categories = {1: self.categories[0]} if self.categories else None
        return Segmentation.from_labels(
            inside.astype(np.int32), categories=categories, provenance=self.provenance(mean=float(grey.mean()))
        )


_HERE = "tests.models.learned"
BAND = Method("a band of grey values", f"{_HERE}:BandSettings", f"{_HERE}:BandSegmenter", learned=True)
