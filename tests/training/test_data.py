from __future__ import annotations

import hashlib
from pathlib import Path

import lightning
import pytest
import torch
from torch.utils.data import DataLoader

from tests.data.samples import Numbered
from tests.data.test_batches import areas
from tests.training.trained import trained
from upseg.data.batches import Batch
from upseg.data.dataset import Dataset
from upseg.data.depth_only import DepthOnly
from upseg.data.mixing import WeightedDataset
from upseg.data.sample import Sample
from upseg.data.shapes import CATEGORIES, ShapeScenes
from upseg.data.transforms import Augmentation
from upseg.errors import DataError
from upseg.images.options import ReadingOptions
from upseg.segmentation import Category
from upseg.training.data import MixedDataModule, check_learnable

# Python 3.12 warns when a process with threads forks, which PyTorch's loaders do
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")


def module(workers: int = 0, **options) -> MixedDataModule:
    sources = [WeightedDataset(Numbered("a", 6), 2.0), WeightedDataset(ShapeScenes(8, (12, 16)), 1.0)]
    options = {"batch_size": 4, "epoch_length": 14, **options}
    return MixedDataModule(sources, Augmentation((16, 16)), workers=workers, **options)


def digests(loader: DataLoader) -> list[str]:
    def digest(batch: Batch) -> str:
        tensors = (batch.images, batch.segment_maps, batch.depths)
        text = repr((batch.names, batch.segments)).encode()
        return hashlib.sha256(b"".join(tensor.numpy().tobytes() for tensor in tensors) + text).hexdigest()

    return [digest(batch) for batch in loader]


def epochs(data: MixedDataModule, count: int = 2) -> list[list[str]]:
    loader = data.train_dataloader()
    found = []
    for epoch in range(count):
        loader.sampler.set_epoch(epoch)
        found.append(digests(loader))
    return found


def test_batches_do_not_depend_on_the_number_of_workers():
    alone = epochs(module(0))
    torch.manual_seed(99)  # nor on the state of the global generator
    assert epochs(module(1)) == alone
    assert epochs(module(2)) == alone
    assert alone[0] != alone[1]
    assert epochs(module(0, seed=1)) != alone


def test_incomplete_batches_are_left_out_in_training():
    assert [len(batch) for batch in module().train_dataloader()] == [4, 4, 4]


def test_an_effective_batch_is_reached_on_any_number_of_devices():
    data = module(effective_batch=24)
    assert [data.batches_per_step(devices) for devices in (1, 2, 3, 6)] == [6, 3, 2, 1]
    with pytest.raises(ValueError, match="effective_batch is 24, which is no multiple of 4 samples on each of 5"):
        data.batches_per_step(5)
    assert module().batches_per_step(5) is None


def test_validation_has_one_loader_for_each_data_set_in_order():
    data = module(validation=[Numbered("v", 3), Numbered("w", 2)], validation_batch_size=2)
    first, second = data.val_dataloader()
    assert [batch.names for batch in first] == [("v0", "v1"), ("v2",)]
    assert [batch.names for batch in second] == [("w0", "w1")]
    assert next(iter(first)).images.shape == (2, 3, 12, 16)


class Recorder(lightning.LightningModule):
    """Learns nothing, and writes down what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.seen: list[list[str]] = []
        self.validated: list[str] = []

    def on_train_epoch_start(self) -> None:
        self.seen.append([])

    def training_step(self, batch: Batch, index: int) -> torch.Tensor:
        assert isinstance(batch, Batch)
        assert batch.targets["labelled"].shape == (4,)
        self.seen[-1].extend(batch.names)
        return (self.weight * batch.images.mean()).sum()

    def validation_step(self, batch: Batch, index: int, dataloader_idx: int = 0) -> None:
        self.validated.extend(batch.names)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


@pytest.mark.filterwarnings("ignore:.*does not have many workers:UserWarning")
@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")  # between Lightning and PyTorch
def test_lightning_trains_on_it_and_tells_it_the_epoch(tmp_path: Path):
    data = module(targets=areas, validation=[Numbered("v", 2)])
    recorder = Recorder()
    trained(recorder, tmp_path, 2, data, None, check_val_every_n_epoch=1)
    expected = []
    for epoch in range(2):
        loader = module().train_dataloader()
        loader.sampler.set_epoch(epoch)
        expected.append([name for batch in loader for name in batch.names])
    assert recorder.seen == expected
    assert recorder.validated == ["v0", "v1"] * 2


def test_the_provenance_of_a_model_says_what_was_learned_from() -> None:
    data = MixedDataModule([WeightedDataset(ShapeScenes(3, (8, 8))), WeightedDataset(ShapeScenes(5, (8, 8)))])
    assert data.description == "ShapeScenes, 3 images; ShapeScenes, 5 images"


class Counted:
    """Targets that ask for classes."""

    def __init__(self, categories: tuple[Category, ...] = ()) -> None:
        self.categories = categories

    def __call__(self, sample: Sample) -> dict[str, torch.Tensor]:
        return {"classes": torch.tensor(len(self.categories))}


def test_targets_that_need_classes_get_those_of_the_data() -> None:
    scenes = [WeightedDataset(ShapeScenes(3, (8, 8)))]
    data = MixedDataModule(scenes, targets=Counted(), batch_size=1, workers=0)
    assert data.categories == CATEGORIES
    assert next(iter(data.train_dataloader())).targets["classes"].tolist() == [len(CATEGORIES)]
    assert MixedDataModule(scenes, targets=Counted(CATEGORIES[:2])).targets.categories == CATEGORIES[:2]


def test_data_sets_that_disagree_about_classes_are_refused() -> None:
    other = ShapeScenes(3, (8, 8))
    other._categories = (Category(CATEGORIES[0].id, "something else"),)
    with pytest.raises(ValueError, match=f"id {CATEGORIES[0].id} is '{CATEGORIES[0].name}' in one"):
        MixedDataModule([WeightedDataset(ShapeScenes(3, (8, 8))), WeightedDataset(other)], targets=Counted())


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.filterwarnings("ignore:skipped:UserWarning")
def test_damaged_samples_are_left_out_of_validation(workers: int) -> None:
    (loader,) = module(workers, validation=[Numbered("b", 4, [1], "skip")]).val_dataloader()
    assert [name for batch in loader for name in batch.names] == ["b0", "b2", "b3"]
    (loader,) = module(workers, validation=[Numbered("b", 4, [1], "skip")], validation_batch_size=2).val_dataloader()
    assert [len(batch) for batch in loader] == [1, 2]
    (loader,) = module(workers, validation=[Numbered("b", 2, [0, 1], "skip")]).val_dataloader()
    with pytest.raises(DataError, match="none of the 2 samples to validate on can be read"):
        list(loader)


def test_batches_shrink_to_what_there_is() -> None:
    data = MixedDataModule([WeightedDataset(Numbered("a", 3))], batch_size=8, workers=0)
    with pytest.warns(UserWarning, match="an epoch has 3 draws: batches have 3 samples, not 8"):
        assert [len(batch) for batch in data.train_dataloader()] == [3]


def crowds(*, all_of_them: bool, has_objects: bool = True) -> Dataset:
    class Crowds(Numbered):
        def load(self, index: int) -> Sample:
            whole = super().load(index)
            is_crowd = {s.id for s in whole.segments} if all_of_them or index == 0 else set()
            return Sample.from_labels(whole.image, whole.segment_map, crowds=is_crowd)

    dataset = Crowds("c", 3)
    dataset.has_objects = has_objects
    return dataset


def test_data_without_anything_to_learn_is_refused() -> None:
    check_learnable(crowds(all_of_them=False))
    check_learnable(crowds(all_of_them=True, has_objects=False))
    with pytest.raises(DataError, match=r"all \d+ segments to learn from are crowds"):
        check_learnable(crowds(all_of_them=True))
    with pytest.raises(DataError, match="none of the 2 samples that can be read has a segment"):
        check_learnable(Unlabelled("d", 2))
    check_learnable(DepthOnly(ShapeScenes(2, (12, 16))))


class Unlabelled(Numbered):
    def load(self, index: int) -> Sample:
        whole = super().load(index)
        return Sample.from_labels(whole.image, whole.segment_map * 0)


def test_images_are_read_in_one_way_which_the_model_will_know() -> None:
    data = module(channels=[0], normalize="minmax", validation=[Numbered("v", 2)])
    assert data.reading == ReadingOptions((0,), normalize="minmax")
    assert {s.dataset.reading for s in data.samples.sources} | {v.reading for v in data.validation} == {data.reading}
    one, other = Numbered("a", 2), Numbered("b", 2)
    other.reading = ReadingOptions(normalize="none")
    with pytest.raises(ValueError, match="must be read in one way"):
        MixedDataModule([WeightedDataset(one), WeightedDataset(other)])
