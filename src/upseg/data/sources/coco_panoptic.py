"""COCO panoptic: 118,287 + 5,000 photos, 80 thing and 53 stuff classes (Kirillov et al. 2019)."""

from __future__ import annotations

from pathlib import Path

from upseg.data.dataset import OnError
from upseg.data.sources.coco_instances import coco_annotations, coco_image_folders
from upseg.data.sources.folders import find_folder
from upseg.data.sources.panoptic_json import PanopticJson


class CocoPanoptic(PanopticJson):
    """One split in the official layout: `{split}/*.jpg`, `annotations/panoptic_{split}.json`, and the PNGs.

    Args:
        root: The folder that holds `annotations`.
        split: train2017 or val2017 (train and val will do); None for val2017, or the only one there is.
    """

    def __init__(self, root: Path, split: str | None = None, *, on_error: OnError = "raise") -> None:
        annotation_file, split = coco_annotations(root, "panoptic", split)
        folder = f"panoptic_{split}"
        pngs = find_folder(
            root,
            (f"annotations/{folder}", folder, f"annotations/{folder}/{folder}"),
            f"the PNGs of {annotation_file.name} (the archive holds them as {folder}.zip)",
        )
        super().__init__(annotation_file, pngs, coco_image_folders(root, split), on_error=on_error)
