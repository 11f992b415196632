"""Data Science Bowl 2018, stage 1: 670 images, each nucleus in a PNG of its own (Caicedo et al. 2019)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from upseg.data.dataset import Dataset, OnError
from upseg.data.sample import Sample
from upseg.data.sources.folders import find_folder, image_of, list_files, nearest_contents
from upseg.data.sources.label_images import read_mask_image
from upseg.errors import DataError
from upseg.segmentation import Category

NUCLEUS = Category(1, "nucleus")


class DSB2018(Dataset):
    """The official layout: a folder for each image with `images/NAME.png` and `masks/*.png`, one mask per nucleus.

    Masks should not overlap; where they do, the smaller one lies on top.

    Args:
        root: The folder `stage1_train`, or the one that holds it.
        split: The folder below `root` to read, such as stage1_train; None for `root/stage1_train`, or `root` itself.
    """

    def __init__(self, root: Path, split: str | None = None, *, on_error: OnError = "raise") -> None:
        self.folder = find_folder(
            root,
            (split,) if split is not None else ("stage1_train", "."),
            "a folder for each image",
        )
        names = sorted({path.parent.name for kind in ("images", "masks") for path in self.folder.glob(f"*/{kind}")})
        if not names:
            raise DataError(
                f"{self.folder} should hold a folder with images and masks for each image; "
                f"{nearest_contents(self.folder / 'NAME')}"
            )
        super().__init__((NUCLEUS,), on_error, names=names)

    def load(self, index: int) -> Sample:
        """Read one image's masks."""
        name = self.names[index]
        folder = self.folder / name
        images = list_files(folder / "images", (".png",), "the image")
        masks = list_files(folder / "masks", (".png",), "one mask for each nucleus")
        if len(images.files) != 1:
            raise DataError(f"{images.folder} should hold one image, but holds {len(images.files)}")
        read = {masks.path(key): read_mask_image(masks.path(key)) for key in masks.files}
        shape = next(iter(read.values())).shape
        found = {path: mask for path, mask in read.items() if mask.any()}
        left_out = [f"mask {path.name} is empty" for path in read.keys() - found.keys()]
        labels = np.zeros(shape, np.int32)
        for number, path in enumerate(sorted(found, key=lambda p: -int(found[p].sum())), start=1):
            if found[path].shape != shape:
                raise DataError(f"{path}: the mask is {found[path].shape} pixels, others of its image are {shape}")
            labels[found[path]] = number
        hidden = len(found) - len(np.unique(labels[labels > 0]))
        return Sample.from_labels(
            image_of(images.path(next(iter(images.files))), shape, masks.folder),
            labels,
            categories=dict.fromkeys(range(1, len(found) + 1), NUCLEUS),
            name=name,
            left_out=[*left_out, *([f"{hidden} masks are wholly behind smaller ones"] if hidden else [])],
        )
