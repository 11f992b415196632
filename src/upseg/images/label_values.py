"""What the numbers in a label map mean: background, void, or something labelled. Said here and nowhere else."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Integer

from upseg.images.label_maps import StoredLabels

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
        """The numbers with -1 for void and 0 for the background.

        Args:
            stored: What the file holds.
        """
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
