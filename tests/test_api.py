import subprocess
import sys

import numpy as np
import pytest

import upseg
from tests.batch.segmenters import TEST_METHODS
from upseg.models import registry as models


def in_a_fresh_interpreter(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_the_public_names_are_there_and_documented() -> None:
    assert set(upseg.__all__) == {"Category", "Segment", "Segmentation", "__version__", "load_model", "segment"}
    for name in upseg.__all__:
        assert name in dir(upseg)
        assert getattr(upseg, name).__doc__
    with pytest.raises(AttributeError, match="module 'upseg' has no attribute 'segmant'"):
        _ = upseg.segmant


def test_an_image_is_segmented_saved_loaded_and_drawn(tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(models.METHODS, "threshold", TEST_METHODS["threshold"])
    image = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
    result = upseg.segment(image, "threshold", device="cpu", levels=3)
    assert isinstance(result, upseg.Segmentation)
    assert isinstance(result[1], upseg.Segment)
    assert upseg.load_model("threshold", "cpu", levels=3).segment(image) == result
    for name in ("a.png", "a.tif", "a.json", "a.geojson", "a.svg", "a.npz"):
        assert upseg.Segmentation.load(result.save(tmp_path / name)) == result
    assert result.overlay(image).shape == (6, 8, 3)


def test_importing_the_package_imports_nothing_heavy() -> None:
    heavy = ("torch", "numpy", "scipy", "skimage", "PIL", "matplotlib", "lightning", "gradio", "timm", "typer", "rich")
    code = f"import sys, upseg; print([name for name in {heavy} if name in sys.modules])"
    assert in_a_fresh_interpreter(code) == "[]"


@pytest.mark.parametrize("module", ["upseg.cli", "upseg.formats", "upseg.batch.run", "upseg.models.registry"])
def test_what_does_not_compute_does_without_torch(module) -> None:
    heavy = ("torch", "matplotlib", "lightning", "gradio", "timm", "huggingface_hub")
    code = f"import sys, {module}; print([name for name in {heavy} if name in sys.modules])"
    assert in_a_fresh_interpreter(code) == "[]"


def test_the_command_line_starts_without_numpy() -> None:
    assert in_a_fresh_interpreter("import sys, upseg.cli; print('numpy' in sys.modules)") == "False"


def test_what_has_moved_is_found_where_it_was() -> None:
    from upseg.images import reading
    from upseg.inference.images import read_image
    from upseg.inference.model_folders import packaged_models
    from upseg.models import folders

    assert (read_image, packaged_models) == (reading.read_image, folders.packaged_models)
