import json
import sys
from collections.abc import Callable

import pytest
import torch

from tests.models.learned import BAND
from upseg.cli import main
from upseg.models import folders as model_folders
from upseg.models import registry as models
from upseg.models.folders import ModelConfig
from upseg.models.saving import save_pretrained
from upseg.segmentation import Category


@pytest.fixture
def run(monkeypatch, capsys, tmp_path) -> Callable[..., str]:
    """Runs `upseg models` where a package of models has two, and returns what it prints."""
    monkeypatch.setitem(models.METHODS, "band", BAND)
    monkeypatch.setattr(model_folders, "PACKAGED_MODELS", tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    weights = {"shift": torch.zeros(2), "count": torch.tensor(2)}
    training = {"data": ["drawn [bold] squares", "photos"], "epochs": 3}
    squares = ModelConfig("band", {}, (Category(1, "square"),), training, "finds squares")
    save_pretrained(tmp_path / "squares", squares, weights)
    save_pretrained(tmp_path / "circles", ModelConfig("band"), weights)

    def call(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["upseg", "models", *arguments])
        with pytest.raises(SystemExit) as end:
            main()
        assert not end.value.code
        return capsys.readouterr().out

    return call


def test_methods_without_weights_and_packaged_models_are_listed(run, tmp_path) -> None:
    rows = json.loads(run("--json"))["models"]
    assert [row["name"] for row in rows] == ["dynaseg", "circles", "squares"]
    dynaseg, circles, squares = rows
    assert dynaseg["method"] == "dynaseg"
    assert (dynaseg["bytes"], dynaseg["training"], dynaseg["classes"]) == (None, {}, [])
    assert dynaseg["location"] == "built in (upseg.methods.dynaseg)"
    assert squares == {
        "name": "squares",
        "method": "band",
        "description": "finds squares",
        "location": str(tmp_path / "squares"),
        "bytes": (tmp_path / "squares" / "model.safetensors").stat().st_size,
        "classes": ["square"],
        "training": {"data": ["drawn [bold] squares", "photos"], "epochs": 3},
    }
    assert circles["description"] == BAND.description


def test_people_get_a_table(run, tmp_path) -> None:
    out = run()
    lines = {line.split()[0]: line for line in out.splitlines() if line.strip()}
    size = (tmp_path / "squares" / "model.safetensors").stat().st_size / 1e6
    assert "nothing" in lines["dynaseg"]
    assert "no weights of its own" in lines["dynaseg"]
    for text in ("band", "finds squares", "drawn [bold] squares, photos", f"{size:.1f} MB"):
        assert text in lines["squares"]
    assert "owner/name of a model on the Hugging Face hub" in out
