from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.inference.segmenters import TEST_METHODS
from upseg.inference import models


@pytest.fixture(autouse=True)
def _test_methods(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, method in TEST_METHODS.items():
        monkeypatch.setitem(models.METHODS, name, method)


@pytest.fixture
def photos(tmp_path: Path) -> Callable[..., Path]:
    """Makes a folder of small, different images with the given names."""

    def make(*names: str, folder: str = "photos") -> Path:
        for number, name in enumerate(names):
            path = tmp_path / folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = np.random.default_rng(number).integers(0, 256, (6, 8, 3), np.uint8)
            Image.fromarray(pixels).save(path)
        return tmp_path / folder

    return make
