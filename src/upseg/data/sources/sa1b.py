"""SA-1B: 11 million photos with about 100 masks each, without classes (Kirillov et al. 2023)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from upseg.data.dataset import Dataset, OnError
from upseg.data.sample import Sample
from upseg.data.sources.coco_json import paint_masks, usable_mask
from upseg.data.sources.folders import image_of, list_files
from upseg.data.sources.label_images import truth_file
from upseg.errors import DataError
from upseg.formats.coco import mask_runs
from upseg.formats.metadata import list_of, load_json, object_of, size_of
from upseg.functional.runs import paint_runs


class SA1B(Dataset):
    """The official layout: `sa_1.jpg` beside `sa_1.json`, in a folder or in folders `sa_000000` and so on.

    Masks contain one another; the smaller one lies on top, so a segment is what of a mask is not covered by its parts.
    `whole_masks` has them whole, and so are they measured by the protocol `entity`.

    Args:
        root: A folder that holds the files, or folders of them.
        split: A folder below `root`, such as sa_000000; None for all.
        most_objects: Only so many images, those with most annotated masks, for which all are counted (the paper's
            complex scenes: 500); None for all images.
    """

    def __init__(
        self, root: Path, split: str | None = None, *, on_error: OnError = "raise", most_objects: int | None = None
    ) -> None:
        if most_objects is not None and most_objects < 1:
            raise DataError(f"most_objects must be at least 1 image, got {most_objects}")
        folder = root if split is None else root / split
        self._files = list_files(folder, (".json",), "SA-1B's annotations", recursive=True)
        keys = sorted(self._files.files, key=_in_numeric_order)
        if most_objects is not None:
            counts = {key: len(self._read(key)[1]) for key in keys}
            chosen = {*sorted(keys, key=lambda key: -counts[key])[:most_objects]}
            keys = [key for key in keys if key in chosen]
        super().__init__((), on_error, names=keys)

    def load(self, index: int) -> Sample:
        """Draw the masks of one image."""
        key = self.names[index]
        path = self._files.path(key)
        shape, rows = self._read(key)
        with truth_file(path, "an annotation of SA-1B"):
            wrong: list[str] = []
            usable = [mask for row in rows if (mask := usable_mask(row, shape, wrong)) is not None]
            labels, hidden = paint_masks(usable, shape)
        lazy = image_of(path.with_suffix(".jpg"), shape, path)
        return Sample.from_labels(lazy, labels, name=key, left_out=[*wrong, *hidden])

    def whole_masks(self, index: int) -> Iterator[Bool[np.ndarray, "h w"]]:
        """The masks of one image as they are annotated, parts inside of wholes, one at a time."""
        key = self.names[index]
        shape, rows = self._read(key)
        with truth_file(self._files.path(key), "an annotation of SA-1B"):
            for row in rows:
                if (usable := usable_mask(row, shape, [])) is not None:
                    inside = paint_runs(mask_runs([usable], shape), shape[0] * shape[1])[0]
                    yield inside.reshape(shape[1], shape[0]).T > 0

    def _read(self, key: str) -> tuple[tuple[int, int], list[Mapping[str, Any]]]:
        """(H, W) and the annotations of one image."""
        path = self._files.path(key)
        with truth_file(path, "an annotation of SA-1B"):
            data = object_of(load_json(path), "the file")
            image = object_of(data.get("image"), "image")
            shape = size_of(image.get("height"), image.get("width"))
            return shape, [object_of(row, "an annotation") for row in list_of(data.get("annotations"), "annotations")]


def _in_numeric_order(key: str) -> tuple[str, int, str]:
    folder, _, name = key.rpartition("/")
    number = name.rpartition("_")[2]
    return folder, int(number) if number.isdecimal() else -1, name
