"""A method with weights, as small as one can be, for the tests of saving, loading and publishing."""

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from upseg.images.reading import ImageLike, read_image
from upseg.models.registry import Method
from upseg.models.saving import PretrainedMixin, load_weights
from upseg.segmentation import Category, Segmentation


@dataclass(frozen=True)
class BandSettings:
    bands: int = 2
    limits: tuple[float, ...] = (0.25, 0.75)


class BandNetwork(torch.nn.Module):
    """One number per band, and a count that is not a float."""

    def __init__(self, bands: int) -> None:
        super().__init__()
        self.shift = torch.nn.Parameter(torch.zeros(bands))
        self.register_buffer("count", torch.tensor(bands))


class BandSegmenter(PretrainedMixin):
    """Segment 1 where the grey value plus the first weight lies within the limits."""

    method = "band"

    def __init__(
        self, settings: BandSettings, device: str, *, weights: Path, categories: tuple[Category, ...] = ()
    ) -> None:
        self.settings, self.categories = settings, categories
        self.network = BandNetwork(settings.bands)
        load_weights(self.network, weights)
        self.network.to(device)

    def segment(self, image: ImageLike) -> Segmentation:
        grey = read_image(image).mean(axis=2) + self.network.shift[0].item()
        inside = (self.settings.limits[0] <= grey) & (grey <= self.settings.limits[1])
        categories = {1: self.categories[0]} if self.categories else None
        return Segmentation.from_labels(
            inside.astype(np.int32), categories=categories, provenance={"settings": asdict(self.settings)}
        )


_HERE = "tests.models.learned"
BAND = Method("a band of grey values", f"{_HERE}:BandSettings", f"{_HERE}:BandSegmenter", learned=True)
