"""EntitySeg: 33,227 photos in high resolution, every entity labelled (Qi et al. 2023)."""

from __future__ import annotations

from pathlib import Path

from upseg.data.dataset import OnError
from upseg.data.sources.coco_json import CocoJson
from upseg.data.sources.folders import find_folder, nearest_contents
from upseg.errors import DataError

_IMAGES = "entity_0*"  # the three archives unpack to entity_01_11580, entity_02_11598 and entity_03_10049


class EntitySeg(CocoJson):
    """One file of annotations in COCO's format with run lengths, and the three folders of images.

    Layout: `entityseg_{insseg_train,insseg_val,train_01,train_02,train_03}.json` in `root` or `annotations`; the images
    in `entity_0*` (or folders in these), in `root` or `images`.

    Args:
        root: The folder that holds these.
        split: What a JSON file's name says after `entityseg_`, such as insseg_val or train_01; train and val stand for
            insseg_train and insseg_val. None for val.
    """

    def __init__(self, root: Path, split: str | None = None, *, on_error: OnError = "raise") -> None:
        split = split or "val"
        files = {path.stem.removeprefix("entityseg_"): path for path in root.glob("entityseg_*.json")}
        files |= {path.stem.removeprefix("entityseg_"): path for path in root.glob("annotations/entityseg_*.json")}
        names = (split, f"insseg_{split}", f"{split}_annotations", f"insseg_{split}_annotations")
        chosen = next((files[name] for name in names if name in files), None)
        if chosen is None:
            there = f"; there are {', '.join(sorted(files))}" if files else f"; {nearest_contents(root / 'x')}"
            raise DataError(
                f"{root} or {root / 'annotations'} should hold EntitySeg's annotations entityseg_{names[0]}.json or "
                f"entityseg_{names[1]}.json{there}"
            )
        super().__init__(chosen, _image_folders(root), on_error=on_error, needs_categories=False)


def _image_folders(root: Path) -> list[Path]:
    base = find_folder(root, ("images", "."), "EntitySeg's images")
    archives = sorted(path for path in base.glob(_IMAGES) if path.is_dir())
    inner = [path for archive in archives for path in sorted(archive.iterdir()) if path.is_dir()]
    return [base, *archives, *inner]
