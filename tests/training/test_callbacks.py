from __future__ import annotations

import random
from typing import Any

import lightning
import numpy as np
import pytest
import torch
from PIL import Image

from tests.training.stand_ins import stand_in_module, stand_in_trainer
from upseg.training.callbacks import SeededEpochs, ValidationPictures


def trainer(root: Any = "", **state: Any) -> lightning.Trainer:
    return stand_in_trainer(default_root_dir=root, **state)


def drawing(picture: Any) -> lightning.LightningModule:
    return stand_in_module(draw_validation=lambda batch: picture)


PICTURE = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)


def test_the_first_batches_of_each_data_set_are_drawn(tmp_path) -> None:
    pictures = ValidationPictures(2)
    for dataset in range(2):
        for batch in range(4):
            pictures.on_validation_batch_end(trainer(tmp_path), drawing(PICTURE), None, None, batch, dataset)
    found = sorted((tmp_path / "pictures").iterdir())
    assert [path.name for path in found] == [f"epoch-0002-{d}-{b:02d}.png" for d in range(2) for b in range(2)]
    assert np.array_equal(np.asarray(Image.open(found[0])), PICTURE)


def test_what_is_looked_at_before_the_first_step_is_drawn_too(tmp_path) -> None:
    ValidationPictures().on_validation_batch_end(
        trainer(tmp_path, sanity_checking=True), drawing(PICTURE), None, None, 1
    )
    assert [path.name for path in (tmp_path / "pictures").iterdir()] == ["start-0-01.png"]


@pytest.mark.parametrize(
    ("count", "state", "module"),
    [
        (0, {}, drawing(PICTURE)),
        (4, {"is_global_zero": False}, drawing(PICTURE)),
        (4, {"fast_dev_run": True}, drawing(PICTURE)),
        (4, {}, stand_in_module()),
    ],
)
def test_and_nothing_where_there_is_nothing_to_draw(tmp_path, count, state, module) -> None:
    ValidationPictures(count).on_validation_batch_end(trainer(tmp_path, **state), module, None, None, 0)
    assert list(tmp_path.iterdir()) == []


def test_a_picture_is_there_whole_or_not_at_all(tmp_path, monkeypatch) -> None:
    pictures = ValidationPictures()
    pictures.on_validation_batch_end(trainer(tmp_path), drawing(PICTURE), None, None, 0)
    [path] = (tmp_path / "pictures").iterdir()
    before = path.read_bytes()

    def full_disk(self: Image.Image, file: Any, **options: Any) -> None:
        file.write(b"\x89PNG")
        raise OSError("no space left on device")

    monkeypatch.setattr(Image.Image, "save", full_disk)
    with pytest.raises(OSError, match="no space"):
        pictures.on_validation_batch_end(trainer(tmp_path), drawing(PICTURE[:2]), None, None, 0)
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    assert path.read_bytes() == before


@pytest.mark.parametrize("picture", [PICTURE[..., :1], PICTURE[0], PICTURE.astype(float), [1]])
def test_what_is_no_picture_is_refused(tmp_path, picture) -> None:
    with pytest.raises(TypeError, match=r"draw_validation must return a \(H, W, 3\) uint8 array"):
        ValidationPictures().on_validation_batch_end(trainer(tmp_path), drawing(picture), None, None, 0)


def numbers(seed: int, **state: Any) -> tuple[float, ...]:
    SeededEpochs(seed).on_train_epoch_start(trainer(**state), stand_in_module())
    return (float(torch.rand(())), random.random(), float(np.random.rand()))  # noqa: NPY002


@pytest.fixture
def generators_as_before() -> Any:
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()  # noqa: NPY002
    yield
    torch.set_rng_state(states[0])
    random.setstate(states[1])
    np.random.set_state(states[2])  # noqa: NPY002


@pytest.mark.usefixtures("generators_as_before")
def test_random_numbers_depend_on_seed_epoch_and_process_alone() -> None:
    first = numbers(3)
    assert numbers(3) == first
    others = [numbers(4), numbers(3, current_epoch=3), numbers(3, global_rank=1)]
    assert len({*others, first}) == 4
