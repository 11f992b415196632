"""The training of `mask_rcnn`: that it learns, what it validates, and that its checkpoints become models."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import lightning
import numpy as np
import pytest
import torch
from PIL import Image

from tests.methods.mask_rcnn.small import CATEGORIES, SETTINGS, sample
from tests.methods.mask_rcnn.test_segmenter import Finder
from tests.training.trained import trained
from upseg.data.batches import Collate
from upseg.data.dataset import Dataset
from upseg.data.mixing import WeightedDataset
from upseg.data.sample import Sample
from upseg.data.shapes import CATEGORIES as SHAPES
from upseg.errors import ModelError
from upseg.functional.runs import encode_label_map
from upseg.methods.mask_rcnn.task import OBJECT, MaskRcnnTask
from upseg.models.checkpoints import read_checkpoint
from upseg.models.registry import load_model
from upseg.segmentation import Category
from upseg.training.cli import Training
from upseg.training.data import MixedDataModule
from upseg.training.recipes import find_recipe

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore:.*num_workers:UserWarning")
LEARNED = replace(SETTINGS, channels=32, box_width=64, mask_width=32, mask_layers=2, minimum_score=0.5)


class Scenes(Dataset):
    """The same few samples again and again."""

    def __init__(self, *samples: Sample, categories: tuple[Category, ...] = CATEGORIES) -> None:
        super().__init__(categories)
        self.samples = samples

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(str(number) for number in range(len(self)))

    def load(self, index: int) -> Sample:
        return self.samples[index]


def empty() -> Sample:
    return Sample.from_labels(np.full((48, 48, 3), 0.1, np.float32), np.zeros((48, 48), np.int32))


def data_module(dataset: Dataset) -> MixedDataModule:
    return MixedDataModule([WeightedDataset(dataset)], batch_size=2, workers=0, validation=[dataset])


def validated(task: MaskRcnnTask, *samples: Sample) -> dict[str, float]:
    """What a validation of these samples logs."""
    task.eval()
    task._trainer = lightning.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    logged: dict[str, float] = {}
    task.log = lambda name, value, **_: logged.update({name: value})
    for one in samples:
        task.validation_step(Collate()([one]), 0)
    task.on_validation_epoch_end()
    return logged


def finding(task: MaskRcnnTask, *found: tuple[tuple[float, float, float, float], int, float]) -> MaskRcnnTask:
    """A task whose network finds what it is told."""
    task.network.detect = Finder(*found).detect
    return task


# the boxes that the objects of `sample` fill, as shares of its 48 pixels, with the positions of their classes
FIRST, SECOND, STAR = (
    (tuple(side / 48 for side in box), position)
    for box, position in (((4, 6, 16, 22), 0), ((16, 6, 30, 22), 0), ((24, 30, 42, 44), 1))
)


@pytest.mark.slow
@pytest.mark.parametrize("classes", [CATEGORIES, ()])
def test_it_learns_a_scene_by_heart(tmp_path, classes: tuple[Category, ...]) -> None:
    lightning.seed_everything(0, verbose=False)
    task = MaskRcnnTask(classes, LEARNED, pretrained=False, box_samples=32, average=0.9)
    metrics = trained(task, tmp_path, 150, data_module(Scenes(sample(), empty()))).callback_metrics
    assert metrics["val/ap50"] > 0.9
    assert metrics["val/ap"] > 0.6


class TestValidation:
    def test_what_is_found_exactly_has_an_average_precision_of_one(self) -> None:
        task = MaskRcnnTask(CATEGORIES, SETTINGS, pretrained=False)
        exact = [(*FIRST, 0.9), (*SECOND, 0.9), (*STAR, 0.9)]
        logged = validated(finding(task, *exact), sample())
        assert logged["val/ap"] == logged["val/ap50"] == pytest.approx(1)
        assert "val/cells_ap50" not in logged
        # without the second cell half of the cells is found: COCO's 101 points of recall count 51 for them
        logged = validated(finding(task, exact[0], exact[2]), sample())
        assert logged["val/ap50"] == pytest.approx((51 / 101 + 1) / 2)

    def test_classes_have_to_be_right(self) -> None:
        task = MaskRcnnTask(CATEGORIES, SETTINGS, pretrained=False)
        wrong = [(FIRST[0], 1, 0.9), (SECOND[0], 1, 0.9), (STAR[0], 0, 0.9)]
        assert validated(finding(task, *wrong), sample())["val/ap50"] == 0

    def test_without_classes_cells_are_matched_too(self) -> None:
        task = MaskRcnnTask((), SETTINGS, pretrained=False)
        logged = validated(finding(task, (FIRST[0], 0, 0.9), (STAR[0], 0, 0.9)), sample())
        assert logged["val/cells_ap50"] == pytest.approx(2 / 3)
        assert logged["val/ap50"] == pytest.approx(67 / 101)

    def test_crowds_count_neither_for_nor_against(self) -> None:
        labels = sample().segment_map
        crowd = Sample.from_labels(sample().image, labels, categories=sample().categories, crowds=(2,))
        exact = [(*FIRST, 0.8), (*SECOND, 0.9), (*STAR, 0.9)]
        for classes in (CATEGORIES, ()):
            task = MaskRcnnTask(classes, SETTINGS, pretrained=False)
            found = exact if classes else [(box, 0, score) for box, _, score in exact]
            with_it, without_it = (validated(finding(task, *chosen), crowd) for chosen in (found, found[::2]))
            assert with_it["val/ap"] == without_it["val/ap"] == pytest.approx(1)
            assert with_it.get("val/cells_ap") == without_it.get("val/cells_ap")

    def test_segments_below_the_models_score_count_in_the_ranking(self) -> None:
        found = [(*FIRST, 0.9), (*SECOND, 0.3), (*STAR, 0.3)]
        chosen = replace(SETTINGS, minimum_score=0.5)
        task = MaskRcnnTask(CATEGORIES, chosen, pretrained=False)
        assert validated(finding(task, *found), sample())["val/ap50"] == pytest.approx(1)
        task = MaskRcnnTask(CATEGORIES, chosen, pretrained=False, validation_score=0.5)
        assert validated(finding(task, *found), sample())["val/ap50"] == pytest.approx(51 / 101 / 2)

    def test_images_without_objects_and_nothing_found(self) -> None:
        task = MaskRcnnTask(CATEGORIES, SETTINGS, pretrained=False)
        assert validated(finding(task), sample(), empty())["val/ap50"] == 0
        # of equal scores those of the first image, false alarms all of them, come first
        alarmed = validated(finding(task, (*FIRST, 0.9), (*SECOND, 0.9), (*STAR, 0.9)), empty(), sample())
        assert alarmed["val/ap50"] == pytest.approx(0.5)
        assert np.isnan(validated(finding(task), empty())["val/ap50"])

    def test_pictures_show_the_things(self) -> None:
        task = finding(MaskRcnnTask(CATEGORIES, SETTINGS, pretrained=False).eval(), (*FIRST, 0.9))
        picture = task.draw_validation(Collate()([sample()]))
        assert picture.dtype == np.uint8
        assert picture.shape[1] >= 3 * 48


class TestTraining:
    def test_the_same_seed_gives_the_same_weights(self, tmp_path) -> None:
        weights = []
        for seed in (1, 1, 2):
            lightning.seed_everything(seed, verbose=False)
            task = MaskRcnnTask(CATEGORIES, SETTINGS, pretrained=False, box_samples=8)
            trained(task, tmp_path, 2, data_module(Scenes(sample(), empty())))
            weights.append(torch.cat([value.flatten() for value in task.network.parameters()]))
        assert torch.equal(weights[0], weights[1])
        assert not torch.equal(weights[0], weights[2])

    def test_a_checkpoint_becomes_a_model_that_segments_alike(self, tmp_path) -> None:
        lightning.seed_everything(0, verbose=False)
        stuff = Category(9, "sky", is_thing=False)
        task = MaskRcnnTask((*CATEGORIES, stuff), SETTINGS, pretrained=False, average=0.5)
        trainer = trained(task, tmp_path, 2, data_module(Scenes(sample(), empty())))
        assert 0 <= float(trainer.callback_metrics["val/ap50"]) <= 1
        trainer.save_checkpoint(tmp_path / "last.ckpt")
        checkpoint = read_checkpoint(tmp_path / "last.ckpt")
        assert checkpoint.categories == CATEGORIES
        assert checkpoint.training["steps"] == 2
        model = load_model(checkpoint.save_pretrained(tmp_path / "model"), device="cpu")
        image = sample().image
        expected = task.eval()._segment(torch.from_numpy(image).permute(2, 0, 1), SETTINGS)
        assert len(expected)
        assert model.segment(image) == expected
        other = MaskRcnnTask((OBJECT,), SETTINGS, pretrained=False, init_from=str(tmp_path / "last.ckpt"))
        before, after = checkpoint.weights, other.network.state_dict()
        kept = {name for name, value in after.items() if torch.equal(value, before[name])}
        assert {name.split(".")[2] for name in after.keys() - kept} == {"box_predictor", "mask_predictor"}
        assert other.before["steps"] == 2
        wider = replace(SETTINGS, channels=24)
        with pytest.raises(ModelError, match="weights of another network"):
            MaskRcnnTask(CATEGORIES, wider, pretrained=False, init_from=str(tmp_path / "last.ckpt"))

    def test_data_of_stuff_alone_is_refused(self) -> None:
        with pytest.raises(ValueError, match="learns things, but all 2 classes of the data are stuff; make instances"):
            MaskRcnnTask([replace(category, is_thing=False) for category in CATEGORIES], SETTINGS, pretrained=False)

    def test_normalisation_is_frozen_where_weights_are_published_ones(self) -> None:
        assert not MaskRcnnTask(CATEGORIES, SETTINGS, pretrained=False).network.frozen_normalisation
        assert MaskRcnnTask(
            CATEGORIES, SETTINGS, pretrained=False, frozen_normalisation=True
        ).network.frozen_normalisation

    @pytest.mark.parametrize("frozen", [True, False])
    def test_frozen_normalisation_stays_as_it_is_while_the_rest_learns(self, frozen, tmp_path) -> None:
        task = MaskRcnnTask(CATEGORIES, SETTINGS, pretrained=False, frozen_normalisation=frozen)
        before = {name: value.clone() for name, value in task.network.state_dict().items()}
        trained(task, tmp_path, 2, data_module(Scenes(sample(), empty())))
        moved = {name for name, value in task.network.state_dict().items() if not torch.equal(value, before[name])}
        assert any("encoder" in name and "running_mean" in name for name in moved) is not frozen
        assert any("encoder" in name and name.endswith("weight") for name in moved)


def write_pseudo_labels(folder: Path) -> None:
    """Photos, and their instances as COCO JSON with run lengths."""
    (folder / "images").mkdir(parents=True)
    images, annotations = [], []
    for number in range(8):
        one = sample()
        Image.fromarray(np.rint(one.image * 255).astype(np.uint8)).save(folder / "images" / f"{number}.png")
        images.append({"id": number, "file_name": f"{number}.png", "height": 48, "width": 48})
        for segment, counts in zip(one.segments, encode_label_map(one.segment_map), strict=True):
            row = {"id": len(annotations) + 1, "image_id": number, "category_id": segment.category.id, "iscrowd": 0}
            annotations.append(row | {"segmentation": {"size": [48, 48], "counts": counts}, "area": segment.area})
    categories = [{"id": category.id, "name": category.name} for category in CATEGORIES]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "instances.json").write_text(json.dumps(content))


QUICK = [
    *("--model.init_args.pretrained", "false", "--trainer.max_epochs", "1", "--trainer.accelerator", "cpu"),
    *(
        "--trainer.enable_progress_bar",
        "false",
        "--trainer.check_val_every_n_epoch",
        "1",
        "--data.init_args.workers",
        "0",
    ),
    *("--model.init_args.settings.backbone", "test_resnet", "--model.init_args.settings.channels", "16"),
    *("--model.init_args.settings.box_width", "32", "--model.init_args.settings.mask_width", "8"),
    *("--trainer.precision", "32-true", "--data.init_args.batch_size", "2"),
]


def test_the_recipe_learns_from_pseudo_labels(tmp_path) -> None:
    write_pseudo_labels(tmp_path / "data")
    smaller = ["--data.init_args.transform.init_args.size", "[64, 64]", "--model.init_args.settings.min_size", "48"]
    options = [*QUICK, *smaller, "--data_root", str(tmp_path / "data"), "--data.init_args.epoch_length", "2"]
    training = Training([find_recipe("baiseg/maskrcnn")], options, output=tmp_path / "run")
    training.run()
    checkpoint = read_checkpoint(tmp_path / "run" / "checkpoints" / "last.ckpt")
    assert checkpoint.categories == CATEGORIES
    model = load_model(checkpoint.save_pretrained(tmp_path / "model"), device="cpu", minimum_score=0.0)
    assert model.segment(tmp_path / "data" / "images" / "0.png").shape == (48, 48)


def test_the_recipe_of_made_up_scenes_learns_their_things(tmp_path) -> None:
    training = Training([find_recipe("baiseg/maskrcnn-shapes")], QUICK, output=tmp_path / "run")
    assert training.model.categories == tuple(category for category in SHAPES if category.is_thing)
    assert training.model.settings.min_size is None
