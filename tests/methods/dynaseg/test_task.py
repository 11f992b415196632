"""Training over a data set: the loss is the paper's image by image, labels are shared and named, images end."""

from pathlib import Path

import jaxtyping
import lightning
import numpy as np
import pytest
import torch
from PIL import Image

from tests.reference import dynaseg as reference
from tests.training.trained import trained
from upseg.data.batches import Batch, Collate
from upseg.data.dataset import Dataset
from upseg.data.mixing import WeightedDataset
from upseg.data.photos import PhotoFolder
from upseg.data.sample import IGNORE, Sample
from upseg.errors import ModelError
from upseg.evaluation.run import evaluate
from upseg.methods.dynaseg.class_settings import DynaSegClassesSettings
from upseg.methods.dynaseg.losses import image_losses
from upseg.methods.dynaseg.targets import DynaSegTargets
from upseg.methods.dynaseg.task import DynaSegTask
from upseg.models.checkpoints import read_checkpoint
from upseg.models.registry import load_model
from upseg.segmentation import Category
from upseg.training.data import MixedDataModule
from upseg.training.schedules import Optimization

pytestmark = pytest.mark.filterwarnings(
    "ignore::FutureWarning", "ignore:.*num_workers:UserWarning", "ignore:.*training_step. returned .None.:UserWarning"
)
SETTINGS = DynaSegClassesSettings("cnn", features=12, clusters=6, blocks=1, size=None, threads=1)
CLASSES = (Category(0, "ball"), Category(4, "grass", is_thing=False), Category(5, "sky", is_thing=False))
COLOURS = np.float32([[0.9, 0.2, 0.1], [0.1, 0.6, 0.2], [0.3, 0.5, 0.9]])


class Fields(Dataset):
    """Sky above grass, with a red ball, at places of its own in each image."""

    def __init__(self, first: int, count: int = 6) -> None:
        super().__init__(CLASSES)
        self.first, self.count = first, count

    @property
    def names(self) -> list[str]:
        return [f"field{self.first + i}" for i in range(self.count)]

    def load(self, index: int) -> Sample:
        rng = np.random.default_rng(self.first + index)
        rows, columns = np.mgrid[:24, :24]
        positions = np.where(rows < rng.integers(8, 16), 2, 1)
        positions[np.hypot(rows - rng.integers(6, 18), columns - rng.integers(6, 18)) < 5] = 0
        image = np.clip(COLOURS[positions] + rng.normal(0, 0.02, (24, 24, 3)), 0, 1).astype(np.float32)
        classes = {k + 1: c for k, c in enumerate(CLASSES)}
        return Sample.from_labels(image, positions + 1, categories=classes, name=self.names[index])


def batch(floors: list[int]) -> Batch:
    samples = [Fields(0)[index] for index in range(len(floors))]
    return Collate(lambda sample: {"floor": torch.tensor(floors[int(sample.name[5:])])})(samples)


def data_module(floor: int = 2) -> MixedDataModule:
    return MixedDataModule(
        [WeightedDataset(Fields(0))],
        batch_size=3,
        workers=0,
        targets=DynaSegTargets(floor),
        validation=[Fields(100)],
    )


def with_trainer(task: DynaSegTask) -> DynaSegTask:
    task.trainer = lightning.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, barebones=True)
    return task


@pytest.mark.parametrize(("weighting", "alpha"), [("fsf", 15.0), ("scf", 50.0), ("fixed", 5.0)])
def test_the_loss_is_the_paper_s_image_by_image(weighting: str, alpha: float) -> None:
    torch.manual_seed(1)
    task = with_trainer(DynaSegTask(CLASSES, SETTINGS, weighting))
    given = batch([0, 9, 2])
    with torch.no_grad():
        response = task.network(given.images).tolist()
    loss = task.losses(given, 0)
    assert float(loss["total"].detach()) == pytest.approx(
        reference.batch_loss(response, [0, 9, 2], weighting, alpha), rel=1e-5
    )
    assert float(loss["active"]) == pytest.approx(2 / 3)
    single, _ = image_losses(torch.tensor(response), weighting, alpha)
    assert float(loss["total"].detach()) == pytest.approx(float(single[0] + single[2]) / 3, rel=1e-5)


def test_a_batch_that_has_ended_makes_no_step_and_an_epoch_of_them_is_the_last(tmp_path: Path) -> None:
    torch.manual_seed(0)
    task = DynaSegTask(CLASSES, SETTINGS)
    before = [p.clone() for p in task.network.parameters()]
    trainer = trained(task, tmp_path, 3, data_module(floor=6), 0.1)
    assert trainer.current_epoch == 1
    for old, new in zip(before, task.network.parameters(), strict=True):
        torch.testing.assert_close(old, new)


def sgd(task: DynaSegTask) -> DynaSegTask:
    how = Optimization(0.1, "sgd", weight_decay=1e-4, schedule="constant")
    task.configure_optimizers = lambda: how.configure(task)
    return task


@pytest.mark.parametrize(("weighting", "least"), [("fsf", 0.65), ("scf", 0.5)])  # one label for all would have .15
def test_labels_are_found_named_and_the_same_in_every_image(weighting: str, least: float, tmp_path: Path) -> None:
    torch.manual_seed(0)
    task = sgd(DynaSegTask(CLASSES, SETTINGS, weighting))
    trainer = trained(task, tmp_path, 15, data_module(), None, check_val_every_n_epoch=1)
    assert float(trainer.callback_metrics["val/mean_iou"]) > least
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    checkpoint = read_checkpoint(tmp_path / "last.ckpt")
    assert checkpoint.method == "dynaseg_classes"
    assert (checkpoint.training["weighting"], checkpoint.training["steps"]) == (weighting, trainer.global_step)
    model = load_model(checkpoint.save_pretrained(tmp_path / "model"), device="cpu")
    unseen, right = Fields(200), []
    for sample in unseen:
        found = model.segment(sample.image)
        ids = np.array([IGNORE, *(segment.category.id for segment in found)])
        right.append((ids[found.labels] == sample.semantic_map()).mean())
    assert np.mean(right) > 0.7
    assert evaluate("coco-stuff27", model, unseen).scores["mean_iou"] > least


def test_photos_without_truth_are_learned_from(tmp_path: Path) -> None:
    for sample in Fields(0):
        Image.fromarray((sample.image * 255).astype(np.uint8)).save(tmp_path / f"{sample.name}.png")
    photos = PhotoFolder(tmp_path)
    data = MixedDataModule(
        [WeightedDataset(photos)], batch_size=3, workers=0, targets=DynaSegTargets(2), validation=[photos]
    )
    torch.manual_seed(0)
    task = sgd(DynaSegTask(settings=SETTINGS))
    trainer = trained(task, tmp_path, 4, data, None)
    assert {"val/loss", "val/labels"} <= set(trainer.callback_metrics)
    assert "val/mean_iou" not in trainer.callback_metrics
    assert [category.name for category in task.categories][:2] == ["label 1", "label 2"]


def test_what_cannot_be_trained_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # the tests' type checks would come first
    with pytest.raises(ValueError, match="expected one of fsf, scf, fixed"):
        DynaSegTask(settings=SETTINGS, weighting="sum")
    with pytest.raises(ValueError, match="alpha above 0"):
        DynaSegTask(settings=SETTINGS, alpha=0.0)
    with pytest.raises(ValueError, match="the extractor cnn has no backbone"):
        DynaSegTask(settings=SETTINGS, pretrained=True)
    with pytest.raises(ValueError, match="set pretrained and frozen_backbone to false"):
        DynaSegTask(settings=SETTINGS, frozen_backbone=True)


def test_a_backbone_is_pretrained_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match="could not be downloaded"):
        DynaSegTask()
    one, other = (
        DynaSegTask(settings=DynaSegClassesSettings("lite0-fpn", clusters=3), pretrained=p) for p in (None, False)
    )
    first = "extractor.backbone.model.conv_stem.weight"
    assert not torch.equal(one.network.state_dict()[first], other.network.state_dict()[first])


@pytest.mark.parametrize("frozen", [True, False])
def test_a_frozen_backbone_stays_as_it_starts_and_the_rest_learns(frozen: bool, tmp_path: Path) -> None:
    settings = DynaSegClassesSettings("lite0-fpn", features=8, clusters=6, size=None, threads=1)
    task = sgd(DynaSegTask(CLASSES, settings, frozen_backbone=frozen))
    before = {name: value.clone() for name, value in task.network.state_dict().items()}
    trained(task, tmp_path, 1, data_module(), None)
    moved = {name for name, value in task.network.state_dict().items() if not torch.equal(value, before[name])}
    assert any(name.startswith("extractor.backbone") for name in moved) is not frozen
    assert {"classifier.weight", "normalization.running_mean"} <= moved
