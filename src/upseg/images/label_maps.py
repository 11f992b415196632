"""Label maps in image files, read in one way wherever they come from: ground truth, class masks, predictions, results.

Reading says which numbers a file holds; what they mean (background, void, a segment, a class) `LabelValues` says.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Integer, Shaped
from PIL import PngImagePlugin

from upseg.errors import ImageError
from upseg.files import check_openable
from upseg.images.decoding import check_size, decoding_errors, orientation, oriented
from upseg.images.reading import DEFAULT_MAX_PIXELS, TIFF_SIGNATURES

if TYPE_CHECKING:
    import tifffile

BACKGROUND = 0
VOID = 255
"""What nobody knows, in the class masks of PASCAL VOC, ADE20K, Cityscapes and COCO-Stuff, and as a palette's border."""
_NONE = "none"


@dataclass(frozen=True)
class LabelValues:
    """How the numbers of one kind of label map are read.

    0 is the background and belongs to no segment; what is below 0 is void.

    Attributes:
        are_classes: Whether the other numbers are classes; else each is a segment of its own.
        void: The numbers above 0 that are void. None for the usual: 255 in class masks and in palettes. A map that has
            nothing but 0 and 255 is then refused, because 255 may as well be what was labelled.
    """

    are_classes: bool = False
    void: frozenset[int] | None = None

    def void_in(self, *, has_palette: bool) -> frozenset[int]:
        """The numbers above 0 that are void in a file with or without a palette."""
        if self.void is not None:
            return self.void
        return frozenset({VOID}) if self.are_classes or has_palette else frozenset()

    def meaning(self, stored: StoredLabels) -> Integer[np.ndarray, "h w"]:
        """The numbers with -1 for void and 0 for the background."""
        values = stored.values
        void = values < BACKGROUND
        for number in self.void_in(has_palette=stored.has_palette):
            void |= values == number
        if not void.any():
            return values
        signed = values if values.dtype.kind == "i" else values.astype(np.int64)
        return np.where(void, signed.dtype.type(-1), signed)

    def checked(self, stored: StoredLabels) -> Integer[np.ndarray, "h w"]:
        """As `meaning`, for maps of other programs whose 255 can be what was labelled.

        Raises:
            ValueError: If the map has nothing but 0 and 255, and nobody said what 255 is.
        """
        present = {value for value in np.unique(stored.values).tolist() if value > BACKGROUND}
        if self.void is None and present == {VOID}:
            raise ValueError(
                f"its only value beside 0 is {VOID}, which usually means void; say what it is: if it is a class or an "
                f'object here, void="none" (--set void=none, or --void none of upseg split), else void="{VOID}"'
            )
        return self.meaning(stored)

    def __str__(self) -> str:
        """For people, in one line."""
        what = "a class" if self.are_classes else "a segment"
        named = ", ".join(map(str, sorted(self.void_in(has_palette=False))))
        usual = self.void is None and not self.are_classes
        also = f" (in palette files {VOID} too)" if usual else ""
        void = f"{named} and negative numbers" if named else "negative numbers"
        return f"0 is background, {void} void{also}, every other number {what}; another void: --set void=..."


def parse_void(text: str | int | Iterable[int] | None) -> frozenset[int] | None:
    """The numbers that an option `void` names.

    Args:
        text: A number, several with commas between, or `none` for none; None for the usual.

    Raises:
        ValueError: If it is none of these.

    Example:
        >>> sorted(parse_void("0, 255"))
        [0, 255]
    """
    if text is None:
        return None
    if isinstance(text, int):
        return frozenset({text})
    if not isinstance(text, str):
        return frozenset(text)
    if text.strip().lower() == _NONE:
        return frozenset()
    if not re.fullmatch(r"\s*-?\d+\s*(,\s*-?\d+\s*)*", text):
        raise ValueError(f"void takes numbers with commas between, or none, got {text!r}")
    return frozenset(map(int, text.split(",")))


LABEL_SUFFIXES = (".png", ".tif", ".tiff")
"""What counts as a label map when a folder is searched, in lower case; what a file is, its content tells."""
_ORIENTATION_TAG = 274
_PLACE_TAGS = ((273, 324), (279, 325))  # offsets and lengths, of strips or of tiles: without them tifffile gives zeros
_MOST_CHANNELS = 4  # of grey that was saved as colours
_MOST_LEVELS = 64  # of a pyramid
_EXACT = 2**53  # up to here every whole number is a float of 64 bits


@dataclass(frozen=True)
class StoredLabels:
    """The numbers in an image file.

    Attributes:
        values: (H, W) integers, the way up that the file's own orientation tag says.
        has_palette: Whether they are indices of a palette's colours.
        note: What upseg wrote beside them; None where another program wrote the file.
        is_turned: Whether the file has an orientation tag.
    """

    values: Integer[np.ndarray, "h w"]
    has_palette: bool = False
    note: str | None = None
    is_turned: bool = False


def read_label_map(path: Path, *, key: str = "upseg", max_pixels: int = DEFAULT_MAX_PIXELS) -> StoredLabels:
    """Read the numbers of a label map.

    PNG and TIFF, told apart by their content, in every compression; grey of 1 to 64 bits, with or without sign; floats
    that are whole numbers; palettes, whose indices count; grey that was saved as RGB or with an alpha channel. Of a
    pyramid the largest level counts.

    Args:
        path: The file.
        key: Of the note in a PNG.
        max_pixels: Refuse more than this many pixels before decoding.

    Raises:
        ImageError: If the file is neither, is damaged or too large, holds several planes, colours, or numbers that are
            not whole; the message does not name the file.
        OSError: If it cannot be opened.
    """
    _check_regular(path)
    with path.open("rb") as file:
        signature = file.read(8)
    if signature.startswith(TIFF_SIGNATURES):
        return _read_tiff(path, max_pixels)
    pixels, has_palette, note, turn = _load_png(path, key, max_pixels)
    return StoredLabels(oriented(whole_numbers(one_channel(pixels)), turn), has_palette, note, turn != 1)


def read_png_pixels(
    path: Path, *, max_pixels: int = DEFAULT_MAX_PIXELS, through_palette: bool = False
) -> Shaped[np.ndarray, "h w *channels"]:
    """The samples of a PNG as they are stored: grey, palette indices, or 8-bit RGB, in which colours stand for numbers.

    Args:
        path: The file.
        max_pixels: Refuse more than this many pixels before decoding.
        through_palette: Whether the colours count that a palette's indices stand for.

    Raises:
        ImageError: If it is no PNG, is damaged, or is too large.
        OSError: If it cannot be opened.
    """
    return _load_png(path, "", max_pixels, through_palette=through_palette)[0]


def one_channel(samples: Shaped[np.ndarray, "h w *channels"]) -> Shaped[np.ndarray, "h w"]:
    """The one channel of grey, or of grey that was saved as RGB, with or without alpha.

    Raises:
        ImageError: If there are colours.
    """
    if samples.ndim == 2:
        return samples
    count = samples.shape[2]
    grey = samples[..., 0]
    if count <= 2 or (count <= 4 and all(np.array_equal(grey, samples[..., channel]) for channel in (1, 2))):
        return np.ascontiguousarray(grey)
    raise ImageError(
        f"a label map has one number for each pixel, this file has {count} channels that differ (colours); save its "
        "indices or ids as grey or palette PNG, or as TIFF"
    )


def whole_numbers(values: Shaped[np.ndarray, "h w"]) -> Integer[np.ndarray, "h w"]:
    """Integers of at most 64 bits with a sign.

    Raises:
        ImageError: If a value is not whole or does not fit.
    """
    if values.dtype.kind == "f":
        wrong = values[~(np.isfinite(values) & (values == np.rint(values)))]
        if wrong.size:
            raise ImageError(f"a label map holds whole numbers, this one holds {wrong.flat[0]}")
        largest = float(max(-values.min(initial=0), values.max(initial=0)))
        if largest > _EXACT:
            raise ImageError(f"the ids of a label map must be exact, but {largest} is beyond 2^53")
        return values.astype(np.int64)
    if values.dtype.kind == "b":
        return values.astype(np.uint8)
    if values.dtype.kind not in "iu":
        raise ImageError(f"a label map holds whole numbers, this one holds {values.dtype}")
    if values.dtype.itemsize == 8:
        if values.size and int(values.max()) > np.iinfo(np.int64).max:
            raise ImageError(f"the ids of a label map must fit 64 bits with a sign, got {values.max()}")
        return values.astype(np.int64)
    return values


def _check_regular(path: Path) -> None:
    try:
        check_openable(path)
    except ValueError as error:
        raise ImageError(str(error)) from error


def _load_png(
    path: Path, key: str, max_pixels: int, *, through_palette: bool = False
) -> tuple[Shaped[np.ndarray, "h w *channels"], bool, str | None, int]:
    """Samples as they are stored, whether they are palette indices, our note, and the orientation tag.

    Opened as PNG and nothing else, and without Pillow's own limit of pixels, which warns first.
    """
    _check_regular(path)
    with path.open("rb") as file, decoding_errors():
        with PngImagePlugin.PngImageFile(file) as image:
            check_size(image.height, image.width, max_pixels)
            image.verify()  # the checksum of each chunk, which decoding does not look at
        file.seek(0)
        with PngImagePlugin.PngImageFile(file) as image:
            image.load()
            turn = orientation(image) if "exif" in image.info else 1
            grey = image.mode in ("1", "L", "I", "F") or image.mode.startswith("I;16")
            grey |= image.mode == "P" and not through_palette
            samples = np.asarray(image if grey or image.mode in ("LA", "RGB", "RGBA") else image.convert("RGB"))
            return samples, image.mode == "P", image.text.get(key), turn


def _read_tiff(path: Path, max_pixels: int) -> StoredLabels:
    import tifffile

    with decoding_errors(), tifffile.TiffFile(path) as file:
        page = _only_page(file)
        if min(page.imagelength, page.imagewidth) < 1:
            raise ImageError("the file is damaged: its label map has no pixels")
        check_size(page.imagelength, page.imagewidth, max_pixels)
        check_size(max(page.tilelength, 1), max(page.tilewidth, 1), max_pixels)
        if page.samplesperpixel > _MOST_CHANNELS:
            raise ImageError(
                f"a label map has one number for each pixel, this file has {page.samplesperpixel} channels"
            )
        if not all(any(tag in page.tags for tag in tags) for tags in _PLACE_TAGS):
            raise ImageError("the file is damaged: it does not say where the pixels of its label map are")
        if len(page.dataoffsets) < math.prod(page.chunked):
            raise ImageError("the file is damaged: strips or tiles of its label map are missing")
        if page.imagedepth != 1:
            raise ImageError(f"a label map is one plane, this page has {page.imagedepth}")
        samples = page.asarray().reshape(page.shaped)[:, 0]
        tag = page.tags.get(_ORIENTATION_TAG)
        turn = int(tag.value) if tag is not None else 1
        # planes of samples stored one after the other (axis 0), or the samples of each pixel together (axis 3)
        channels = np.concatenate(samples, axis=2) if len(samples) > 1 else samples[0]
        values = oriented(whole_numbers(one_channel(channels)), turn)
        note = page.description if page.description.startswith('{"upseg":') else None
        return StoredLabels(values, page.photometric == tifffile.PHOTOMETRIC.PALETTE, note, turn != 1)


def _only_page(file: tifffile.TiffFile) -> tifffile.TiffPage:
    """The page that is the label map: the only one, or the largest level of a pyramid.

    The file's own description of how its pages belong together is not followed: it may name other files.
    """
    first = file.pages.first
    count = len(file.pages)
    sizes = [file.pages[number].shape[:2] for number in range(min(count, _MOST_LEVELS))]
    shrinks = all(a[0] > b[0] and a[1] > b[1] for a, b in pairwise(sizes))
    if count > 1 and not shrinks:
        raise ImageError(f"a label map is one page, this file has {count}; save the one that is meant")
    return first
