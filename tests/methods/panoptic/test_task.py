"""The training of `panoptic`: that it learns, hands its weights on, and that its checkpoints become models."""

from dataclasses import replace

import lightning
import numpy as np
import pytest
import torch

from tests.training.trained import trained
from upseg.data.batches import Batch, Collate
from upseg.data.mixing import WeightedDataset
from upseg.data.sample import Sample
from upseg.data.shapes import CATEGORIES, ShapeScenes
from upseg.errors import ModelError
from upseg.methods.panoptic import PanopticSettings
from upseg.methods.panoptic import task as task_module
from upseg.methods.panoptic.losses import panoptic_losses
from upseg.methods.panoptic.targets import PanopticTargets
from upseg.methods.panoptic.task import PanopticTask
from upseg.models.checkpoints import read_checkpoint
from upseg.models.registry import load_model
from upseg.segmentation import Segmentation
from upseg.training.data import MixedDataModule

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore:.*num_workers:UserWarning")
SETTINGS = PanopticSettings(
    backbone="vit_tiny_patch16_224", layers=(1, 2), decoder_channels=(32, 32, 32), grid=(16, 16), size=None
)
DEPTH = replace(SETTINGS, heads=("semantic", "instance", "depth"), maximum_depth=10.0)


def sample(name: str = "") -> Sample:
    """A thing on each side of two kinds of stuff, in colours of their own; nearer on the left."""
    labels = np.zeros((32, 32), np.int32)
    labels[:16], labels[16:], labels[6:26, 2:12], labels[6:26, 18:30] = 1, 2, 3, 4
    colours = np.array([[0, 0, 0], [0.9, 0.2, 0.1], [0.1, 0.8, 0.2], [0.1, 0.2, 0.9], [0.9, 0.9, 0.3]], np.float32)
    things = [c for c in CATEGORIES if c.is_thing][:2]
    stuff = [c for c in CATEGORIES if not c.is_thing][:2]
    depth = np.tile(np.linspace(1, 4, 32, dtype=np.float32), (32, 1))
    categories = {1: stuff[0], 2: stuff[1], 3: things[0], 4: things[1]}
    return Sample.from_labels(colours[labels], labels, categories=categories, depth=depth, name=name)


class Scene(ShapeScenes):
    """The same scene again and again."""

    def __getitem__(self, index: int) -> Sample:
        return sample()


def data_module(dataset: ShapeScenes, **options: object) -> MixedDataModule:
    targets = PanopticTargets(patch=16, upsampling=8, grid=(16, 16))
    given = {"batch_size": 2, "workers": 0, "targets": targets, "validation": [dataset], **options}
    return MixedDataModule([WeightedDataset(dataset)], **given)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("encoding", "quality"),
    # of numbers that are only nearly right the votes scatter over many cells: the paper's reason against them
    [("positional", 0.75), ("rgb", 0.4), ("bins", 0.75)],
)
def test_it_learns_a_scene_by_heart(tmp_path, encoding: str, quality: float) -> None:
    lightning.seed_everything(0, verbose=False)
    task = PanopticTask(CATEGORIES, replace(DEPTH, encoding=encoding), pretrained=False, average=0.9)
    metrics = trained(task, tmp_path, 150, data_module(Scene(2, (32, 32)))).callback_metrics
    assert metrics["val/pq"] > quality
    assert metrics["val/abs_rel"] < 0.3


def test_stages_hand_over_their_weights(tmp_path) -> None:
    """Instances alone, then all tasks: the backbone, the decoder and the instance head go on, the others are new."""
    first = PanopticTask(CATEGORIES, replace(SETTINGS, heads=("instance",)), pretrained=False)
    trainer = trained(first, tmp_path, 1, data_module(ShapeScenes(2, (32, 32), 0.0)))
    assert "val/recall" in trainer.callback_metrics
    trainer.save_checkpoint(tmp_path / "stage1.ckpt")
    second = PanopticTask(CATEGORIES, DEPTH, pretrained=False, init_from=str(tmp_path / "stage1.ckpt"))
    before, after = first.network.state_dict(), second.network.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert {name.split(".")[1] for name in after.keys() - before.keys()} == {"semantic", "depth"}
    assert second.before["steps"] == 1
    wider = replace(SETTINGS, decoder_channels=(64, 32, 32))
    with pytest.raises(ModelError, match="weights of another network"):
        PanopticTask(CATEGORIES, wider, pretrained=False, init_from=str(tmp_path / "stage1.ckpt"))


def test_disparities_do_not_become_metres(tmp_path) -> None:
    """Nearer is more in the one and less in the other: the last layer starts anew, and only then."""
    relative = replace(DEPTH, maximum_depth=None)
    first = PanopticTask(CATEGORIES, relative, pretrained=False)
    trained(first, tmp_path, 1, data_module(Scene(2))).save_checkpoint(tmp_path / "stage2.ckpt")
    start = str(tmp_path / "stage2.ckpt")
    metres, again = (
        PanopticTask(CATEGORIES, settings, pretrained=False, init_from=start, average=0.5)
        for settings in (DEPTH, relative)
    )
    weights = [task.validated.state_dict() for task in (first, metres, again)]
    assert all(torch.equal(value, weights[2][name]) for name, value in weights[0].items())
    anew = {name for name, value in weights[0].items() if not torch.equal(value, weights[1][name])}
    assert anew == {"projections.depth.weight", "projections.depth.bias"}


def test_a_large_backbone_without_weights_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task_module, "_LARGE", 1000)
    with pytest.warns(UserWarning, match=r"vit_tiny_patch16_224 \(.* parameters\) starts from random weights; give"):
        PanopticTask(CATEGORIES, SETTINGS, pretrained=False)


def test_a_checkpoint_becomes_a_model_that_segments_alike(tmp_path) -> None:
    lightning.seed_everything(0, verbose=False)
    task = PanopticTask(CATEGORIES, SETTINGS, pretrained=False, average=0.5)
    trained(task, tmp_path, 2, data_module(ShapeScenes(4, (32, 32), 0.0))).save_checkpoint(tmp_path / "last.ckpt")
    checkpoint = read_checkpoint(tmp_path / "last.ckpt")
    assert checkpoint.categories == CATEGORIES
    assert checkpoint.training["steps"] == 4
    model = load_model(checkpoint.save_pretrained(tmp_path / "model"), device="cpu")
    image = sample().image
    expected, depth = task.eval()._segment(torch.from_numpy(image).permute(2, 0, 1))
    np.testing.assert_array_equal(model.segment(image).labels, expected.labels)
    assert depth is None


def test_each_task_can_be_switched_off() -> None:
    batch = Collate(PanopticTargets(CATEGORIES, patch=16, upsampling=8, grid=(16, 16)))([sample()])
    for tasks in (("semantic",), ("instance",), ("semantic", "depth")):
        task = PanopticTask(CATEGORIES, replace(SETTINGS, heads=tasks), pretrained=False)
        losses = panoptic_losses(task.network(batch.images), batch.targets, task.encoding, task.loss_weights, 10.0)
        losses["total"].backward()
        assert all(parameter.grad is not None for parameter in task.network.parameters())


def test_what_is_not_labelled_counts_neither_for_nor_against() -> None:
    """Segments without a class, and images without any segment, as in data sets of depth alone."""
    image = np.zeros((32, 32, 3), np.float32)
    labels = np.ones((32, 32), np.int32)
    labels[:, 16:] = 2
    partly = Sample.from_labels(image, labels, categories={1: CATEGORIES[0]})
    only_depth = Sample.from_labels(image, np.zeros_like(labels), depth=np.ones((32, 32), np.float32))
    task = PanopticTask(CATEGORIES, DEPTH, pretrained=False).eval()
    task.validation_step(Collate()([only_depth]), 0)
    assert int(task.depth_errors.sum_images) == 1
    assert not task.scores.sum_fn.any()
    task.validation_step(Collate()([partly]), 0)
    assert int(task.scores.sum_fn.sum() + task.scores.sum_tp.sum()) == 1
    assert int(task.depth_errors.sum_images) == 1


def test_crowds_are_left_out_of_recall_and_named_to_the_panoptic_quality(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = np.zeros((32, 32), np.int32)
    labels[:, :16], labels[:, 16:] = 1, 2
    image, things = np.zeros((32, 32, 3), np.float32), [c for c in CATEGORIES if c.is_thing][:2]
    crowded = Sample.from_labels(image, labels, categories={1: things[0], 2: things[1]}, crowds=[2])
    instances = PanopticTask((), replace(SETTINGS, heads=("instance",)), pretrained=False).eval()
    everywhere = Segmentation.from_labels(np.where(labels == 2, 1, 0))
    seen: list[dict[str, object]] = []
    monkeypatch.setattr(instances, "_segment", lambda _: (everywhere, None))
    monkeypatch.setattr(instances.scores, "update", lambda *given, **named: seen.append({**named, "truth": given[0]}))
    instances.validation_step(Collate()([crowded]), 0)
    assert set(np.unique(seen[0]["truth"])) == {0, 1}
    np.testing.assert_array_equal(seen[0]["valid"], labels != 2)
    task = PanopticTask(CATEGORIES, SETTINGS, pretrained=False).eval()
    monkeypatch.setattr(task.scores, "update", lambda *_, **named: seen.append(named))
    task.validation_step(Collate()([crowded]), 0)
    assert seen[1]["crowd_ids"] == [2]


@pytest.mark.parametrize("settings", [SETTINGS, DEPTH])
def test_the_picture_shows_three_things_and_depth(settings: PanopticSettings) -> None:
    task = PanopticTask(CATEGORIES, settings, pretrained=False).eval()
    batch: Batch = Collate()([sample()])
    picture = task.draw_validation(batch)
    assert picture.dtype == np.uint8
    assert picture.shape[1] > (4 if settings == DEPTH else 3) * 32


def test_errors() -> None:
    with pytest.raises(ValueError, match="needs the classes"):
        PanopticTask((), SETTINGS, pretrained=False)
    with pytest.raises(ValueError, match="average"):
        PanopticTask(CATEGORIES, SETTINGS, pretrained=False, average=1.0)
