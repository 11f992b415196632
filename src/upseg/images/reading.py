"""Reading images: a file, an array, a Pillow image or a tensor becomes RGB floats in [0, 1]."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
from jaxtyping import Float32, Shaped
from PIL import Image

from upseg.errors import ImageError
from upseg.files import printable
from upseg.images.normalization import AUTOMATIC, Normalization, Pixels, parse_normalization

DEFAULT_MAX_PIXELS = 200_000_000
"""Files with more pixels (height times width) are refused before they are decoded, unless the caller raises this."""

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".dib", ".tif", ".tiff", ".gif"})
"""What counts as an image when a folder is searched, in lower case. A file named outright may be called anything."""

TIFF_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


@runtime_checkable
class TensorLike(Protocol):
    """A torch tensor, described without importing torch."""

    def detach(self) -> Any:
        """The values without their history."""
        ...

    def cpu(self) -> Any:
        """The values in main memory."""
        ...

    def is_floating_point(self) -> bool:
        """Whether the values are real numbers."""
        ...


@runtime_checkable
class Readable(Protocol):
    """A file that is open for reading bytes."""

    def read(self) -> bytes:
        """All of it that is left."""
        ...


ImageLike: TypeAlias = str | os.PathLike[str] | np.ndarray | Image.Image | TensorLike | bytes | Readable
"""A path; an (H, W) or (H, W, 1, 3 or 4) array; a Pillow image; a (C, H, W) or (H, W) tensor; a file's bytes; an open
file."""


def read_image(
    image: ImageLike,
    *,
    channels: Sequence[int] | None = None,
    page: int | None = None,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    normalize: str = "auto",
) -> Float32[np.ndarray, "h w 3"]:
    """Read an image from wherever it is.

    Files are PNG, JPEG, WebP, BMP, TIFF, or the first frame of a GIF, told apart by their content; 1 to 16 bits,
    grey, RGB, palette or CMYK; TIFFs also with 32 bits, floats and any number of channels; and folders of OME-Zarr.
    The orientation that a camera noted is applied. Translucent pixels are put on white. Colour profiles are not
    applied.

    Args:
        image: A path; an (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) array, the fourth channel being alpha; a Pillow
            image; a (C, H, W) or (H, W) tensor; the bytes of a file; or a file open for reading them. Never changed.
        channels: One channel to take as grey, or three to take as red, green and blue, counted from 0; an array or
            file may then have any number of channels.
        page: Which plane of a TIFF or OME-Zarr with several (pages, slices, time points) to read, counted from 0.
        max_pixels: Refuse files of more than this many pixels (height times width) before they are decoded.
        normalize: How samples become numbers in [0, 1]. `auto`: 8 bits are divided by 255, floats in memory that lie in
            [0, 1] stay as they are, and of all others the percentiles 1 and 99.8 of each channel become 0 and 1, so
            that neither a hot pixel nor an offset hides what is there. Two percentiles (`2,98`) or `minmax` for each
            channel of any image; `none` divides integers by the largest value of the smallest bit depth (8, 10, 12, 14,
            16) that holds their maximum, all channels alike, and stretches floats outside [0, 1].

    Returns:
        (H, W, 3) RGB in [0, 1]; a new array.

    Raises:
        ImageError: If the image cannot be read or understood; the message names the file.

    Example:
        >>> read_image(np.array([[[0, 51, 255]]], np.uint8))
        array([[[0. , 0.2, 1. ]]], dtype=float32)
    """
    chosen = parse_normalization(normalize)
    if channels is not None and (len(channels) not in (1, 3) or min(channels) < 0):
        raise ImageError(f"channels must be one or three numbers, counted from 0, got {list(channels)}")
    if not isinstance(image, str | os.PathLike):
        return _from_elsewhere(image, channels, page, max_pixels, chosen)
    path = Path(image)
    try:
        pixels = _from_file(path, channels, page, max_pixels)
        return (pixels if channels is None else pixels.pick(channels)).to_rgb(chosen)
    except ImageError as error:
        raise ImageError(f"{printable(path)}: {error}") from error
    except MemoryError as error:
        raise ImageError(
            f"{printable(path)}: there is not enough memory to decode this image; make it smaller or free memory"
        ) from error


def _from_elsewhere(
    image: object, channels: Sequence[int] | None, page: int | None, max_pixels: int, chosen: Normalization | None
) -> Float32[np.ndarray, "h w 3"]:
    """What `read_image` gives for anything but a path."""
    kept = isinstance(image, np.ndarray | Image.Image)  # it is slow to ask whether they are like an open file
    if isinstance(image, bytes) or (not kept and isinstance(image, Readable)):
        pixels = _from_bytes(image if isinstance(image, bytes) else image.read(), channels, page, max_pixels)
        return (pixels if channels is None else pixels.pick(channels)).to_rgb()
    pixels = _from_memory(image, any_channels=channels is not None, max_pixels=max_pixels)
    if chosen == AUTOMATIC and pixels.is_unit_range():
        chosen = None
    return (pixels if channels is None else pixels.pick(channels)).to_rgb(chosen)


def _from_file(path: Path, channels: Sequence[int] | None, page: int | None, max_pixels: int) -> Pixels:
    if os.path.isdir(path):  # noqa: PTH112 - of a path that may not be looked at it is False
        from upseg.images.ome_zarr import read_zarr

        return read_zarr(path, channels=channels, page=page, max_pixels=max_pixels)
    signature = _signature(path)
    if signature.startswith(TIFF_SIGNATURES):
        from upseg.images.tiff import read_tiff

        return read_tiff(path, channels=channels, page=page, max_pixels=max_pixels)
    from upseg.images.decoding import decode_file

    if page not in (None, 0):
        raise ImageError(f"page {page} was asked for, but only TIFF files have pages")
    return decode_file(path, max_pixels=max_pixels)


def _from_bytes(data: object, channels: Sequence[int] | None, page: int | None, max_pixels: int) -> Pixels:
    if not isinstance(data, bytes):
        raise ImageError(f"a file must be open for reading bytes (mode 'rb'), but it gave {type(data).__name__}")
    with TemporaryDirectory() as folder:  # decoders open a file several times
        path = Path(folder) / "image"
        path.write_bytes(data)
        return _from_file(path, channels, page, max_pixels)


def _signature(path: Path) -> bytes:
    """The first bytes of a file that can be read and is not empty."""
    try:
        if not path.exists():
            raise ImageError("there is no such file")
        if not path.is_file():
            raise ImageError("this is not a regular file")
        with path.open("rb") as file:
            signature = file.read(16)
    except PermissionError as error:
        raise ImageError("you have no permission to read this file") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL character in the name
        raise ImageError(f"the file cannot be read ({getattr(error, 'strerror', None) or error})") from error
    if not signature:
        raise ImageError("the file is empty")
    return signature


def _from_memory(image: object, *, any_channels: bool, max_pixels: int) -> Pixels:
    if isinstance(image, Image.Image):
        from upseg.images.decoding import decode_pillow

        return decode_pillow(image, max_pixels=max_pixels)
    if isinstance(image, np.ndarray):
        return _from_array(image, any_channels=any_channels)
    if isinstance(image, TensorLike):
        array = _tensor_values(image)
        channel_last = array.transpose(1, 2, 0) if array.ndim == 3 else array
        if array.ndim == 3 and array.shape[0] not in (1, 3, 4) and not any_channels:
            raise ImageError(f"a tensor must be (H, W) or (C, H, W) with 1, 3 or 4 channels, got shape {array.shape}")
        return _from_array(channel_last, any_channels=any_channels)
    raise ImageError(
        "an image must be a path, a NumPy array, a Pillow image, a torch tensor, bytes or an open file, "
        f"got {type(image).__name__}"
    )


def _from_array(array: Shaped[np.ndarray, "*shape"], *, any_channels: bool) -> Pixels:
    if array.ndim == 2:
        return Pixels(array[..., None])
    if array.ndim == 3 and (any_channels or array.shape[2] in (1, 3)):
        return Pixels(array)
    if array.ndim == 3 and array.shape[2] == 4:
        return Pixels(array[..., :3], alpha=array[..., 3])
    hint = (
        "; put the channels last with image.transpose(1, 2, 0)" if array.ndim == 3 and len(array) in (1, 3, 4) else ""
    )
    raise ImageError(
        f"an array must be (H, W) or (H, W, C) with 1, 3 or 4 channels (or channels=... must choose), "
        f"got shape {array.shape}{hint}"
    )


def _tensor_values(tensor: TensorLike) -> Shaped[np.ndarray, "*shape"]:
    values = tensor.detach().cpu()
    if tensor.is_floating_point():
        values = values.float()  # NumPy has no bfloat16
    return np.asarray(values)
