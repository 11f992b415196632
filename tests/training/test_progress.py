from __future__ import annotations

import math

import pytest
import torch

from tests.training.stand_ins import stand_in_module, stand_in_trainer
from upseg.training.progress import Progress, minutes
from upseg.training.time_limit import TimeLimit

STATE = {
    "max_epochs": 5,
    "progress_bar_metrics": {"loss": 0.123456, "recall": torch.tensor(0.5)},
    "estimated_stepping_batches": 40,
    "callbacks": [],
}


def said(progress: Progress, capsys: pytest.CaptureFixture[str], **state: object) -> str:
    """What is printed after the 30th step."""
    trainer = stand_in_trainer(**{**STATE, **state})
    progress.on_train_batch_end(trainer, stand_in_module(), None, None, 0)
    return capsys.readouterr().out


def started(**options: object) -> Progress:
    progress = Progress(live=False, **options)  # type: ignore[arg-type]
    progress.on_train_start(stand_in_trainer(**STATE, global_step=20), stand_in_module())
    return progress


def test_the_line_of_a_step_has_its_number_the_loss_and_the_time_that_is_left(capsys) -> None:
    assert said(started(pause=0.0), capsys) == "step 30/40: loss 0.1235, recall 0.5, 0:00 left\n"


def test_lines_that_stay_have_a_pause_between_them(capsys) -> None:
    assert said(started(pause=60.0), capsys) == ""


def test_the_clock_says_what_is_left_where_it_ends_the_training(capsys) -> None:
    limited = {"estimated_stepping_batches": math.inf, "callbacks": [TimeLimit(10.0)]}
    assert said(started(pause=0.0), capsys, **limited) == "step 30: loss 0.1235, recall 0.5, 10:00 left\n"
    endless = {"estimated_stepping_batches": math.inf}
    assert said(started(pause=0.0), capsys, **endless) == "step 30: loss 0.1235, recall 0.5, 0:00 so far\n"


def test_on_a_terminal_the_line_is_written_anew_with_every_step() -> None:
    progress = Progress(live=True)
    progress.on_train_start(stand_in_trainer(**STATE), stand_in_module())
    status = progress._status
    assert status is not None
    progress.on_train_batch_end(stand_in_trainer(**STATE), stand_in_module(), None, None, 0)
    assert str(status.status).startswith("step 30/40: loss 0.1235")
    progress.on_fit_end(stand_in_trainer(**STATE), stand_in_module())
    assert progress._status is None


def test_the_line_of_an_epoch_has_the_metrics_and_the_seconds(capsys) -> None:
    progress = started()
    progress.on_train_epoch_start(stand_in_trainer(**STATE), stand_in_module())
    progress.on_train_epoch_end(stand_in_trainer(**STATE), stand_in_module())
    assert capsys.readouterr().out.startswith("epoch 3/5: loss 0.1235, recall 0.5, 0.")
    progress.on_train_epoch_end(stand_in_trainer(**STATE, is_global_zero=False), stand_in_module())
    progress.on_train_epoch_end(stand_in_trainer(**STATE | {"max_epochs": -1}), stand_in_module())
    assert capsys.readouterr().out.startswith("epoch 3: loss")


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.0, "0:00"), (5.6, "0:06"), (605.0, "10:05"), (3725.0, "1:02:05"), (-1.0, "0:00")]
)
def test_minutes_by_hand(seconds, text) -> None:
    assert minutes(seconds) == text
