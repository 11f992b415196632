"""The training of `baiseg`: that it learns from classes alone, and that its checkpoints become models."""

from dataclasses import replace

import lightning
import numpy as np
import pytest
import torch

from tests.training.trained import trained
from upseg.data.batches import Collate
from upseg.data.mixing import WeightedDataset
from upseg.data.sample import Sample
from upseg.data.shapes import CATEGORIES, ShapeScenes
from upseg.errors import ModelError
from upseg.methods.baiseg import BaisegSettings
from upseg.methods.baiseg.losses import LossWeights
from upseg.methods.baiseg.targets import BaisegTargets
from upseg.methods.baiseg.task import BaisegTask
from upseg.models.checkpoints import read_checkpoint
from upseg.models.registry import load_model
from upseg.training.data import MixedDataModule

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore:.*num_workers:UserWarning")
SETTINGS = BaisegSettings(
    backbone="resnet10t",
    width=16,
    resolution=2,
    cascade=2,
    hidden=16,
    semantic_width=16,
    semantic_resolution=2,
    minimum_area=8,
)
THING, OTHER = [category for category in CATEGORIES if category.is_thing][:2]
STUFF = next(category for category in CATEGORIES if not category.is_thing)


def sample(image_seed: int = 0) -> Sample:
    """Two things of one class that touch at a dark line, one of another class, and stuff."""
    labels = np.full((48, 48), 1, np.int32)
    labels[6:26, 6:24], labels[6:26, 24:42], labels[30:44, 10:38] = 2, 3, 4
    colours = np.array([[0, 0, 0], [0.2, 0.6, 0.3], [0.9, 0.8, 0.2], [0.9, 0.8, 0.2], [0.2, 0.2, 0.9]], np.float32)
    image = colours[labels]
    for rows, columns in ((slice(6, 26), slice(23, 25)),):
        image[rows, columns] = 0
    image += np.random.default_rng(image_seed).normal(0, 0.02, image.shape).astype(np.float32)
    categories = {1: STUFF, 2: THING, 3: THING, 4: OTHER}
    return Sample.from_labels(image.clip(0, 1), labels, categories=categories)


class Scene(ShapeScenes):
    """One scene under changing noise."""

    def __getitem__(self, index: int) -> Sample:
        return sample(index)


class Merged(Scene):
    """The same scene, its instances numbered otherwise: what touches in one class is one."""

    def __getitem__(self, index: int) -> Sample:
        whole = super().__getitem__(index)
        labels = np.where(whole.segment_map == 3, 2, whole.segment_map)
        categories = {s.id: s.category for s in whole.segments if s.id != 3 and s.category}
        return Sample.from_labels(whole.image, labels, categories=categories, crowds=[2])


def data_module(dataset: ShapeScenes, *, background: bool = False) -> MixedDataModule:
    targets = BaisegTargets(background=background)
    return MixedDataModule([WeightedDataset(dataset)], batch_size=2, workers=0, targets=targets, validation=[dataset])


@pytest.mark.slow
def test_it_learns_a_scene_by_heart(tmp_path) -> None:
    """Classes and contours; what the network says of the line between two things of a class is not asked for."""
    lightning.seed_everything(0, verbose=False)
    task = BaisegTask(CATEGORIES, SETTINGS, pretrained=False, average=0.9)
    metrics = trained(task, tmp_path, 60, data_module(Scene(4, (48, 48)))).callback_metrics
    assert metrics["val/mean_iou"] > 0.7
    assert metrics["val/given_map50"] > 0.45
    assert metrics["val/map50"] > 0.45


def test_instance_ids_never_reach_the_losses(tmp_path) -> None:
    """Training on instances and on their union, a crowd, gives the same weights, bit for bit."""
    weights = []
    for dataset in (Scene(4, (48, 48)), Merged(4, (48, 48))):
        lightning.seed_everything(1, verbose=False)
        task = BaisegTask(CATEGORIES, SETTINGS, pretrained=False)
        trained(task, tmp_path, 2, data_module(dataset))
        weights.append(task.network.state_dict())
    one, two = weights
    assert all(torch.equal(value, two[name]) for name, value in one.items())


def test_a_checkpoint_becomes_a_model_that_segments_alike(tmp_path) -> None:
    lightning.seed_everything(0, verbose=False)
    task = BaisegTask(CATEGORIES, SETTINGS, pretrained=False, average=0.5)
    trained(task, tmp_path, 2, data_module(Scene(4, (48, 48)))).save_checkpoint(tmp_path / "last.ckpt")
    checkpoint = read_checkpoint(tmp_path / "last.ckpt")
    assert checkpoint.categories == CATEGORIES
    assert checkpoint.training["steps"] == 4
    model = load_model(checkpoint.save_pretrained(tmp_path / "model"), device="cpu")
    image = sample().image
    expected = task.eval()._segment(torch.from_numpy(image).permute(2, 0, 1))
    np.testing.assert_array_equal(model.segment(image).labels, expected.labels)


def test_each_step_contrasts_other_pixels(tmp_path) -> None:
    task = BaisegTask(CATEGORIES, SETTINGS, LossWeights(anchors=8, keys=8), pretrained=False)
    batch = Collate(BaisegTargets(CATEGORIES))([sample(), sample(1)])
    task.trainer = lightning.Trainer(accelerator="cpu", barebones=True, default_root_dir=tmp_path)
    contrasts = [float(task.losses(batch, index)["contrast"].detach()) for index in (0, 1, 0)]
    assert contrasts[0] != contrasts[1]


def test_given_classes_are_those_of_the_truth_and_the_others_the_model_s(monkeypatch: pytest.MonkeyPatch) -> None:
    """`val/given_*` is what boundaries are worth; with the model's own classes it would be `val/*` once more."""
    task = BaisegTask(CATEGORIES, SETTINGS, pretrained=False).eval()
    batch = Collate(BaisegTargets(CATEGORIES))([sample()])
    given, segment = [], task._segment
    monkeypatch.setattr(task, "_segment", lambda image, classes=None: given.append(classes) or segment(image, classes))
    task.validation_step(batch, 0)
    first, second = given
    assert second is None
    ids = np.array([0, STUFF.id, THING.id, THING.id, OTHER.id])
    np.testing.assert_array_equal(first, ids[batch.segment_maps[0].numpy()])


def test_a_single_branch_is_validated_with_given_classes(tmp_path) -> None:
    task = BaisegTask(CATEGORIES, replace(SETTINGS, semantic_width=None), pretrained=False)
    metrics = trained(task, tmp_path, 1, data_module(Scene(2, (48, 48)))).callback_metrics
    assert "val/given_map50" in metrics
    assert not {"val/map50", "val/mean_iou", "train/semantic"} & {name for name in metrics if metrics[name] != 0}
    picture = task.eval().draw_validation(Collate(BaisegTargets(CATEGORIES))([sample()]))
    assert picture.dtype == np.uint8
    assert picture.shape[1] > 4 * 48


def test_data_without_classes_has_one_nameless_class(tmp_path) -> None:
    """Nuclei: what has a label is an object, the rest background."""

    class Cells(Scene):
        @property
        def categories(self) -> tuple:
            return ()

        def __getitem__(self, index: int) -> Sample:
            whole = sample(index)
            return Sample.from_labels(whole.image, np.where(whole.segment_map == 1, 0, whole.segment_map))

    task = BaisegTask((), replace(SETTINGS, background=True), pretrained=False)
    metrics = trained(task, tmp_path, 1, data_module(Cells(2, (48, 48)), background=True)).callback_metrics
    assert metrics["val/given_map50"] >= 0
    assert task.network(torch.rand(2, 3, 48, 48))["semantic"].shape[1] == 2


def test_other_classes_take_over_all_but_the_last_layers(tmp_path) -> None:
    first = BaisegTask(CATEGORIES, SETTINGS, pretrained=False)
    trained(first, tmp_path, 1, data_module(Scene(2, (48, 48)))).save_checkpoint(tmp_path / "first.ckpt")
    second = BaisegTask(CATEGORIES[:3], SETTINGS, pretrained=False, init_from=str(tmp_path / "first.ckpt"))
    before, after = first.network.state_dict(), second.network.state_dict()
    same = {
        name for name, value in after.items() if value.shape == before[name].shape and torch.equal(value, before[name])
    }
    assert {name for name in after if name.startswith(("features.", "boundary."))} <= same
    with pytest.raises(ModelError, match="weights of another network"):
        BaisegTask(CATEGORIES, replace(SETTINGS, hidden=8), pretrained=False, init_from=str(tmp_path / "first.ckpt"))


def test_average_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match="average"):
        BaisegTask(CATEGORIES, SETTINGS, pretrained=False, average=1.0)


@pytest.mark.parametrize("part", ["contrast", "semantic", "boundary"])
def test_a_part_that_would_learn_nothing_is_refused(part: str) -> None:
    with pytest.raises(ValueError, match=f"the weight {part} is 0"):
        BaisegTask(CATEGORIES, SETTINGS, LossWeights(**{part: 0.0}), pretrained=False)


def test_a_part_that_is_not_there_needs_no_loss() -> None:
    settings = replace(SETTINGS, contrast_dimensions=0, semantic_width=None)
    task = BaisegTask(CATEGORIES, settings, LossWeights(contrast=0.0, semantic=0.0), pretrained=False)
    assert task.semantic_scores is None
