"""Training on what other tools keep: from each of their layouts as from a folder."""

from __future__ import annotations

import math

import numpy as np
import pytest
from PIL import Image

from tests.training.test_negatives import recipe
from tests.training.tiny import rows, train
from upseg.data.shapes import ShapeScenes
from upseg.exchange import LAYOUTS, convert, open_items


@pytest.mark.slow
@pytest.mark.parametrize("layout", [name for name, layout in LAYOUTS.items() if layout.source])
def test_every_layout_is_learned_from(layout, tmp_path) -> None:
    for kind in ("images", "labels"):
        (tmp_path / "plain" / kind).mkdir(parents=True)
    for sample in ShapeScenes(4, size=(64, 64)):
        Image.fromarray(np.uint8(sample.image * 255)).save(tmp_path / "plain" / "images" / f"{sample.name}.png")
        Image.fromarray(sample.instance_map().clip(0).astype(np.uint8)).save(
            tmp_path / "plain" / "labels" / f"{sample.name}.png"
        )
    written = convert(open_items(f"folder:{tmp_path / 'plain'}"), tmp_path / "theirs", layout)
    assert written.segments > 4
    content = recipe("entity/cells", tmp_path / "theirs")
    data = content["data"]["init_args"]
    for dataset in (data["train"][0]["dataset"], data["validation"][0]):
        dataset["init_args"] |= {"source": LAYOUTS[layout].source} | ({"split": "train"} if layout == "yolo" else {})
    training = train(tmp_path / "run", content)
    assert training.trainer.global_step == 2
    assert all(math.isfinite(value) for _, _, value in rows(tmp_path / "run", "train/total"))
    assert rows(tmp_path / "run", content["checkpoint"]["monitor"])
