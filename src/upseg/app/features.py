"""What models that group features of pixels can do beside: other bandwidths, pixels like one, pictures of features."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from upseg.app.document import RESULT, adopt
from upseg.app.pictures import store_picture
from upseg.app.tasks import Opened
from upseg.app.workers import Place
from upseg.errors import UpsegError
from upseg.formats import write
from upseg.segmentation import EmbeddingSegmenter

FEATURES = "features"


def regroup(place: Place, image: Opened, bandwidth: float) -> int:
    """Group the features of an image again, and make a document of the result; what was corrected is replaced.

    Args:
        place: With a model that has features; told while they are made. They are kept, and the next time is quick.
        image: What they are of.
        bandwidth: In degrees, in (0, 90].

    Returns:
        The number of segments.
    """
    if not 0 < bandwidth <= 90:
        raise UpsegError(f"the bandwidth is an angle in degrees, above 0 and at most 90, got {bandwidth}")
    embedding, size = _embedded(place, image)
    found = _segmenter(place).segment_embedding(embedding, size, bandwidth)
    found = found.with_provenance({**found.provenance, "image": image.name})
    write(found, image.folder / RESULT, format="npz")
    adopt(image.folder)
    return len(found)


def likeness(place: Place, image: Opened, row: int, column: int) -> UInt8[np.ndarray, "h w"]:
    """How like one pixel all others are, 0 to 255, at the size of the features.

    Args:
        place: As of `regroup`.
        image: What the features are of.
        row: Of the pixel, in the image.
        column: Likewise.
    """
    embedding, (height, width) = _embedded(place, image)
    if not (0 <= row < height and 0 <= column < width):
        raise UpsegError(f"the pixel must be within {height} rows and {width} columns, got ({row}, {column})")
    found = _segmenter(place).similarity(embedding, row / height, column / width)
    shares: UInt8[np.ndarray, "h w"] = np.rint(found * 255).astype(np.uint8)
    return shares


def draw_features(place: Place, image: Opened) -> None:
    """Keep a picture of the features, as large as the image, beside the image's own tiles."""
    embedding, (height, width) = _embedded(place, image)
    drawn = Image.fromarray(_segmenter(place).picture_of(embedding)).resize((width, height))
    store_picture(np.asarray(drawn, np.float32) / np.float32(255), image.folder, FEATURES)


def _embedded(place: Place, image: Opened) -> tuple[list[Any], tuple[int, int]]:
    """The features of an image, and its size; those of the last image are kept."""
    if place.memory.get("folder") != image.folder:
        segmenter = _segmenter(place)
        place.memory.clear()
        pixels = image.reading.over(place.model.reading).read(image.source)
        place.memory["embedding"] = segmenter.embed(pixels, place.on_step), (pixels.shape[0], pixels.shape[1])
        place.memory["folder"] = image.folder
    kept: tuple[list[Any], tuple[int, int]] = place.memory["embedding"]
    return kept


def _segmenter(place: Place) -> EmbeddingSegmenter:
    if not place.model.implementation.embeds:
        raise UpsegError(f"the method {place.model.method} has no features to look at; entity has")
    segmenter: EmbeddingSegmenter = place.segmenter
    return segmenter
