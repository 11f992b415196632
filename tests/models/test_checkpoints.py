import json
import os
import warnings
from dataclasses import asdict
from pathlib import Path

import lightning
import pytest
import torch

from tests.models.learned import BAND, BandNetwork, BandSegmenter, BandSettings
from upseg.errors import ModelError
from upseg.images.options import ReadingOptions
from upseg.models import registry as models
from upseg.models.checkpoints import checkpoint_record, read_checkpoint
from upseg.models.folders import ModelConfig
from upseg.models.registry import find_model
from upseg.segmentation import Category


@pytest.fixture(autouse=True)
def _band(monkeypatch) -> None:
    monkeypatch.setitem(models.METHODS, "band", BAND)


def content(**changes: object) -> dict[str, object]:
    """A checkpoint with the weights, and an average of them under another prefix."""
    state = {
        "network.shift": torch.tensor([0.1, 0.2]),
        "network.count": torch.tensor(2),
        "averaged.module.shift": torch.tensor([0.3, 0.4]),
        "averaged.module.count": torch.tensor(2),
        "averaged.n_averaged": torch.tensor(7),
    }
    training = {"data": ["squares"], "epochs": 2}
    record = checkpoint_record(ModelConfig("band", asdict(BandSettings()), (Category(3, "cell"),), training))
    return {"state_dict": state, "epoch": 1, "optimizer_states": [{"state": {}}], "upseg": record | changes}


def saved(path: Path, value: object) -> Path:
    torch.save(value, path)
    return path


class Task(lightning.LightningModule):
    """As small as a task can be."""

    def __init__(self) -> None:
        super().__init__()
        self.network = BandNetwork(2)
        self.save_hyperparameters({"rate": 0.1, "file": "a"})

    def training_step(self, batch: torch.Tensor, index: int) -> torch.Tensor:
        return (self.network.shift - batch.mean()).square().sum()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=0.1)

    def on_save_checkpoint(self, checkpoint: dict[str, object]) -> None:
        checkpoint["upseg"] = checkpoint_record(ModelConfig("band", asdict(BandSettings(limits=(0.0, 0.5)))))


def test_a_training_by_lightning_becomes_a_model(tmp_path) -> None:
    trainer = lightning.Trainer(
        default_root_dir=tmp_path,
        max_steps=3,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
    )
    task = Task()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Lightning's advice about workers
        trainer.fit(task, torch.utils.data.DataLoader(torch.ones(8, 1)))
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    read_checkpoint(tmp_path / "last.ckpt").save_pretrained(tmp_path / "model")
    segmenter = BandSegmenter.from_pretrained(tmp_path / "model", "cpu")
    assert torch.equal(segmenter.network.shift, task.network.shift)
    assert float(segmenter.network.shift[0].detach()) > 0.1
    assert segmenter.settings == BandSettings(limits=(0.0, 0.5))


@pytest.mark.parametrize(("prefix", "shift"), [("network.", [0.1, 0.2]), ("averaged.module.", [0.3, 0.4])])
def test_the_prefix_says_which_weights_are_meant(tmp_path, prefix, shift) -> None:
    found = read_checkpoint(saved(tmp_path / "a.ckpt", content(prefix=prefix)))
    assert set(found.weights) == {"shift", "count"}
    assert found.weights["shift"].tolist() == pytest.approx(shift)
    assert (found.method, found.categories) == ("band", (Category(3, "cell"),))
    assert found.settings == {"bands": 2, "limits": (0.25, 0.75)}


def test_settings_and_facts_can_be_changed_on_the_way(tmp_path) -> None:
    found = read_checkpoint(saved(tmp_path / "a.ckpt", content()))
    folder = found.save_pretrained(
        tmp_path / "m", half=True, description="cells", settings={"limits": (0.0, 1.0)}, training={"license": "cc0-1.0"}
    )
    model = find_model(folder)
    assert model.settings == BandSettings(limits=(0.0, 1.0))
    assert model.training == {"data": ["squares"], "epochs": 2, "license": "cc0-1.0"}
    assert (model.description, model.categories) == ("cells", (Category(3, "cell"),))


def test_code_in_a_checkpoint_is_named_and_not_run(tmp_path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, ...]:
            return (os.mkdir, (str(tmp_path / "ran"),))

    path = saved(tmp_path / "a.ckpt", content() | {"hyper_parameters": Trap()})
    with pytest.raises(
        ModelError, match=r"a.ckpt: the checkpoint asks for code to be run \(posix.mkdir\), which upseg does not"
    ):
        read_checkpoint(path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"state_dict": {"a": torch.ones(1)}}, "checkpoint of something else: it does not say which"),
        ({"upseg": checkpoint_record(ModelConfig("band", asdict(BandSettings())))}, "checkpoint of something else"),
        (torch.ones(3), "checkpoint of something else"),
        (content(method="bend"), "method 'bend', which has no models with weights here"),
        (content(method="threshold"), "method 'threshold', which has no models with weights here"),
        (content(method="someone/model"), "method 'someone/model', which has no models"),
        (content(settings=None), "settings must be a dict, got None"),
        (content(prefix=3), "prefix must be a str, got 3"),
        (content(prefix="model."), "no weights whose names begin with 'model.'"),
        (content(classes=[{"name": "cell"}]), "classes must be a list"),
        (content(reading=["minmax"]), "reading must be a dict"),
        (content(reading={"normalize": "often"}), "reading: normalize: expected auto"),
    ],
)
def test_a_checkpoint_of_something_else_is_refused(tmp_path, value, message) -> None:
    with pytest.raises(ModelError, match=rf"a.ckpt: .*{message}"):
        read_checkpoint(saved(tmp_path / "a.ckpt", value))


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path) -> None:
    with pytest.raises(ModelError, match=r"absent.ckpt: there is no such file"):
        read_checkpoint(tmp_path / "absent.ckpt")
    with pytest.raises(ModelError, match="this is a folder, not a checkpoint"):
        read_checkpoint(tmp_path)
    whole = saved(tmp_path / "a.ckpt", content()).read_bytes()
    for name, part in (("half.ckpt", whole[: len(whole) // 2]), ("text.ckpt", b"no"), ("empty.ckpt", b"")):
        (tmp_path / name).write_bytes(part)
        with pytest.raises(ModelError, match=rf"{name}: this is not a checkpoint as `upseg train` saves it"):
            read_checkpoint(tmp_path / name)
    (tmp_path / "damaged.ckpt").write_bytes(whole.replace(b"data.pkl", b"data.xyz"))
    with pytest.raises(ModelError, match=r"damaged.ckpt: the checkpoint cannot be read"):
        read_checkpoint(tmp_path / "damaged.ckpt")


def test_weights_that_do_not_fit_the_settings_make_no_model(tmp_path) -> None:
    found = read_checkpoint(saved(tmp_path / "a.ckpt", content(settings={"bands": 5})))
    with pytest.raises(ModelError, match=r"m: the model cannot be saved: .*shift is float \(2,\), not float \(5,\)"):
        found.save_pretrained(tmp_path / "m")
    assert not (tmp_path / "m").exists()


def test_how_images_were_read_goes_from_the_checkpoint_to_the_model(tmp_path) -> None:
    path = saved(tmp_path / "a.ckpt", content(reading={"channels": [1], "normalize": "minmax"}))
    folder = read_checkpoint(path).save_pretrained(tmp_path / "model")
    assert json.loads((folder / "config.json").read_text())["reading"] == {"channels": [1], "normalize": "minmax"}
    old = content()
    del old["upseg"]["reading"]
    assert read_checkpoint(saved(tmp_path / "b.ckpt", old)).reading == ReadingOptions()
