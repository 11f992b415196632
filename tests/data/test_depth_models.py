import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.data.tiny_depth_models import save_depth_anything, save_dpt
from upseg.data.depth_models import TransformersDepth
from upseg.errors import ModelError

transformers = pytest.importorskip("transformers", reason="depth models need the extra depth")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    save_depth_anything(folder / "relative")
    save_depth_anything(folder / "other", seed=1)
    save_depth_anything(folder / "metric", "metric")
    save_dpt(folder / "dpt")
    return folder


def photo(height: int = 40, width: int = 60) -> np.ndarray:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3))
    pixels[:, : width // 2] //= 5
    return (pixels / 255).astype(np.float32)


def predicted_by_transformers(model: Path, image: np.ndarray) -> np.ndarray:
    pipeline = transformers.pipeline("depth-estimation", model=str(model), device="cpu")
    return pipeline(Image.fromarray(np.rint(image * 255).astype(np.uint8)))["predicted_depth"].numpy()


@pytest.mark.parametrize("size", [(40, 60), (29, 15)])
def test_a_relative_model_is_asked_as_transformers_asks_it(models: Path, size: tuple[int, int]) -> None:
    teacher = TransformersDepth(models / "relative", device="cpu")
    assert teacher.predicts == "disparity"
    found = teacher.disparity(photo(*size))
    expected = predicted_by_transformers(models / "relative", photo(*size))
    assert found.shape == size
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert np.ptp(found) > 0.01


def test_what_a_metric_model_says_is_turned_round(models: Path) -> None:
    teacher = TransformersDepth(models / "metric", device="cpu")
    assert teacher.predicts == "depth"
    np.testing.assert_allclose(
        teacher.disparity(photo()), 1 / predicted_by_transformers(models / "metric", photo()), rtol=1e-5
    )


def test_a_user_can_say_what_a_model_predicts_and_has_to_where_it_does_not(models: Path) -> None:
    with pytest.raises(ModelError, match=r"the configuration of a dpt model does not say .*--predicts"):
        TransformersDepth(models / "dpt", device="cpu")
    near, far = (TransformersDepth(models / "dpt", kind, "cpu").disparity(photo()) for kind in ("disparity", "depth"))
    np.testing.assert_allclose(near * far, 1, rtol=1e-5)


def test_the_fingerprint_tells_models_apart_and_not_where_they_are(models: Path, tmp_path: Path) -> None:
    names = ("relative", "other", "metric")
    found = [TransformersDepth(models / name, device="cpu").fingerprint for name in names]
    assert len({*found, TransformersDepth(models / "relative", "depth", "cpu").fingerprint}) == 4
    copied = shutil.copytree(models / "relative", tmp_path / "copied")
    assert TransformersDepth(copied, device="cpu").fingerprint == found[0]


def test_folders_without_a_model_are_refused(models: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="expected a folder with a depth model of transformers"):
        TransformersDepth(tmp_path, device="cpu")


def test_pickled_weights_are_never_read(models: Path, tmp_path: Path) -> None:
    for name in ("config.json", "preprocessor_config.json"):
        (tmp_path / name).write_bytes((models / "relative" / name).read_bytes())
    weights = transformers.AutoModelForDepthEstimation.from_pretrained(str(models / "relative")).state_dict()
    torch.save(weights, tmp_path / "pytorch_model.bin")
    with pytest.raises(ModelError, match="safetensors"):
        TransformersDepth(tmp_path, device="cpu")


def test_transformers_need_not_be_installed_for_the_rest(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ModelError, match=r"pip install 'upseg\[depth\]'"):
        TransformersDepth(tmp_path, device="cpu")
