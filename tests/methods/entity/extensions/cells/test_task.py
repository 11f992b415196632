"""The training of cells: that it learns, what it logs, and that its checkpoints become models."""

from dataclasses import replace

import lightning
import numpy as np
import pytest
import torch

from tests.methods.entity.extensions.cells.test_grouping import disks
from tests.training.trained import trained
from upseg.data.dataset import Dataset
from upseg.data.mixing import WeightedDataset
from upseg.data.sample import Sample
from upseg.errors import ModelError
from upseg.methods.entity.extensions.cells import CellSegmenter, CellSettings
from upseg.methods.entity.extensions.cells.network import CellNetwork
from upseg.methods.entity.extensions.cells.targets import CellTargets
from upseg.methods.entity.extensions.cells.task import CellTask
from upseg.methods.entity.network import EntityNetwork
from upseg.methods.entity.segmenter import EntitySegmenter
from upseg.methods.entity.settings import EntitySettings
from upseg.methods.entity.task import EntityTask
from upseg.models.checkpoints import Checkpoint, read_checkpoint
from upseg.models.registry import find_model, load_model
from upseg.training.data import MixedDataModule

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore:.*num_workers:UserWarning")
SETTINGS = CellSettings("mobilenetv3_small_050", (16, 16, 16, 16), canonical=18.0, diameter=18.0, threads=1)


class Disks(Dataset):
    """Images of 64x64 with seven bright disks each, some touching."""

    @property
    def names(self) -> list[str]:
        return ["a", "b", "c", "d"]

    def load(self, index: int) -> Sample:
        rng = np.random.default_rng(index)
        labels = disks([(int(r), int(c)) for r, c in rng.integers(6, 58, (7, 2))], 8)
        image = np.where(labels > 0, 0.8, 0.1)[..., None] + rng.normal(0, 0.03, (64, 64, 3))
        return Sample.from_labels(np.clip(image, 0, 1).astype(np.float32), labels, name=self.names[index])


def data_module() -> MixedDataModule:
    return MixedDataModule(
        [WeightedDataset(Disks())], batch_size=4, workers=0, targets=CellTargets(diameter=18.0), validation=[Disks()]
    )


@pytest.mark.slow
def test_it_learns_a_handful_of_scenes(tmp_path) -> None:
    lightning.seed_everything(0, verbose=False)
    task = CellTask(SETTINGS, pretrained=False, average=0.9)
    trainer = trained(task, tmp_path, 120, data_module(), 3e-3)
    assert float(trainer.callback_metrics["val/ap50"]) > 0.85


def test_a_checkpoint_becomes_a_model_that_segments_alike(tmp_path) -> None:
    lightning.seed_everything(0, verbose=False)
    task = CellTask(SETTINGS, pretrained=False, average=0.5)
    trainer = trained(task, tmp_path, 2, data_module(), 1e-3)
    assert {"val/ap50", "val/image_ap50", "train/distance", "train/size"} <= set(trainer.callback_metrics)
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    checkpoint = read_checkpoint(tmp_path / "last.ckpt")
    assert (checkpoint.method, checkpoint.training["steps"]) == ("cells", 2)
    model = load_model(checkpoint.save_pretrained(tmp_path / "model"), device="cpu")
    task.eval()
    image = Disks()[0].image
    np.testing.assert_array_equal(model.segment(image).labels, task.segmenter().segment(image).labels)
    again = CellTask(SETTINGS, pretrained=False, init_from=str(tmp_path / "last.ckpt"))
    assert again.before["steps"] == 2
    for one, other in zip(again.network.parameters(), task.validated.parameters(), strict=True):
        torch.testing.assert_close(one, other)


def test_a_model_is_a_start_and_hands_over_its_settings(tmp_path) -> None:
    torch.manual_seed(0)
    own = replace(SETTINGS, prominence=0.3, canonical=20.0)
    first = CellSegmenter(own, network=CellNetwork(own.backbone, own.channels).eval())
    folder = first.save_pretrained(tmp_path / "model")
    task = CellTask(init_from=str(folder), pretrained=False)
    assert task.settings == own
    for one, other in zip(task.network.parameters(), first.network.parameters(), strict=True):
        torch.testing.assert_close(one, other)
    again = CellTask(replace(SETTINGS, channels=(8, 8, 8, 8)), init_from=str(folder), pretrained=False)
    assert again.settings == replace(SETTINGS, canonical=20.0)  # what builds the network is the model's


def test_of_a_model_of_another_method_the_encoder_is_the_start(tmp_path) -> None:
    torch.manual_seed(0)
    own = EntitySettings(backbone="mobilenetv3_small_050", channels=8, dimensions=4)
    first = EntitySegmenter(own, network=EntityNetwork(own.backbone, own.channels, own.dimensions).eval())
    folder = str(first.save_pretrained(tmp_path / "model"))
    task = CellTask(replace(SETTINGS, backbone="resnet10t"), init_from=folder)  # would ask for weights of ImageNet
    assert task.settings == SETTINGS
    theirs, ours = first.network.backbone.state_dict(), task.network.backbone.state_dict()
    assert theirs.keys() <= ours.keys()
    for name, value in theirs.items():
        torch.testing.assert_close(ours[name], value)
    back = CellSegmenter(SETTINGS, network=task.network.eval()).save_pretrained(tmp_path / "cells")
    assert EntityTask(own, init_from=str(back)).settings == own
    assert EntityTask(init_from=folder).settings == own


def test_nuclei_is_a_start_whatever_its_method() -> None:
    for task in (CellTask(init_from="nuclei"), EntityTask(EntitySettings(channels=16), init_from="nuclei")):
        assert task.settings.backbone == find_model("nuclei").settings.backbone
        assert task.before["data"]


def test_what_cannot_be_a_start_is_refused(tmp_path, monkeypatch) -> None:
    with pytest.raises(ModelError, match="there is no model 'absent'"):
        CellTask(init_from="absent")
    with pytest.raises(ModelError, match="dynaseg has no weights"):
        CellTask(init_from="dynaseg")
    other = Checkpoint("mask_rcnn", weights={})
    monkeypatch.setattr("upseg.training.task.read_start", lambda start: other)
    with pytest.raises(ModelError, match="of the method mask_rcnn, which has no encoder"):
        CellTask(init_from=str(tmp_path))
