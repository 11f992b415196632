from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.batch.segmenters import TEST_METHODS
from tests.split.splitting_folder import draw, register
from upseg.models import registry as models


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


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Masks to split and photos of two images, and of one in a folder below; the splitter `halves` is known."""
    register(monkeypatch.setitem)
    draw(tmp_path, "a", "b", "sub/c")
    return tmp_path
