"""What starts fast imports little: the heavy modules that each command imports, counted in a process of its own."""

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from PIL import Image

HEAVY = (
    "torch", "torchvision", "timm", "scipy", "skimage", "sklearn", "tifffile", "lightning", "transformers",
    "huggingface_hub", "matplotlib", "fastapi", "onnxruntime", "zarr", "rich.progress",
    "numpy.f2py.crackfortran", "torch._decomp", "torch._dynamo", "torch.export.exported_program", "sympy", "triton",
)  # fmt: skip
NEEDED = {"torch", "scipy", "skimage", "rich.progress"} | (
    set() if version("torch").startswith("2.15.") else {"torch.export.exported_program", "torch._decomp"}
)
RUN = """
import json, sys
from upseg.cli import app
app(json.loads(sys.argv[1]), standalone_mode=False)
print(json.dumps([name for name in json.loads(sys.argv[2]) if name in sys.modules]))
"""


def imported_by(*arguments: str) -> set[str]:
    command = [sys.executable, "-c", RUN, json.dumps(arguments), json.dumps(HEAVY)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("arguments", [("models", "--help"), ("segment", "--help"), ("train", "--help")])
def test_help_needs_nothing(arguments: tuple[str, ...]) -> None:
    assert imported_by(*arguments) == set()


@pytest.mark.parametrize("model", ["dynaseg", "photos", "nuclei"])
def test_an_image_needs_what_computes_it_and_a_second_run_nothing(tmp_path: Path, model: str) -> None:
    Image.new("RGB", (40, 30), (90, 20, 200)).save(tmp_path / "a.png")
    command = ("segment", str(tmp_path / "a.png"), "-o", str(tmp_path / "out"), "-m", model, "-q")
    assert imported_by(*command) <= NEEDED
    assert (tmp_path / "out" / "a.png").exists()
    assert imported_by(*command) == set()


def test_splitting_with_a_photo_needs_as_little(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    Image.new("RGB", (40, 30), (90, 20, 200)).save(tmp_path / "images" / "a.png")
    Image.new("L", (40, 30), 1).save(tmp_path / "a.png")
    command = ("split", str(tmp_path / "a.png"), "--images", str(tmp_path / "images"), "-o", str(tmp_path / "out"))
    assert imported_by(*command, "-q") <= NEEDED
    assert (tmp_path / "out" / "a.png").exists()


def test_the_end_of_a_process_looks_for_no_cycles() -> None:
    end = "import gc; from upseg.commands.quick_start import start_quickly; start_quickly(); "
    shown = subprocess.run(
        [sys.executable, "-c", f"import atexit; atexit.register(lambda: print(gc.get_freeze_count())); {end}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(shown.stdout) > 1000


def test_random_numbers_are_drawn_although_parts_of_torch_are_left_out(tmp_path: Path) -> None:
    Image.new("RGB", (40, 30), (90, 20, 200)).save(tmp_path / "a.png")
    fit = ("segment", str(tmp_path / "a.png"), "-o", str(tmp_path / "out"), "--preset", "paper", "--set", "steps=2")
    assert "torch" in imported_by(*fit, "--set", "extractor=cnn", "-q")
    assert (tmp_path / "out" / "a.png").exists()
