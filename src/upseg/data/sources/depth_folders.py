"""Folders of images and depth images, as NYUv2's video frames and KITTI come."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from upseg.data.dataset import Dataset, OnError
from upseg.data.sample import Sample
from upseg.data.sources.folders import IMAGES, LABELS, Listing, image_of, list_files, shared_keys
from upseg.data.sources.label_images import read_label_image
from upseg.errors import DataError

_IMAGE, _DEPTH = ("rgb", "image", "images"), ("depth", "sync_depth")
_PREFIX = re.compile(r"^(rgb|image|sync_depth|depth)[_-]?")


class DepthFolders(Dataset):
    """Images with depth and without segments: `rgb/NAME.jpg` and `depth/NAME.png`, at any depth of folders.

    An image and its depth belong together when their paths are the same but for a folder `rgb`, `images` or `depth`,
    and for `rgb_`, `image_`, `depth_` or `sync_depth_` before the number: `rgb/rgb_00050.jpg` and
    `depth/sync_depth_00050.png`, or `scene/rgb_00050.jpg` and `scene/sync_depth_00050.png`. Depth is a PNG or TIFF of
    integers, 0 where it was not measured.

    Args:
        root: The folder that holds these.
        split: A folder below `root`; None for all.
        depth_scale: The value that stands for one metre: 1000 for NYUv2, 256 for KITTI.
    """

    def __init__(
        self, root: Path, split: str | None = None, *, on_error: OnError = "raise", depth_scale: float = 1000.0
    ) -> None:
        if not depth_scale > 0:
            raise DataError(f"depth_scale must be more than 0, got {depth_scale}")
        self.depth_scale = depth_scale
        folder = root if split is None else root / split
        everything = list_files(folder, ("",), "images and depth", recursive=True)
        self._images = _matching(everything, _IMAGE, IMAGES)
        self._depths = _matching(everything, _DEPTH, LABELS)
        for found, what in ((self._images, "images (rgb/* or rgb_*)"), (self._depths, "depth (depth/* or *depth_*)")):
            if not found.files:
                raise DataError(f"{folder} should hold {what}, but of its {len(everything.files)} files none is such")
        self._keys, problems = shared_keys(self._images, self._depths, on_error)
        super().__init__((), on_error, problems, names=[self._images.name(key) for key in self._keys])

    def load(self, index: int) -> Sample:
        """Read one image's depth."""
        key = self._keys[index]
        path = self._depths.path(key)
        values = read_label_image(path)
        if not values.any():
            raise DataError(f"{path}: the annotation is empty: no pixel has a depth")
        shape = (values.shape[0], values.shape[1])
        depth = values.astype(np.float32) / np.float32(self.depth_scale)
        lazy = image_of(self._images.path(key), shape, path)
        return Sample(lazy, np.zeros(shape, np.int32), (), depth, name=self.names[index])


def _matching(everything: Listing, words: Sequence[str], suffixes: Sequence[str]) -> Listing:
    """The files of one kind, which the folder or the beginning of the name tells."""
    files: dict[str, str] = {}
    for name in everything.files.values():
        *folders, file = name.split("/")
        if not file.lower().endswith(tuple(suffixes)):
            continue
        prefix = _PREFIX.match(file.lower())
        telling = [n for n, folder in enumerate(folders) if folder.lower() in (*_IMAGE, *_DEPTH)][-1:]
        told = prefix.group(1) if prefix else folders[telling[0]].lower() if telling else ""
        if told not in words:
            continue
        inner = [folder for n, folder in enumerate(folders) if n not in telling]
        key = "/".join([*inner, file[prefix.end() if prefix else 0 :].rpartition(".")[0]])
        if key in files:
            raise DataError(f"{everything.folder} holds both {files[key]} and {name}; which of the two is meant?")
        files[key] = name
    return Listing(everything.folder, files)
