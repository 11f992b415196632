"""How images are read, as commands, data sets and models say it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from jaxtyping import Float32

from upseg.errors import ImageError
from upseg.images.normalization import parse_normalization
from upseg.images.reading import ImageLike, TensorLike, read_image

_AUTOMATIC = "auto"
_RGB = 3


@dataclass(frozen=True, slots=True)
class ReadingOptions:
    """How images are read; None leaves it to others: a model, or `upseg.images.reading.read_image`.

    Attributes:
        channels: One channel to take as grey, or three, counted from 0.
        page: Which plane of a TIFF with several.
        max_pixels: Refuse files of more pixels.
        normalize: How samples become numbers in [0, 1]: `auto`, `none`, `minmax`, or two percentiles.

    Raises:
        ImageError: If a value is none of these.
    """

    channels: tuple[int, ...] | None = None
    page: int | None = None
    max_pixels: int | None = None
    normalize: str | None = None

    def __post_init__(self) -> None:
        if self.channels is not None and (len(self.channels) not in (1, _RGB) or min(self.channels) < 0):
            raise ImageError(f"channels must be one or three numbers, counted from 0, got {list(self.channels)}")
        parse_normalization(self.normalize or _AUTOMATIC)

    def over(self, other: ReadingOptions) -> ReadingOptions:
        """These options, and those of another where these leave it open."""
        return replace(other, **{f.name: value for f in fields(self) if (value := getattr(self, f.name)) is not None})

    def facts(self) -> dict[str, Any]:
        """What changes pixels, as JSON can hold it; empty for what `read_image` does by itself."""
        values = {"channels": self.channels and list(self.channels), "page": self.page, "normalize": self.normalize}
        return {k: v for k, v in values.items() if v is not None and (k, v) != ("normalize", _AUTOMATIC)}

    def of_model(self) -> dict[str, Any]:
        """The part of `facts` that a model depends on, whatever the file."""
        return {key: value for key, value in self.facts().items() if key != "page"}

    def read(self, image: ImageLike) -> Float32[np.ndarray, "h w 3"]:
        """Read an image; result and errors as of `read_image`."""
        options = {f.name: value for f in fields(self) if (value := getattr(self, f.name)) is not None}
        return read_image(image, **options)

    def read_for_model(self, image: ImageLike) -> Float32[np.ndarray, "h w 3"]:
        """As `read`; but an (H, W, 3) array or (3, H, W) tensor of floats has been read already, and stays as it is."""
        if isinstance(image, np.ndarray):
            is_read = image.dtype.kind == "f" and image.shape[2:] == (_RGB,)
        else:
            is_read = isinstance(image, TensorLike) and image.is_floating_point() and len(image.shape) == _RGB  # type: ignore[attr-defined]
        return read_image(image) if is_read else self.read(image)


def options_from_json(values: Mapping[str, Any]) -> ReadingOptions:
    """The inverse of `ReadingOptions.of_model`.

    Raises:
        ImageError: If a key or a value is wrong.
    """
    unknown = sorted(set(values) - {"channels", "normalize"})
    channels, normalize = values.get("channels"), values.get("normalize")
    numbers = channels is None or (isinstance(channels, list) and all(type(number) is int for number in channels))
    if unknown or not numbers or not isinstance(normalize, str | None):
        raise ImageError(
            f"how images are read is said by channels (a list of numbers) and normalize (a text), got {dict(values)}"
        )
    return ReadingOptions(None if channels is None else tuple(channels), normalize=normalize)
