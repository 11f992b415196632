import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from upseg.data.sources.matlab import read_matlab
from upseg.errors import DataError

MAPS = [np.arange(12, dtype=np.uint16).reshape(3, 4) + i for i in range(3)]


def written(path: Path, *, compressed: bool = True) -> Path:
    cells = np.empty((1, 3), object)
    for i, values in enumerate(MAPS):
        cells[0, i] = {"Segmentation": values, "Boundaries": values > 3, "note": "text"}
    variables = {"other": np.eye(2), "cells": cells, "numbers": np.array([[1, 2.5]]), "small": np.int8([[1, -2]])}
    savemat(path, variables, do_compression=compressed)
    return path


@pytest.mark.parametrize("compressed", [True, False])
def test_what_scipy_writes(tmp_path, compressed) -> None:
    path = written(tmp_path / "a.mat", compressed=compressed)
    cells = read_matlab(path, "cells", "maps")
    assert cells.shape == (1, 3)
    for cell, expected in zip(cells.ravel(), MAPS, strict=True):
        found = cell["Segmentation"][0, 0]
        assert found.dtype == np.uint16
        np.testing.assert_array_equal(found, expected)
        np.testing.assert_array_equal(cell["Boundaries"][0, 0], expected > 3)
        assert cell["note"][0, 0] is None
    np.testing.assert_array_equal(read_matlab(path, "numbers", "numbers"), [[1, 2.5]])
    np.testing.assert_array_equal(read_matlab(path, "small", "numbers"), [[1, -2]])


def test_what_is_not_there_is_named(tmp_path) -> None:
    path = written(tmp_path / "a.mat")
    with pytest.raises(DataError, match=r"a\.mat: .*no variable 'groundTruth'"):
        read_matlab(path, "groundTruth", "maps")
    with pytest.raises(DataError, match=r"b\.mat: no such file"):
        read_matlab(tmp_path / "b.mat", "cells", "maps")
    path.write_bytes(b"MATLAB 7.3" + b" " * 200)
    with pytest.raises(DataError, match="no MATLAB file of version 5"):
        read_matlab(path, "cells", "maps")


@pytest.mark.parametrize("compressed", [True, False])
def test_every_damage_ends_in_one_clear_error_or_an_array(tmp_path, compressed) -> None:
    content = written(tmp_path / "a.mat", compressed=compressed).read_bytes()
    random, path, errors = np.random.default_rng(0), tmp_path / "b.mat", 0
    for _ in range(600):
        damaged = bytearray(content)
        for place in random.integers(0, len(content), random.integers(1, 4)):
            damaged[place] = random.integers(256)
        path.write_bytes(damaged[: random.integers(1, len(content) + 1)] if random.random() < 0.3 else damaged)
        with suppress(DataError):
            read_matlab(path, "cells", "maps")
            errors -= 1
        errors += 1
    assert errors > 100


def plain(value: Any) -> Any:
    """What scipy gives for structures and cells, as dictionaries and lists."""
    if isinstance(value, np.ndarray) and value.dtype.names:
        return {name: plain(value[name]) for name in value.dtype.names}
    return [plain(v) for v in value.ravel()] if isinstance(value, np.ndarray) and value.dtype == object else value


def test_real_files_say_what_scipy_says_they_do() -> None:
    if "UPSEG_DATA" not in os.environ:
        pytest.skip("UPSEG_DATA names no folder with real data")
    files = sorted((Path(os.environ["UPSEG_DATA"]) / "bsds500" / "groundTruth" / "val").glob("*.mat"))[:5]
    assert files
    for path in files:
        ours = [cell["Segmentation"][0, 0] for cell in read_matlab(path, "groundTruth", "maps").ravel()]
        theirs = [cell["Segmentation"][0] for cell in plain(loadmat(path)["groundTruth"])]
        for one, other in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(one, other)
