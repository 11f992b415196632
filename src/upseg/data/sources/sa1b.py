"""SA-1B: 11 million photos with about 100 masks each, without classes (Kirillov et al. 2023)."""

from __future__ import annotations

from pathlib import Path

from upseg.data.dataset import Dataset, OnError
from upseg.data.sample import Sample
from upseg.data.sources.coco_json import paint_masks, usable_mask
from upseg.data.sources.folders import image_of, list_files
from upseg.data.sources.label_images import truth_file
from upseg.formats.metadata import list_of, load_json, object_of, size_of


class SA1B(Dataset):
    """The official layout: `sa_1.jpg` beside `sa_1.json`, in a folder or in folders `sa_000000` and so on.

    Masks contain one another; the smaller one lies on top, so a segment is what of a mask is not covered by its parts.

    Args:
        root: A folder that holds the files, or folders of them.
        split: A folder below `root`, such as sa_000000; None for all.
    """

    def __init__(self, root: Path, split: str | None = None, *, on_error: OnError = "raise") -> None:
        folder = root if split is None else root / split
        self._files = list_files(folder, (".json",), "SA-1B's annotations", recursive=True)
        super().__init__((), on_error, names=sorted(self._files.files, key=_in_numeric_order))

    def load(self, index: int) -> Sample:
        """Draw the masks of one image."""
        path = self._files.path(self.names[index])
        with truth_file(path, "an annotation of SA-1B"):
            data = object_of(load_json(path), "the file")
            image = object_of(data.get("image"), "image")
            shape = size_of(image.get("height"), image.get("width"))
            rows = [object_of(row, "an annotation") for row in list_of(data.get("annotations"), "annotations")]
            wrong: list[str] = []
            usable = [mask for row in rows if (mask := usable_mask(row, shape, wrong)) is not None]
            labels, hidden = paint_masks(usable, shape)
        lazy = image_of(path.with_suffix(".jpg"), shape, path)
        return Sample.from_labels(lazy, labels, name=self.names[index], left_out=[*wrong, *hidden])


def _in_numeric_order(key: str) -> tuple[str, int, str]:
    folder, _, name = key.rpartition("/")
    number = name.rpartition("_")[2]
    return folder, int(number) if number.isdecimal() else -1, name
