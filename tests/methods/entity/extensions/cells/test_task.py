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
from upseg.models.checkpoints import read_checkpoint
from upseg.models.registry import load_model
from upseg.training.data import MixedDataModule

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore:.*num_workers:UserWarning")
SETTINGS = CellSettings("mobilenetv3_small_050", (16, 16, 16, 16), diameter=18.0, threads=1)


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
        [WeightedDataset(Disks())], batch_size=4, workers=0, targets=CellTargets(), validation=[Disks()]
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
    assert CellTask(SETTINGS, init_from=str(folder), pretrained=False).settings == SETTINGS


def test_what_cannot_be_a_start_is_refused(tmp_path) -> None:
    with pytest.raises(ModelError, match="there is no model 'absent'"):
        CellTask(init_from="absent")
    with pytest.raises(ModelError, match="dynaseg has no weights"):
        CellTask(init_from="dynaseg")
    torch.manual_seed(0)
    other = replace(SETTINGS, channels=(8, 8, 8, 8))
    folder = CellSegmenter(other, network=CellNetwork(other.backbone, other.channels).eval()).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="has the weights of another network"):
        CellTask(SETTINGS, init_from=str(folder), pretrained=False)
