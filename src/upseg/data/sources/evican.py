"""EVICAN: 4,738 microscope images of 30 cell lines, cells and nuclei in COCO's format (Schwendy et al. 2020)."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from upseg.data.dataset import OnError
from upseg.data.sources.coco_json import CocoJson
from upseg.data.sources.folders import find_file, find_folder
from upseg.errors import DataError

_SPLITS = {
    "train": "train2019",
    "val": "val2019",
    "eval-easy": "eval2019_easy",
    "eval-medium": "eval2019_medium",
    "eval-difficult": "eval2019_difficult",
}


class EVICAN(CocoJson):
    """One split: `instances_{train2019,val2019,eval2019_easy,...}_EVICAN2.json`, and the images in `EVICAN_train2019`.

    The JSON files are looked for in `root`, `annotations` and `annotations/EVICAN2`, the images in `EVICAN_*2019` or
    `*2019`, in `root` or its `images` (also `Images`). Cells contain their nuclei, and a nucleus lies on top of its
    cell; `only=("Cell",)` gives whole cells.

    Args:
        root: The folder that holds these.
        split: train, val, eval-easy, eval-medium or eval-difficult; None for val.
        only: Names of the categories to read; None for all.
        classes: EVICAN2 (cell and nucleus), or EVICAN60 (cell and nucleus of each of 30 cell lines).
    """

    def __init__(
        self,
        root: Path,
        split: str | None = None,
        *,
        on_error: OnError = "raise",
        only: tuple[str, ...] | None = None,
        classes: Literal["EVICAN2", "EVICAN60"] = "EVICAN2",
    ) -> None:
        split = split or "val"
        if split not in _SPLITS:
            raise DataError(f"the splits of EVICAN are {', '.join(_SPLITS)}; got {split!r}")
        name = f"instances_{_SPLITS[split]}_{classes}.json"
        places = (".", "annotations", f"annotations/{classes}", "Annotations", f"Annotations/{classes}")
        file = find_file(root, [f"{place}/{name}" for place in places], "EVICAN's annotations")
        year = f"{split.partition('-')[0]}2019"
        folders = [f"{place}/{prefix}{year}" for place in (".", "images", "Images") for prefix in ("EVICAN_", "")]
        images = find_folder(root, folders, f"EVICAN's images of {year}")
        super().__init__(file, [images], on_error=on_error, only=only)
