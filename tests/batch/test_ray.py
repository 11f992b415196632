"""A cluster does what one machine does, and loses nothing when a part of it dies."""

import json
import socket
import subprocess
import sys
from collections import Counter
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest

from upseg.batch import ray_pipeline
from upseg.batch.ray_pipeline import images_together, is_address
from upseg.batch.remote_jobs import run_anywhere
from upseg.batch.run import segment_files
from upseg.commands.segment import SegmentCommand
from upseg.errors import UpsegError
from upseg.models.registry import find_model

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict]:
    for package in ("ray", "moto", "s3fs"):
        pytest.importorskip(package, reason=f'{package} is not installed: pip install "upseg[dev]"')
    command = [sys.executable, "-m", "tests.batch.on_a_cluster", str(tmp_path_factory.mktemp("cluster"))]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=400)
    assert run.returncode == 0, run.stderr[-4000:]
    return json.loads(run.stdout.splitlines()[-1])


@pytest.mark.slow
def test_a_cluster_writes_what_one_machine_writes(found) -> None:
    assert found["as here"]["here"] == found["as here"]["there"]
    assert found["as here"]["there"]["done"] == 6
    assert found["as here"]["same"]


@pytest.mark.slow
def test_a_broken_image_fails_alone_and_what_is_done_is_skipped(found) -> None:
    broken = found["broken"]
    assert (broken["done"], broken["skipped"], broken["failed"]) == (0, 6, 2)
    assert "its process died (SIGKILL" in broken["errors"]["dying.png"]
    assert "a bug in the method" in broken["errors"]["bug.png"]


@pytest.mark.slow
def test_from_bucket_to_bucket(found) -> None:
    first, second = found["buckets"]["first"], found["buckets"]["second"]
    assert (first["done"], first["failed"], second["skipped"], second["failed"]) == (6, 1, 6, 1)
    assert first["errors"]["damaged.png"].startswith("s3://lake/photos/damaged.png: this is not an image")
    assert first["errors"] == second["errors"]
    assert found["buckets"]["same"]


@pytest.mark.slow
def test_a_node_dies_and_nothing_is_lost_or_done_twice(found) -> None:
    dying = found["dying"]
    names = [f"{number:02}.png" for number in range(24)]
    assert dying["done"] == 24, dying["errors"]
    assert dying["names"] == dying["files"] == names
    assert sorted(dying["reported"]) == sorted(dying["finished"]) == names  # each once
    times = Counter(dying["segmented"])
    assert [times[name] for name in dying["before"]] == [1] * 6
    assert sum(times.values()) <= 24 + 2  # what the dead node had in hand
    assert dying["second"]["skipped"] == 24


@pytest.mark.slow
def test_a_model_that_cannot_be_loaded_ends_the_run(found) -> None:
    assert "the model cannot be loaded" in found["model"]


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (("auto", "local", "10.0.0.1:6379", "ray://head:10001", "[::1]:6379"), True),
        (("photos", "photos/a.jpg", "s3://bucket/photos", "C:/photos", "-o"), False),
    ],
)
def test_what_is_an_address(texts, expected) -> None:
    assert {is_address(text) for text in texts} == {expected}


@pytest.mark.parametrize(
    ("given", "understood"),
    [
        (["--ray"], ["--ray", "auto"]),
        (["--ray", "-o", "out"], ["--ray", "auto", "-o", "out"]),
        (["--ray", "photos"], ["--ray", "auto", "photos"]),
        (["--ray", "local", "photos"], ["--ray", "local", "photos"]),
        (["--ray", "head:6379"], ["--ray", "head:6379"]),
    ],
)
def test_the_address_may_be_left_out(given, understood, monkeypatch) -> None:
    seen = []
    monkeypatch.setattr("typer.core.TyperCommand.parse_args", lambda self, ctx, args: seen.extend(args) or [])
    SegmentCommand.parse_args(SegmentCommand("segment"), None, list(given))
    assert seen == understood


@pytest.mark.parametrize(
    ("images", "actors", "together"), [(1, 1, 1), (24, 2, 1), (1000, 2, 7), (100_000, 64, 16), (10**6, 1, 16)]
)
def test_a_dying_machine_has_a_small_share_of_its_work_in_hand(images, actors, together) -> None:
    assert images_together(images, actors) == together


def test_a_cluster_without_a_gpu() -> None:
    ray = SimpleNamespace(cluster_resources=lambda: {"CPU": 4.0})
    with pytest.raises(UpsegError, match="the Ray cluster has no GPU"):
        ray_pipeline.pipeline(ray, {}, find_model("threshold"), device="cuda", workers=None)


def test_ray_is_missing(photos, tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UpsegError, match=r'needs ray\[data\]: pip install "upseg\[batch\]"'):
        segment_files([photos("a.png")], tmp_path / "out", model="threshold", ray="local")


def test_nobody_answers_at_the_address(photos, tmp_path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(UpsegError, match=f"Ray at {address} does not answer"):
            segment_files([photos("a.png")], tmp_path / "out", model="threshold", ray=address)


def test_an_address_that_is_none(photos, tmp_path) -> None:
    with pytest.raises(UpsegError, match="must be auto, local, HOST:PORT"):
        segment_files([photos("a.png")], tmp_path / "out", model="threshold", ray="the cluster")


def test_images_whose_machine_always_dies_fail_and_the_others_are_done(photos, tmp_path, monkeypatch) -> None:
    folder, passes = photos("a.png", "b.png"), []

    def one_pass(ray, jobs, model, device, workers):
        passes.append(sorted(job.path.name for job in jobs.values()))
        segmenter = model.load(device)
        for number, job in list(jobs.items()):
            if job.path.name != "a.png":
                yield number, run_anywhere(job, segmenter)

    monkeypatch.setattr(ray_pipeline, "_one_pass", one_pass)
    monkeypatch.setattr(ray_pipeline, "connected", lambda address: nullcontext())
    summary = segment_files([folder], tmp_path / "out", model="threshold", formats=("png",), ray="local")
    assert passes == [["a.png", "b.png"], ["a.png"], ["a.png"]]
    assert [result.status for result in summary.results] == ["failed", "done"]
    assert "died, 3 times" in summary.failures[0].error
