from __future__ import annotations

import copy
import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed
import torch.multiprocessing

from tests.metrics.cases import CASES, maps
from upseg.metrics.class_agnostic import ClassAgnostic
from upseg.training.accumulator_metric import AccumulatorMetric


def as_tensors(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value)
    return [as_tensors(v) for v in value] if isinstance(value, list) else value


@pytest.mark.parametrize("name", CASES)
def test_wrapped_is_the_same_as_bare(name: str) -> None:
    accumulator, draw = copy.deepcopy(CASES[name][0]), CASES[name][1]
    metric = AccumulatorMetric(accumulator, keep_tensors=name == "similarity")
    for _ in range(2):  # a reset forgets all
        metric.reset()
        for seed in range(3):
            metric.update(*map(as_tensors, draw(seed)))
    for seed in range(3):
        accumulator.update(*draw(seed))
    expected = accumulator.compute()
    assert any(0 < value < 1 for value in expected.values())
    assert metric.compute() == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize("name", CASES)
def test_forward_gives_the_value_of_the_batch_and_keeps_the_total(name: str) -> None:
    accumulator, draw = CASES[name]
    metric = AccumulatorMetric(accumulator, keep_tensors=name == "similarity")
    one, both = copy.deepcopy(accumulator), copy.deepcopy(accumulator)
    metric(*draw(1))
    value = metric(*draw(2))
    one.update(*draw(2))
    both.update(*draw(1))
    both.update(*draw(2))
    assert value == pytest.approx(one.compute(), nan_ok=True)
    assert metric.compute() == pytest.approx(both.compute(), nan_ok=True)


def test_precision_of_the_model_does_not_change_the_sums() -> None:
    metric = AccumulatorMetric(ClassAgnostic())
    torch.nn.ModuleList([metric]).half()
    metric.update(*maps(1))
    assert metric.sum_iou.dtype == torch.float64


def _evaluate(rank: int, folder: str) -> None:
    """One of two processes; of every second metric the other one sees no image at all."""
    patience = datetime.timedelta(minutes=3)
    torch.distributed.init_process_group("gloo", f"file://{folder}/group", patience, rank=rank, world_size=2)
    for index, (name, (accumulator, draw)) in enumerate(CASES.items()):
        metric = AccumulatorMetric(accumulator, keep_tensors=name == "similarity")
        for seed in range(4):
            if rank == (0 if index % 2 else seed % 2):
                metric.update(*draw(seed))
        found = metric.compute()
        np.savez(f"{folder}/{name}-{rank}.npz", **{key: np.float64(value) for key, value in found.items()})
    torch.distributed.barrier()


@pytest.mark.slow
def test_two_processes_are_the_same_as_one(tmp_path: Path) -> None:
    other = torch.multiprocessing.get_context("spawn").Process(target=_evaluate, args=(1, str(tmp_path)))
    other.start()
    try:
        _evaluate(0, str(tmp_path))
        other.join(180)
        assert other.exitcode == 0
    finally:
        other.kill()
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
    for name, (accumulator, draw) in CASES.items():
        whole = copy.deepcopy(accumulator)
        for seed in range(4):
            whole.update(*draw(seed))
        for rank in range(2):
            with np.load(tmp_path / f"{name}-{rank}.npz", allow_pickle=False) as found:
                values = {key: float(found[key]) for key in found.files}
            assert values == pytest.approx(dict(whole.compute()), nan_ok=True), name
