"""Files that Pillow decodes, and Pillow images: PNG, JPEG, WebP, BMP, GIF."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from jaxtyping import Shaped
from PIL import Image, ImageFile, UnidentifiedImageError

from upseg.errors import ImageError
from upseg.images.normalization import Pixels

# Named one by one, so that no damaged or hostile file reaches a decoder that nobody asked for.
_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "DIB", "GIF")
_ORIENTATION_TAG = 0x0112
# Of colours with 16 bits Pillow keeps one byte. These are its names for how they are stored, each with the name for
# the same bytes in the other order, under which it keeps the other byte.
_NATIVE_SWAPPED = "B" if sys.byteorder == "little" else "L"
_OTHER_BYTE = {
    "RGB;16B": "RGB;16L",
    "RGBA;16B": "RGBA;16L",
    "RGB;16N": f"RGB;16{_NATIVE_SWAPPED}",
    "RGBA;16N": f"RGBA;16{_NATIVE_SWAPPED}",
}
_GREY_WITH_ALPHA = "LA;16B"  # as many bytes as RGBA, so all of them fit into one image


def decode_file(path: Path, *, max_pixels: int) -> Pixels:
    """Decode the first frame of a PNG, JPEG, WebP, BMP or GIF file.

    Args:
        path: An existing file.
        max_pixels: Refuse more than this many pixels before decoding.

    Raises:
        ImageError: If the file is not such an image, is damaged, or is too large.
    """
    try:
        with decoding_errors(), Image.open(path, formats=_FORMATS) as image:
            check_size(image.height, image.width, max_pixels)
            if keeps_one_byte_of_two(image):
                with Image.open(path, formats=_FORMATS) as again:
                    return decode_both_bytes(image, again)
            return decode_pillow(image, max_pixels=max_pixels)
    except UnidentifiedImageError as error:
        raise ImageError("this is not an image that upseg reads (PNG, JPEG, WebP, BMP, TIFF or GIF)") from error


def decode_pillow(image: Image.Image, *, max_pixels: int) -> Pixels:
    """Take the samples out of a Pillow image, whatever its mode, the right way up.

    Raises:
        ImageError: If it is too large, cannot be decoded, or its colours cannot be turned into RGB.
    """
    check_size(image.height, image.width, max_pixels)
    with decoding_errors():
        image.load()
        samples = oriented(np.asarray(_in_plain_mode(image)), orientation(image))
    return split_alpha(samples)


def check_size(height: int, width: int, max_pixels: int) -> None:
    """Refuse an image of more than `max_pixels` pixels.

    Raises:
        ImageError: If it is larger.
    """
    if height * width > max_pixels:
        raise ImageError(
            f"{width} x {height} is {height * width:,} pixels, over the limit of {max_pixels:,}; "
            "if you trust the file, raise the limit with max_pixels=... (--max-pixels)"
        )


def oriented(samples: Shaped[np.ndarray, "h w *c"], tag: int) -> Shaped[np.ndarray, "h2 w2 *c"]:
    """Undo what the orientation tag of EXIF and TIFF (1 to 8, else upright) says about rows and columns of samples."""
    if tag in (5, 6, 7, 8):
        samples = samples.swapaxes(0, 1)
    rows_reversed, columns_reversed = tag in (3, 4, 7, 8), tag in (2, 3, 6, 7)
    return samples[:: -1 if rows_reversed else 1, :: -1 if columns_reversed else 1]


def orientation(image: Image.Image) -> int:
    """The orientation tag of a Pillow image, 1 (upright) where there is none or it makes no sense."""
    tag = image.getexif().get(_ORIENTATION_TAG, 1)
    return tag if isinstance(tag, int) else 1


def keeps_one_byte_of_two(image: ImageFile.ImageFile) -> bool:
    """Whether Pillow would lose half of the bits of a file that is open but not decoded, and we can prevent it."""
    raw_mode = _raw_mode(image)
    return raw_mode in _OTHER_BYTE or raw_mode == _GREY_WITH_ALPHA


def decode_both_bytes(image: ImageFile.ImageFile, again: ImageFile.ImageFile) -> Pixels:
    """Decode colours of 16 bits, of which Pillow keeps one byte for each sample: once for each byte.

    Args:
        image: The file, open but not decoded; `keeps_one_byte_of_two` is true of it.
        again: The same, opened once more.
    """
    raw_mode = _raw_mode(image)
    if raw_mode == _GREY_WITH_ALPHA:
        _set_raw_mode(image, "RGBA")
        stored = np.asarray(image).astype(np.uint16)
        samples = stored[..., 0::2] << 8 | stored[..., 1::2]
    else:
        _set_raw_mode(again, _OTHER_BYTE[raw_mode])
        samples = np.asarray(image).astype(np.uint16) << 8 | np.asarray(again)
    return split_alpha(oriented(samples, orientation(image)))


def _raw_mode(image: ImageFile.ImageFile) -> str:
    arguments = image.tile[0].args if image.tile else ""
    return str(arguments[0] if isinstance(arguments, tuple) else arguments)


def _set_raw_mode(image: ImageFile.ImageFile, raw_mode: str) -> None:
    for index, tile in enumerate(image.tile):
        arguments = (raw_mode, *tile.args[1:]) if isinstance(tile.args, tuple) else raw_mode
        image.tile[index] = tile._replace(args=arguments)


def _in_plain_mode(image: Image.Image) -> Image.Image:
    """Convert palettes, CMYK and the like; keep the depth of grey images."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return image
    if image.has_transparency_data:
        return image.convert("RGBA")
    return image if image.mode in ("1", "L") else image.convert("RGB")


def split_alpha(samples: Shaped[np.ndarray, "h w *c"]) -> Pixels:
    """Take the last of 2 or 4 channels for alpha; samples may be (H, W) or (H, W, C)."""
    samples = samples if samples.ndim == 3 else samples[..., None]
    if samples.shape[2] in (2, 4):
        return Pixels(samples[..., :-1], alpha=samples[..., -1])
    return Pixels(samples)


@contextmanager
def decoding_errors() -> Iterator[None]:
    """Turn whatever a decoder raises about a damaged file into an `ImageError`."""
    with _OWN_LIMIT:
        try:
            yield
        except (ImageError, UnidentifiedImageError, MemoryError):
            raise
        except Exception as error:  # decoders fail on damaged data with any exception there is
            raise ImageError(f"the file is damaged or cut off ({error or type(error).__name__})") from error


class _OwnLimit:
    """Switches Pillow's own pixel limit off while images are decoded under ours, from any number of threads.

    Pillow's limit is one setting for the process, and it cannot be raised for a single file.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._saved: int | None = None

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._saved, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                Image.MAX_IMAGE_PIXELS = self._saved


_OWN_LIMIT = _OwnLimit()
