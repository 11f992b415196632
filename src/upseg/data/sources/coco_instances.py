"""COCO instances: 118,287 + 5,000 photos, 80 classes (Lin et al. 2014)."""

from __future__ import annotations

from pathlib import Path

from upseg.data.dataset import OnError
from upseg.data.sources.coco_json import CocoJson
from upseg.data.sources.folders import choose_split, find_folder, nearest_contents
from upseg.errors import DataError


class CocoInstances(CocoJson):
    """One split in the official layout: `{split}/*.jpg` and `annotations/instances_{split}.json`.

    Args:
        root: The folder that holds `annotations`.
        split: train2017, val2017, train2014 or val2014 (train and val will do where there is one year); None for the
            validation split, or the only one there is.
        only: Names of the categories to read; None for all.
    """

    def __init__(
        self,
        root: Path,
        split: str | None = None,
        *,
        on_error: OnError = "raise",
        only: tuple[str, ...] | None = None,
    ) -> None:
        annotation_file, split = coco_annotations(root, "instances", split)
        super().__init__(annotation_file, coco_image_folders(root, split), on_error=on_error, only=only)


def coco_annotations(root: Path, kind: str, split: str | None) -> tuple[Path, str]:
    """The annotation file of a split, and the split's full name.

    Args:
        root: The folder that holds `annotations`.
        kind: How the file's name begins: instances or panoptic.
        split: The split, or None.

    Raises:
        DataError: If there is no such file.
    """
    folder = find_folder(root, ("annotations", "."), f"COCO's {kind}_*.json")
    files = {path.stem.removeprefix(f"{kind}_"): path for path in folder.glob(f"{kind}_*.json")}
    if not files:
        raise DataError(
            f"{folder} should hold COCO's {kind}_train2017.json or {kind}_val2017.json; "
            f"{nearest_contents(folder / kind)}"
        )
    split = choose_split(split, files, folder)
    return files[split], split


def coco_image_folders(root: Path, split: str) -> list[Path]:
    """Where the images of a split are: in the folder named like it, beside `annotations` or in `images`.

    Raises:
        DataError: If there is no such folder.
    """
    return [find_folder(root, (split, f"images/{split}"), f"the images of {split}")]
