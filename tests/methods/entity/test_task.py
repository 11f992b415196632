"""The training of `entity`: that it learns, what it logs, and that its checkpoints become models."""

import lightning
import numpy as np
import pytest
import torch

from tests.training.trained import trained
from upseg.data.batches import Collate
from upseg.data.mixing import WeightedDataset
from upseg.data.sample import Sample
from upseg.data.shapes import ShapeScenes
from upseg.methods.entity import EntitySettings
from upseg.methods.entity.equations import LossWeights
from upseg.methods.entity.targets import EntityTargets
from upseg.methods.entity.task import EntityTask
from upseg.models.checkpoints import read_checkpoint
from upseg.models.registry import load_model
from upseg.training.data import MixedDataModule

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore:.*num_workers:UserWarning")
SETTINGS = EntitySettings(
    backbone="resnet10t", channels=32, dimensions=16, positions=40, size=None, minimum_area=8, scales=(1.0,)
)


def data_module(count: int = 8, **options: object) -> MixedDataModule:
    scenes = ShapeScenes(count, (32, 32), 0.0)
    given = {"batch_size": 4, "workers": 0, "targets": EntityTargets(1), "validation": [scenes], **options}
    return MixedDataModule([WeightedDataset(scenes)], **given)


@pytest.mark.slow
def test_it_learns_a_handful_of_scenes(tmp_path) -> None:
    lightning.seed_everything(0, verbose=False)
    task = EntityTask(SETTINGS, LossWeights(contrast=2.0), pretrained=False, average=0.9)
    trainer = trained(task, tmp_path, 150, data_module(4), 2e-3)
    metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
    assert metrics["val/recall"] > 0.9
    assert metrics["val/mean_iou"] > 0.75
    assert metrics["val/intra_entity"] > 0.9
    assert metrics["val/inter_mean"] < 0.25
    assert metrics["train/degenerate"] == 0


def test_a_checkpoint_becomes_a_model_that_segments_alike(tmp_path) -> None:
    lightning.seed_everything(0, verbose=False)
    task = EntityTask(SETTINGS, pretrained=False, average=0.5)
    trainer = trained(task, tmp_path, 2, data_module(), 2e-3)
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    checkpoint = read_checkpoint(tmp_path / "last.ckpt")
    assert checkpoint.training["steps"] == 4
    assert checkpoint.training["loss_weights"]["gradient"] == 0.025
    model = load_model(checkpoint.save_pretrained(tmp_path / "model"), device="cpu")
    image = ShapeScenes(1, (32, 32), 0.0)[0].image
    task.eval()
    features, expected = task._segment(torch.from_numpy(image).permute(2, 0, 1))
    found = model.segment(image)
    np.testing.assert_array_equal(found.labels, expected.labels)
    assert features.shape == (16, 32, 32)
    assert not torch.equal(task.network.head.output.weight, task.validated.head.output.weight)


def test_the_average_moves_once_per_step_of_the_optimiser(tmp_path) -> None:
    task = EntityTask(SETTINGS, pretrained=False, average=0.9)
    data = data_module(8, batch_size=2, validation=[])
    trainer = trained(task, tmp_path, 1, data, accumulate_grad_batches=2, limit_val_batches=0)
    assert int(task.averaged.n_averaged) == trainer.global_step == 2


def test_cells_are_counted_where_the_background_is_void(tmp_path) -> None:
    settings = EntitySettings(
        backbone="resnet10t", channels=8, dimensions=8, size=None, background="void", window=16, connected=True
    )
    trainer = trained(EntityTask(settings, pretrained=False, reach=4), tmp_path, 1, data_module(), 2e-3)
    assert {"val/ap50", "val/recall", "val/intra_entity", "loss"} <= trainer.callback_metrics.keys()


def test_crowds_count_neither_for_nor_against() -> None:
    labels = np.zeros((32, 32), np.int32)
    labels[:, :16], labels[:, 16:] = 1, 2
    image = np.zeros((32, 32, 3), np.float32)
    task = EntityTask(SETTINGS, pretrained=False).eval()
    for crowds in ((), (2,)):
        task.validation_step(Collate()([Sample.from_labels(image, labels, crowds=crowds)]), 0)
    assert int(task.scores.sum_segments) == 2 + 1


def test_the_picture_shows_four_things() -> None:
    task = EntityTask(SETTINGS, pretrained=False).eval()
    data = data_module()
    picture = task.draw_validation(next(iter(data.val_dataloader()[0])))
    assert picture.dtype == np.uint8
    assert picture.shape[1] > 4 * 32


@pytest.mark.parametrize("average", [1.0, -0.1])
def test_an_average_outside_its_range_is_refused(average: float) -> None:
    with pytest.raises(ValueError, match="average"):
        EntityTask(SETTINGS, pretrained=False, average=average)
