"""What the paper of DynaSeg compares with: both learn two halves of different colours apart, and the seed decides."""

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
CHOSEN = {"clusters": 8, "superpixels": 36, "compactness": 10.0, "steps": 12}


@pytest.fixture
def baselines(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("harness.neural_baselines")


@pytest.mark.parametrize("family", ["slic_cnn_maps", "iic_maps"])
def test_two_halves_have_labels_of_their_own(baselines: Any, family: str) -> None:
    image = np.zeros((24, 30, 3), np.float32)
    image[:, :15, 0], image[:, 15:, 1:] = 0.9, 0.8
    image += np.random.default_rng(0).normal(0, 0.01, image.shape).astype(np.float32)
    label = getattr(baselines, family)
    (one,), (again,), (other,) = (label(image, CHOSEN | {"seed": seed}, ({},)) for seed in (0, 0, 1))
    assert (one.shape, one.dtype, one.min() >= 1) == ((24, 30), np.int32, True)
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)
    left, right = (np.bincount(one[4:-4, columns].ravel()).argmax() for columns in (slice(3, 12), slice(18, 27)))
    assert left != right
