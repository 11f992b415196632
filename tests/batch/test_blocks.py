"""`upseg segment --memory`: images in blocks, from the command line to the files."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile
from typer.testing import CliRunner

import upseg
from tests.methods.entity.extensions.cells.test_slides import crowd
from upseg.batch.blocks import WORK_SUFFIX, parse_memory
from upseg.batch.run import segment_files
from upseg.cli import app
from upseg.errors import UpsegError
from upseg.formats import read
from upseg.layers.tiling import TileGrid
from upseg.methods.entity.extensions.cells import CellSegmenter

SETTINGS = {"diameter": 18.0, "canonical": 18.0, "tile": 160, "overlap": 32}
TILES = len(TileGrid(520, 660, 160, 32, 32))
GIVEN = [part for key, value in SETTINGS.items() for part in ("--set", f"{key}={value}")]


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("slides") / "slide.tif"
    image = (np.kron(crowd(260, 330), np.ones((2, 2, 1))) * 255).astype(np.uint8)
    tifffile.imwrite(path, image, photometric="rgb", tile=(64, 64), compression="zlib")
    return path


def run(slide: Path, output: Path, **options: object) -> object:
    return segment_files(
        [slide], output, model="nuclei", settings=SETTINGS, formats=("tif", "geojson"), memory=4 * 10**9, **options
    )


def test_a_run_that_was_killed_goes_on_and_ends_as_if_it_had_not_been(slide, tmp_path, monkeypatch) -> None:
    output = tmp_path / "out"
    command = [sys.executable, "-m", "upseg", "segment", str(slide), "-o", str(output), "-m", "nuclei", *GIVEN]
    process = subprocess.Popen([*command, "--memory", "4GB", "-f", "tif", "-f", "geojson", "-q"])
    work = output / f"slide{WORK_SUFFIX}"
    until = time.monotonic() + 1200
    while len(tiles := list(work.glob("tile-*.npy"))) < 3 and time.monotonic() < until:
        assert process.poll() is None
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (output / "slide.tif").exists()
    left, looks = len(list(work.glob("tile-*.npy"))), []
    original = CellSegmenter._looked
    monkeypatch.setattr(CellSegmenter, "_looked", lambda self, images: (looks.append(1), original(self, images))[1])
    (result,) = run(slide, output).results
    assert result.status == "done"
    whole = upseg.load_model("nuclei", "cpu", **SETTINGS).segment(slide)
    assert read(output / "slide.tif") == whole
    assert read(output / "slide.geojson") == whole
    assert result.segments == len(whole)
    assert len(tiles) >= 3
    assert len(looks) == TILES - left
    assert not work.exists()
    assert run(slide, output).results[0].status == "skipped"
    assert len(looks) == TILES - left


def test_what_cannot_be_done_in_blocks_is_refused(slide, tmp_path) -> None:
    def refusal(*arguments: str) -> str:
        return str(CliRunner().invoke(app, ["segment", str(slide), "-o", str(tmp_path / "out"), *arguments]).exception)

    assert "--memory goes with photos, dynaseg and nuclei" in refusal("--memory", "4GB", "-m", "things")
    assert "png needs the whole image" in refusal("--memory", "4GB", "-m", "nuclei", "-f", "png")
    assert "left out by size" in refusal("--memory", "4GB", "-m", "nuclei", "--min-area", "4")
    assert "ome-zarr is written of images in blocks" in refusal("-m", "nuclei", "-f", "ome-zarr")
    assert "such as 4GB, got 'much'" in refusal("--memory", "much", "-m", "nuclei")


def test_photos_have_in_blocks_the_answer_of_one_piece(slide, tmp_path) -> None:
    settings = {"detail": 0.9}
    options = {"model": "photos", "settings": settings, "formats": ("tif", "geojson"), "memory": 4 * 10**9}
    (result,) = segment_files([slide], tmp_path / "out", **options).results
    whole = upseg.load_model("photos", "cpu", **settings).segment(slide)
    assert read(tmp_path / "out" / "slide.tif") == whole
    assert read(tmp_path / "out" / "slide.geojson") == whole
    assert result.segments == len(whole) > 1
    assert not (tmp_path / "out" / f"slide{WORK_SUFFIX}").exists()


def test_an_image_that_has_no_regions_or_too_little_memory_fails_by_itself(slide, tmp_path) -> None:
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    options = {"model": "nuclei", "settings": SETTINGS, "formats": ("tif",)}
    (failed,) = segment_files([tmp_path / "a.png"], tmp_path / "out", memory=10**10, **options).results
    assert "a.png: regions can be read of OME-Zarr and TIFF" in str(failed.error)
    (failed,) = segment_files([slide], tmp_path / "out", memory=10**8, **options).results
    assert "need a memory of at least" in str(failed.error)


@pytest.mark.skipif(sys.platform != "linux", reason="an option of the C library of Linux")
def test_memory_that_is_freed_is_used_again_without_the_kernel() -> None:
    script = """if True:
        import numpy, resource
        from upseg.batch.memory import reuse_freed_memory
        reuse_freed_memory()
        for _ in range(3):
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
            numpy.ones(2**27, numpy.uint8)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    """
    faults = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout
    assert int(faults) < 1000


@pytest.mark.parametrize(("text", "expected"), [("4GB", 4 * 10**9), (" 1.5 gb", 15 * 10**8), ("800MB", 8 * 10**8)])
def test_sizes_of_memory(text: str, expected: int) -> None:
    assert parse_memory(text) == expected


@pytest.mark.parametrize("text", ["", "4", "GB", "-1GB", "4 bytes", "infGB"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(UpsegError, match="such as 4GB"):
        parse_memory(text)
