"""Images without objects are learned from by every method: as whole batches, beside others, and in validation."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from tests.data.sources.trees import write_json
from tests.training.tiny import rows, train
from upseg.data.shapes import draw_scene
from upseg.training.recipes import recipes

SIZE = 64
NEGATIVE = 6  # of 8 images, so that some batches of two have none at all
MONITORED = {
    "entity/smoke": "val/recall",
    "entity/cells": "val/image_ap50",
    "baiseg/smoke": "val/given_map50",
    "baiseg/maskrcnn-shapes": "val/ap",
    "panoptic/smoke": "val/pq",
}


def draw(folder: Path) -> None:
    """Eight images with a COCO file in which the last two have objects."""
    images, annotations = [], []
    (folder / "images").mkdir(parents=True)
    for number in range(1, 9):
        scene = draw_scene(number, size=(SIZE, SIZE), difficulty=0.0)
        name = f"{number}.png"
        Image.fromarray(np.round(scene.image * 255).astype(np.uint8)).save(folder / "images" / name)
        images.append({"id": number, "file_name": name, "height": SIZE, "width": SIZE})
        if number > NEGATIVE:
            for left in (4, 36):
                polygon = [[left, 8, left + 24, 8, left + 24, 50, left, 50]]
                row = {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": 1 + (left > 4),
                    "segmentation": polygon,
                }
                annotations.append(row | {"iscrowd": 0})
    categories = [{"id": 1, "name": "cell"}, {"id": 2, "name": "glass"}]
    write_json(folder / "instances.json", {"images": images, "annotations": annotations, "categories": categories})


def recipe(name: str, folder: Path) -> dict[str, Any]:
    """A recipe of the method, small and on that folder."""
    content = yaml.safe_load(recipes()[name].read_text(encoding="utf-8"))
    dataset = {"class_path": "upseg.data.sources.open_dataset", "init_args": {"source": "folder", "path": str(folder)}}
    data = content["data"]["init_args"]
    data |= {"train": [{"dataset": dataset}], "validation": [dataset], "batch_size": 2, "workers": 0}
    data.pop("epoch_length", None)
    if name == "entity/cells":
        content["model"]["init_args"] = {"pretrained": False, "average": 0.9}
        data["transform"]["init_args"]["size"] = SIZE
    if name == "panoptic/smoke":
        content["model"]["init_args"]["settings"] |= {"heads": ["semantic", "instance"], "maximum_depth": None}
    content["trainer"] = {"max_epochs": 1, "accelerator": "cpu", "log_every_n_steps": 1, "num_sanity_val_steps": 0}
    content["checkpoint"] = {"monitor": MONITORED[name]}
    return content


@pytest.mark.slow
@pytest.mark.parametrize("name", MONITORED)
def test_every_method_learns_from_images_without_objects(name, tmp_path) -> None:
    draw(tmp_path / "data")
    training = train(tmp_path / "run", recipe(name, tmp_path / "data"))
    assert training.trainer.global_step == 4
    columns = [column for column in _header(tmp_path / "run") if column.startswith("train/")]
    values = [value for column in columns for _, _, value in rows(tmp_path / "run", column)]
    assert len(rows(tmp_path / "run", "train/total")) == 4
    assert all(map(math.isfinite, values))
    assert rows(tmp_path / "run", MONITORED[name])


def _header(folder: Path) -> list[str]:
    return (folder / "metrics.csv").read_text(encoding="utf-8").splitlines()[0].split(",")
