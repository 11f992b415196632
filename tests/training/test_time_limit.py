from __future__ import annotations

import itertools
from types import SimpleNamespace
from typing import Any

import lightning
import pytest

from tests.training.stand_ins import stand_in_module, stand_in_trainer
from tests.training.tiny import recipe, rows, train
from upseg.training import time_limit as module
from upseg.training.time_limit import TimeLimit


@pytest.fixture
def clock(monkeypatch) -> SimpleNamespace:
    """A clock that a test sets: `now`, in seconds."""
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


def trainer(**state: Any) -> lightning.Trainer:
    strategy = SimpleNamespace(reduce_boolean_decision=lambda decision, **options: decision)
    usual = {"strategy": strategy, "should_stop": False, "check_val_every_n_epoch": 9}
    return stand_in_trainer(**{**usual, **state})


def step(limit: TimeLimit, clock: SimpleNamespace, now: float) -> bool:
    """Whether the training stops after a step of a second that ends now."""
    running = trainer()
    clock.now = now - 1
    limit.on_validation_start(running, stand_in_module())  # what came before is none of the step's time
    clock.now = now
    limit.on_train_batch_end(running, stand_in_module(), None, None, 0)
    assert running.check_val_every_n_epoch == (1 if running.should_stop else 9)
    return running.should_stop


def validate(limit: TimeLimit, clock: SimpleNamespace, seconds: float, **state: Any) -> bool:
    """Whether the training stops after a validation of so many seconds."""
    running = trainer(**state)
    limit.on_validation_start(running, stand_in_module())
    clock.now += seconds
    limit.on_validation_end(running, stand_in_module())
    return running.should_stop


def test_it_stops_when_a_step_a_validation_and_the_files_have_no_time_left(clock) -> None:
    limit = TimeLimit(10.0, began=990.0)
    limit.on_train_start(trainer(), stand_in_module())
    assert not validate(limit, clock, 50)  # 60 s may be needed at the end, and 4 for files
    assert not step(limit, clock, 990 + 534)  # 66 s are left, and 65 needed
    assert step(limit, clock, 990 + 536)


def test_what_is_looked_at_before_the_training_tells_how_long_a_validation_takes(clock) -> None:
    limit = TimeLimit(10.0, began=1000.0)
    looking = trainer(sanity_checking=True, num_val_batches=[20])
    limit.on_validation_start(looking, stand_in_module())
    for seconds in (30, 5):  # the first waits for processes to start
        clock.now += seconds
        limit.on_validation_batch_end(looking, stand_in_module(), None, None, 0)
    limit.on_validation_end(looking, stand_in_module())  # so all take 100 s
    limit.on_train_start(trainer(), stand_in_module())
    assert not step(limit, clock, 1000 + 474)  # 600 - 1.2 * 100 - 4 - 1 are 475
    assert step(limit, clock, 1000 + 476)


def test_after_a_validation_it_stops_if_there_is_no_time_for_another(clock) -> None:
    limit = TimeLimit(10.0, began=1000.0)
    limit.on_train_start(trainer(), stand_in_module())
    clock.now = 1000 + 400
    assert validate(limit, clock, 100)


def test_the_share_is_that_of_the_time_for_learning(clock) -> None:
    limit = TimeLimit(10.0, began=1000.0)
    assert limit.share == 0
    clock.now = 1096
    limit.on_train_start(trainer(), stand_in_module())
    assert limit.share == 0
    clock.now = 1096 + 250
    assert limit.share == pytest.approx(0.5)
    clock.now = 1700
    assert limit.share == 1
    assert limit.left == -100


def test_a_training_that_goes_on_has_what_was_left(clock) -> None:
    limit = TimeLimit(10.0, began=1000.0)
    limit.on_train_start(trainer(), stand_in_module())
    validate(limit, clock, 30)
    clock.now = 1200
    state = limit.state_dict()
    clock.now = 5000
    again = TimeLimit(20.0, began=4990.0)
    again.load_state_dict(state)
    assert (again.elapsed, again.left) == (210, 990)
    assert again._reserve == limit._reserve


@pytest.mark.parametrize("minutes", [0.0, -1.0, float("nan")])
def test_minutes_must_be_positive(minutes) -> None:
    with pytest.raises(ValueError, match="minutes must be positive"):
        TimeLimit(minutes)


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore:.*num_workers:UserWarning")
def test_an_endless_training_ends_inside_an_epoch_and_its_rate_falls_with_the_time(tmp_path, monkeypatch) -> None:
    ticks = itertools.count()
    ticking = SimpleNamespace(monotonic=lambda: next(ticks) / 25)  # a machine as fast as any other
    monkeypatch.setattr(module, "time", ticking)
    monkeypatch.setattr("upseg.training.cli.time", ticking)
    content = recipe()
    content["model"]["class_path"] = "tests.training.tiny.WithoutOptimiser"
    content["data"]["init_args"]["epoch_length"] = 100_000
    content["trainer"]["max_epochs"] = -1
    content["optimization"] = {"learning_rate": 0.05}
    training = train(tmp_path / "run", content, "--minutes", "0.05")
    assert 5 < training.trainer.global_step < 60
    rates = [rate for *_, rate in rows(tmp_path / "run", "learning_rate")]
    assert rates[0] == pytest.approx(0.05)
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] < 0.005
    [validated] = rows(tmp_path / "run", "val/recall")
    assert validated[1] == len(rates) - 1
    again = train(tmp_path / "run", content, "--minutes", "0.1", resume=True)
    assert again.trainer.global_step > training.trainer.global_step + 5
