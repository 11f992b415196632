from __future__ import annotations

import math
from collections import OrderedDict
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from tests.training.stand_ins import stand_in_module, stand_in_trainer
from tests.training.tiny import recipe, train
from upseg.errors import ModelError
from upseg.training.checkpoints import KeepCheckpoints, SafeCheckpointIO, read_training_state

CHECKPOINT = {
    "state_dict": OrderedDict(weight=torch.arange(3.0)),
    "epoch": 3,
    "global_step": 9,
    "more": [None, True, 1.5, ("a", {2})],
}


def test_what_is_written_comes_back(tmp_path) -> None:
    path = tmp_path / "deep" / "a.ckpt"
    SafeCheckpointIO().save_checkpoint(CHECKPOINT, path)
    read = SafeCheckpointIO().load_checkpoint(path, weights_only=False)
    assert torch.equal(read["state_dict"]["weight"], torch.arange(3.0))
    assert (read["epoch"], read["more"]) == (3, [None, True, 1.5, ("a", {2})])
    assert [file.name for file in path.parent.iterdir()] == ["a.ckpt"]


@pytest.mark.parametrize("value", [np.float64(1), object(), SimpleNamespace(), np.zeros(2)])
def test_what_could_not_be_read_again_is_not_written(tmp_path, value) -> None:
    path = tmp_path / "a.ckpt"
    SafeCheckpointIO().save_checkpoint(CHECKPOINT, path)
    before = path.read_bytes()
    with pytest.raises(TypeError, match=r"checkpoint\['more'\]\['mine'\] is of type .*only tensors and plain types"):
        SafeCheckpointIO().save_checkpoint(CHECKPOINT | {"more": {"mine": value}}, path)
    assert path.read_bytes() == before


class Malicious:
    def __reduce__(self) -> tuple[Any, ...]:
        return (pytest.fail, ("code from a file was run",))


def test_no_code_from_a_file_is_run(tmp_path) -> None:
    torch.save(CHECKPOINT | {"state_dict": Malicious()}, tmp_path / "a.ckpt")
    with pytest.raises(ModelError, match=r"a\.ckpt: the checkpoint asks for code to be run"):
        SafeCheckpointIO().load_checkpoint(tmp_path / "a.ckpt", weights_only=False)


def test_other_files_are_refused(tmp_path) -> None:
    torch.save({"state_dict": {}}, tmp_path / "weights.ckpt")
    (tmp_path / "half.ckpt").write_bytes((tmp_path / "weights.ckpt").read_bytes()[:100])
    with pytest.raises(ModelError, match="is no checkpoint of a training: it has no state_dict, epoch and global_step"):
        read_training_state(tmp_path / "weights.ckpt")
    with pytest.raises(ModelError, match=r"half\.ckpt: this is not a checkpoint"):
        read_training_state(tmp_path / "half.ckpt")


def write_epoch(self: Any, path: Any) -> None:
    """In place of a checkpoint."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(str(self.current_epoch), encoding="utf-8")


def epochs(folder: Any, values: list[float | None], **options: Any) -> tuple[str, str | None]:
    """(last, best) after epochs with these validation results, None for epochs without."""
    keep, module = KeepCheckpoints(**options), stand_in_module()
    for epoch, value in enumerate(values):
        metrics = {} if value is None else {"score": torch.tensor(value)}
        state = {"default_root_dir": folder, "callback_metrics": metrics, "save_checkpoint": write_epoch}
        trainer = stand_in_trainer(current_epoch=epoch, **state)
        if value is not None:
            keep.on_validation_end(trainer, module)
        keep.on_train_epoch_end(trainer, module)
    best = folder / "checkpoints" / "best.ckpt"
    return (folder / "checkpoints" / "last.ckpt").read_text(), best.read_text() if best.exists() else None


@pytest.mark.parametrize(
    ("values", "mode", "expected"),
    [
        ([0.1, 0.5, 0.3], "max", ("2", "1")),
        ([0.1, 0.5, 0.3], "min", ("2", "0")),
        ([0.5, 0.5], "max", ("1", "0")),
        ([math.nan, 0.2, math.nan], "max", ("2", "1")),
        ([None, 0.2, None, 0.1], "max", ("3", "1")),
        ([None, None], "max", ("1", None)),
    ],
)
def test_the_last_and_the_best_are_kept(tmp_path, values, mode, expected) -> None:
    assert epochs(tmp_path, values, monitor="score", mode=mode) == expected


def test_without_a_metric_there_is_no_best(tmp_path) -> None:
    assert epochs(tmp_path, [0.1, 0.2]) == ("1", None)


def test_a_resumed_training_goes_on_comparing_with_the_best(tmp_path) -> None:
    keep = KeepCheckpoints("score")
    keep.best = 0.7
    resumed, other = KeepCheckpoints("score"), KeepCheckpoints("score", "min")
    resumed.load_state_dict(keep.state_dict())
    other.load_state_dict(keep.state_dict())
    assert (resumed.best, other.best) == (0.7, None)


def test_the_checkpoints_of_a_run_hold_nothing_but_tensors_and_plain_types(tmp_path) -> None:
    training = train(tmp_path / "run", recipe(), "--trainer.max_epochs=1")
    checkpoint = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    assert checkpoint["epoch"] == 0
    assert torch.equal(checkpoint["state_dict"]["layers.0.weight"], training.model.layers[0].weight)
