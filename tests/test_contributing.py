"""The toy method that CONTRIBUTING.md shows is built from its lines, trained, exported, used, and taken away."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import upseg.methods
from upseg.cli import main
from upseg.models.registry import METHODS, Method
from upseg.segmentation import Segmentation

CONTRIBUTING = Path(__file__).parents[1] / "CONTRIBUTING.md"
BLOCKS = dict(re.findall(r"^```(?:python|yaml)\n# (.+?)\n(.*?)^```", CONTRIBUTING.read_text("utf-8"), re.M | re.S))
ROW = "a row of METHODS in src/upseg/models/registry.py"


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The folder with the toy method's files; the method is there for the time of the test."""
    for name, content in BLOCKS.items():
        if name != ROW:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(content, encoding="utf-8")
    package = str(tmp_path / "src" / "upseg" / "methods")
    with monkeypatch.context() as patch:
        patch.setattr(upseg.methods, "__path__", [*upseg.methods.__path__, package])
        row = eval(f"{{{BLOCKS[ROW]}}}", {"Method": Method})
        for name, method in row.items():
            patch.setitem(METHODS, name, method)
        yield tmp_path
    for module in [name for name in sys.modules if name.startswith("upseg.methods.blobs")]:
        del sys.modules[module]
    vars(upseg.methods).pop("blobs", None)
    assert "blobs" not in METHODS


def command(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", ["upseg", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        main()
    assert not end.value.code


def test_a_method_is_less_than_a_hundred_lines() -> None:
    assert {name.rpartition("/")[2] for name in BLOCKS} >= {"network.py", "segmenter.py", "task.py", "smoke.yaml"}
    assert sum(block.count("\n") for block in BLOCKS.values()) < 100


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore:.*num_workers:UserWarning")
def test_the_toy_method_trains_and_becomes_a_model(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, model, results = toy / "run", toy / "model", toy / "results"
    command(monkeypatch, "train", "-c", toy / "configs" / "blobs" / "smoke.yaml", "-o", run)
    checkpoint = run / "checkpoints" / "last.ckpt"
    assert torch.load(checkpoint, weights_only=True)["upseg"]["training"]["steps"] == 8
    assert "val/recall" in (run / "metrics.csv").read_text("utf-8")
    command(monkeypatch, "export-model", checkpoint, model)
    image = np.zeros((24, 30, 3), np.uint8)
    image[5:12, 5:12] = 255
    Image.fromarray(image).save(toy / "photo.png")
    command(monkeypatch, "segment", toy / "photo.png", "--model", model, "-o", results, "--format", "npz")
    [found] = results.glob("*.npz")
    assert Segmentation.load(found).provenance["method"] == "blobs"


def test_nothing_of_it_is_left() -> None:
    assert "blobs" not in METHODS
    assert not [name for name in sys.modules if name.startswith("upseg.methods.blobs")]
