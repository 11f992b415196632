"""Training from the page, without the page."""

import numpy as np
import pytest
from PIL import Image

from upseg.app.training import FROM_IMAGENET, read_curve, train
from upseg.app.workers import Place
from upseg.models.registry import load_model
from upseg.training import recipes


@pytest.mark.slow
def test_what_is_like_no_model_is_learned_from_imagenet_weights(tmp_path, monkeypatch) -> None:
    image = np.full((96, 96, 3), 40, np.uint8)
    labels = np.zeros((96, 96), np.uint8)
    for number, (row, column) in enumerate(((10, 10), (10, 55), (55, 30)), start=1):
        labels[row : row + 28, column : column + 28] = number
    image[labels > 0] = (200, 120, 60)
    for kind, content in (("images", image), ("labels", labels)):
        (tmp_path / "truth" / kind).mkdir(parents=True)
        for name in ("one", "two"):
            Image.fromarray(content).save(tmp_path / "truth" / kind / f"{name}.png")
    short = tmp_path / "folder.yaml"
    recipe = recipes.find_recipe("entity/folder").read_text().replace("epoch_length: 200", "epoch_length: 8")
    short.write_text(recipe.replace("size: [128, 128]", "size: [64, 64]"))
    monkeypatch.setattr(recipes, "find_recipe", {"entity/folder": short}.__getitem__)
    run, model = tmp_path / "run", tmp_path / "model"
    train(Place(), None, tmp_path / "truth", run, model, epochs=2)
    assert [row["epoch"] for row in read_curve(run / "metrics.csv") if "score" in row] == [0, 1]
    learned = load_model(model)
    assert learned.segment(image).shape == (96, 96)
    assert FROM_IMAGENET in (model / "config.json").read_text()
