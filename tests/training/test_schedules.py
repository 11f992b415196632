from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from upseg.training.schedules import Optimization, learning_rate_factor, warm_up_schedule


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("constant", [1 / 3, 2 / 3, 1, 1, 1, 1, 1]),
        ("cosine", [1 / 3, 2 / 3, 1, (1 + math.sqrt(0.5)) / 2, 0.5, (1 - math.sqrt(0.5)) / 2, 0]),
        ("polynomial", [1 / 3, 2 / 3, 1, 0.75**0.9, 0.5**0.9, 0.25**0.9, 0]),
    ],
)
def test_seven_steps_by_hand(kind, expected):
    assert [learning_rate_factor(step, 7, 2, kind) for step in range(7)] == pytest.approx(expected)


def test_what_is_left_at_the_end_can_be_chosen():
    assert learning_rate_factor(4, 5, 0, "cosine", 0.2) == pytest.approx(0.2)
    assert learning_rate_factor(2, 5, 0, "cosine", 0.2) == pytest.approx(0.6)
    assert learning_rate_factor(99, 5, 0, "cosine", 0.2) == pytest.approx(0.2)  # steps after the last


@given(st.integers(1, 50), st.integers(0, 50), st.sampled_from(["constant", "cosine", "polynomial"]))
def test_it_rises_to_one_and_then_never_rises_again(steps, warm_up, kind):
    warm_up = min(warm_up, steps)
    factors = [learning_rate_factor(step, steps, warm_up, kind) for step in range(steps)]
    assert all(0 <= factor <= 1 for factor in factors)
    rising, falling = factors[: warm_up + 1], factors[warm_up:]
    assert rising == sorted(rising)
    assert falling == sorted(falling, reverse=True)
    assert not falling or falling[0] == 1


def test_the_scheduler_sets_the_rates_of_all_groups_and_leaves_its_length_out_of_checkpoints():
    parameters = [nn.Parameter(torch.zeros(1)) for _ in range(2)]
    optimizer = torch.optim.SGD([{"params": parameters[:1], "lr": 2.0}, {"params": parameters[1:], "lr": 4.0}])
    schedule = warm_up_schedule(optimizer, 4, warm_up=1, kind="cosine")
    rates = []
    for _ in range(4):
        rates.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        schedule.step()
    assert rates == [pytest.approx(pair) for pair in ([1, 2], [2, 4], [1, 2], [0, 0])]
    assert schedule.state_dict()["lr_lambdas"] == [None, None]


def test_impossible_schedules_are_refused():
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))])
    with pytest.raises(ValueError, match="between 0 and all of the 4 steps, got 5"):
        warm_up_schedule(optimizer, 4, warm_up=5)
    with pytest.raises(ValueError, match=r"must be in \[0, 1\], got 2.0"):
        warm_up_schedule(optimizer, 4, final=2.0)
    with pytest.raises(ValueError, match="learning_rate must be positive, got 0"):
        Optimization(0.0)
    with pytest.raises(ValueError, match=r"warm_up in \[0, 1\], got 0.9, 1.5"):
        Optimization(1.0, warm_up=1.5)


def test_only_adamw_decays_unless_asked_for() -> None:
    """In Adam and SGD a decay is an L2 penalty, part of the gradient: nobody gets one by accident."""
    module = nn.Linear(2, 2)
    found = {
        kind: max(group.weight_decay for group in Optimization(0.1, kind).groups(module))
        for kind in ("adamw", "adam", "sgd")
    }
    assert found == {"adamw": 0.05, "adam": 0.0, "sgd": 0.0}
    assert max(group.weight_decay for group in Optimization(0.1, "sgd", weight_decay=0.2).groups(module)) == 0.2
    assert max(group.weight_decay for group in Optimization(0.1, weight_decay=0.0).groups(module)) == 0.0
