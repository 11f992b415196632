"""Images in stores are segmented as if they were files here, without Ray too."""

import io
import json
import os
import pickle
import socket
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from upseg.batch import remote_jobs
from upseg.batch.run import segment_files
from upseg.batch.store_journal import StoreJournal
from upseg.batch.stores import Uri, listing, place_of, write
from upseg.cli import app
from upseg.errors import ImageError, UpsegError

fsspec = pytest.importorskip("fsspec", reason='fsspec is not installed: pip install "upseg[batch]"')
SETTINGS = {"model": "threshold", "formats": ("png",)}


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[str]:
    """A store in memory with four photos, one of them damaged, one hidden."""
    store = fsspec.filesystem("memory")
    store.store.clear()
    for number, name in enumerate(("a.png", "b.png", "sub/c.jpg", ".hidden.png")):
        write(Uri(f"memory://lake/photos/{name}"), picture(number))
    write(Uri("memory://lake/photos/damaged.png"), b"no image")
    write(Uri("memory://lake/photos/notes.txt"), b"no image either")
    yield "memory://lake"
    store.store.clear()


def picture(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)
    Image.fromarray(pixels).save(content := io.BytesIO(), "PNG")
    return content.getvalue()


def names(store: str) -> list[str]:
    root = Uri(store)
    return [
        str(file.relative_to(root)) for file in listing(root) if not file.relative_to(root).parts[0].startswith(".")
    ]


def statuses(summary) -> dict[str, str]:
    return {result.input.name: result.status for result in summary.results}


def test_a_uri_is_joined_and_taken_apart_like_a_path() -> None:
    uri = Uri("s3://bucket/photos") / "sub" / "a.tar.jpg"
    assert str(uri) == os.fspath(uri) == "s3://bucket/photos/sub/a.tar.jpg"
    assert str(uri.parent) == "s3://bucket/photos/sub"
    assert (uri.name, uri.suffix, str(uri.with_suffix(".png"))) == ("a.tar.jpg", ".jpg", f"{uri.parent}/a.tar.png")
    assert str(uri.relative_to(Uri("s3://bucket"))) == "photos/sub/a.tar.jpg"
    assert pickle.loads(pickle.dumps(uri)) == uri.resolve() == uri
    assert str(pickle.loads(pickle.dumps(uri))) == str(uri)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("s3://b/a.jpg", Uri("s3://b/a.jpg")),
        ("photos/a.jpg", Path("photos/a.jpg")),
        ("file:///photos/a.jpg", Path("/photos/a.jpg")),
        ("C:/photos", Path("C:/photos")),
    ],
)
def test_which_texts_are_uris(text, expected) -> None:
    assert place_of(text) == place_of(expected) == expected
    assert type(place_of(text)) is type(expected)


def test_from_store_to_store_and_only_once(lake, tmp_path) -> None:
    first = segment_files([f"{lake}/photos"], f"{lake}/out", **SETTINGS)
    assert statuses(first) == {"a.png": "done", "b.png": "done", "c.jpg": "done", "damaged.png": "failed"}
    assert first.failures[0].error.startswith("memory://lake/photos/damaged.png: this is not an image")
    assert names(f"{lake}/out") == ["a.png", "b.png", "sub/c.png"]
    second = segment_files([f"{lake}/photos"], f"{lake}/out", **SETTINGS)
    assert second.counts() == {"done": 0, "replaced": 0, "skipped": 3, "failed": 1}
    write(Uri(f"{lake}/photos/a.png"), picture(9))
    third = segment_files([f"{lake}/photos"], f"{lake}/out", **SETTINGS)
    assert statuses(third)["a.png"] == "replaced"
    assert third.counts()["skipped"] == 2


def test_results_are_those_of_local_files(lake, tmp_path, photos) -> None:
    formats = ("png", "tif", "geojson", "panoptic", "overlay", "csv")
    folder = photos("a.png", "b.png")
    for name in ("a.png", "b.png"):
        write(Uri(f"{lake}/same/{name}"), (folder / name).read_bytes())
    segment_files([folder], tmp_path / "here", model="threshold", formats=formats)
    segment_files([f"{lake}/same"], f"{lake}/there", model="threshold", formats=formats)
    here = {path.name: path.read_bytes() for path in (tmp_path / "here").iterdir() if path.name[0] != "."}
    store = fsspec.filesystem("memory")
    assert sorted(here) == names(f"{lake}/there")
    assert {name: store.cat(f"{lake}/there/{name}") for name in here} == here


def test_what_a_stopped_run_began_is_done_again(lake) -> None:
    segment_files([f"{lake}/photos"], f"{lake}/out", **SETTINGS)
    store = fsspec.filesystem("memory")
    began, finished = sorted(store.find(f"{lake}/out/.upseg-journal"))
    assert all(json.loads(line)["event"] == "begun" for line in store.cat(began).splitlines())
    lines = store.cat(finished).splitlines(keepends=True)
    store.pipe(finished, lines[0])  # the rest was not yet written when the process was killed
    again = segment_files([f"{lake}/photos"], f"{lake}/out", **SETTINGS)
    assert again.counts() == {"done": 2, "replaced": 0, "skipped": 1, "failed": 1}


def test_a_file_of_others_is_not_replaced(lake) -> None:
    write(Uri(f"{lake}/out/a.png"), b"theirs")
    found = segment_files([f"{lake}/photos"], f"{lake}/out", **SETTINGS)
    assert statuses(found)["a.png"] == "failed"
    assert "memory://lake/out/a.png exists and is not an earlier result" in found.failures[0].error
    assert fsspec.filesystem("memory").cat(f"{lake}/out/a.png") == b"theirs"


def test_files_globs_and_either_side_local(lake, tmp_path, photos) -> None:
    one = segment_files([f"{lake}/photos/a.png"], tmp_path / "one", **SETTINGS)
    assert [path.name for path in (tmp_path / "one").glob("*.png")] == ["a.png"]
    assert one.results[0].outputs == (tmp_path / "one/a.png",)
    segment_files([f"{lake}/photos/*.png"], tmp_path / "glob", **SETTINGS)
    assert sorted(path.name for path in (tmp_path / "glob").glob("*.png")) == ["a.png", "b.png"]
    up = segment_files([photos("x.png")], f"{lake}/up", **SETTINGS)
    assert up.results[0].outputs == (Uri(f"{lake}/up/x.png"),)
    assert names(f"{lake}/up") == ["x.png"]
    inside = segment_files([f"{lake}/photos"], f"{lake}/photos/out", **SETTINGS)
    assert inside.counts()["done"] == 3
    assert segment_files([f"{lake}/photos"], f"{lake}/photos/out", **SETTINGS).counts()["skipped"] == 3


def test_names_that_no_path_can_have_are_left_out(lake, tmp_path) -> None:
    store = fsspec.filesystem("memory")
    for name in ("/lake/odd/../../../up.png", "/lake/odd//twice.png", "/lake/odd/fine.png"):
        store.pipe("/lake/odd/made", picture(0))
        store.store[name] = store.store.pop("/lake/odd/made")
    found = segment_files([f"{lake}/odd"], tmp_path / "out", **SETTINGS)
    assert statuses(found) == {"fine.png": "done"}


def test_the_summary_has_a_row_for_each(lake) -> None:
    segment_files([f"{lake}/photos"], f"{lake}/out", model="threshold", formats=("csv",))
    rows = fsspec.filesystem("memory").cat(f"{lake}/out/summary.csv").decode().splitlines()
    assert [row.split(",")[0] for row in rows] == ["image", "a.png", "b.png", "sub/c.jpg"]


@pytest.mark.parametrize(
    ("paths", "output", "options", "error"),
    [
        (["memory://lake/photos"], "memory://lake/photos", {}, "is an image to segment; write somewhere else with -o"),
        (["memory://lake/none"], "out", {}, "memory://lake/none: no image there"),
        (["odd://lake/photos"], "out", {}, "there is no store of the kind odd://"),
        (["https://lake.example/a.jpg"], "out", {}, "download the image first"),
        (["memory://lake/photos", "."], "out", {}, "on several drives or stores"),
        (["memory://lake/photos"], "out", {"memory": 10**9, "formats": ("tif",)}, "copy those in stores to a disk"),
    ],
)
def test_what_cannot_be(lake, tmp_path, monkeypatch, photos, paths, output, options, error) -> None:
    monkeypatch.chdir(photos("x.png"))
    with pytest.raises(UpsegError, match=error):
        segment_files(paths, output, **{**SETTINGS, **options})


def test_a_package_is_missing(monkeypatch, tmp_path) -> None:
    def no_package(protocol: str) -> None:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec, "filesystem", no_package)
    with pytest.raises(UpsegError, match=r's3://b/photos: this needs s3fs: pip install "upseg\[batch\]"'):
        segment_files(["s3://b/photos"], tmp_path, **SETTINGS)


def test_the_command_line_takes_uris(lake) -> None:
    run = CliRunner().invoke(
        app, ["segment", f"{lake}/photos/a.png", "-o", f"{lake}/out", "-m", "threshold", "-f", "png"]
    )
    assert run.exit_code == 0, run.output
    assert "memory://lake/photos/a.png: " in run.output
    assert "results in memory://lake/out" in run.output


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["segment", "x.png", "-o", "s3://lake/out", "-f", "snapshots"], "does not write into stores"),
        (["segment", "s3://lake/x.png", "-f", "snapshots"], "does not read from stores"),
        (["split", "x.png", "-o", "s3://lake/out"], "does not write into stores"),
        (["split", "s3://lake/masks", "-o", "out", "-m", "components"], "does not read from stores"),
    ],
)
def test_what_knows_no_stores_says_so(arguments, error, photos, monkeypatch) -> None:
    monkeypatch.chdir(photos("x.png"))
    run = CliRunner().invoke(app, arguments)
    assert error in " ".join(run.output.replace("│", " ").split()) + str(run.exception)
    assert not Path("s3:").exists()


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """The address of a server on this machine that behaves like S3."""
    pytest.importorskip("s3fs", reason='s3fs is not installed: pip install "upseg[batch]"')
    moto = pytest.importorskip("moto.server", reason='moto is not installed: pip install "upseg[dev]"')
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture
def bucket(s3, monkeypatch) -> str:
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    post(f"{s3}/moto-api/reset", "")
    fsspec.filesystem("s3").mkdir("s3://lake")
    return "s3://lake"


@pytest.fixture
def google(monkeypatch) -> Iterator[str]:
    """A bucket of a server on this machine that behaves like Google's store."""
    gcsfs = pytest.importorskip("gcsfs", reason='gcsfs is not installed: pip install "upseg[batch]"')
    emulator = pytest.importorskip(
        "gcp_storage_emulator.server", reason='gcp-storage-emulator is not installed: pip install "upseg[dev]"'
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = emulator.create_server("127.0.0.1", port, in_memory=True, default_bucket="lake")
    server.start()
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")  # asks Google what kind of bucket it is
    gcsfs.GCSFileSystem.clear_instance_cache()
    yield "gs://lake"
    server.stop()


@pytest.mark.parametrize("kind", ["bucket", "google"])
def test_from_bucket_to_bucket(kind, request) -> None:
    bucket = request.getfixturevalue(kind)
    for number in range(3):
        write(Uri(f"{bucket}/photos/{number}.png"), picture(number))
    first = segment_files([f"{bucket}/photos"], f"{bucket}/out", **SETTINGS, workers=2)
    assert first.counts()["done"] == 3
    assert names(f"{bucket}/out") == ["0.png", "1.png", "2.png"]
    assert segment_files([f"{bucket}/photos"], f"{bucket}/out", **SETTINGS).counts()["skipped"] == 3


def test_a_bucket_that_is_not_there(bucket, tmp_path, photos) -> None:
    with pytest.raises(ImageError, match="s3://nobodys/photos: no image there"):
        segment_files(["s3://nobodys/photos"], tmp_path / "out", **SETTINGS)
    with pytest.raises(UpsegError, match=r"s3://nobodys/out.*: there is no such bucket"):
        segment_files([photos("x.png")], "s3://nobodys/out", **SETTINGS)


@pytest.fixture
def locked(s3, bucket) -> Iterator[str]:
    """The bucket, when nobody has any permission."""
    yield bucket, lambda: post(f"{s3}/moto-api/reset-auth", "0")
    post(f"{s3}/moto-api/reset-auth", "inf")


def post(url: str, text: str) -> None:
    request = urllib.request.Request(url, text.encode(), {"Content-Type": "text/plain"})
    with urllib.request.urlopen(request) as answer:
        assert answer.status == 200


def test_a_bucket_without_permission(locked, tmp_path, photos) -> None:
    bucket, lock = locked
    write(Uri(f"{bucket}/photos/a.png"), picture(0))
    lock()
    with pytest.raises(UpsegError, match=r"s3://lake/photos: the store refuses access .*check what these credentials"):
        segment_files([f"{bucket}/photos"], tmp_path / "out", **SETTINGS)
    with pytest.raises(UpsegError, match="s3://lake/shut: the store refuses access"):
        segment_files([photos("x.png")], f"{bucket}/shut", **SETTINGS)


def test_results_that_are_refused_fail_one_by_one(locked, monkeypatch) -> None:
    bucket, lock = locked
    write(Uri(f"{bucket}/more/a.png"), picture(0))
    reading = remote_jobs.fetch
    monkeypatch.setattr(remote_jobs, "fetch", lambda job: (reading(job), lock())[0])
    monkeypatch.setattr(StoreJournal, "__exit__", lambda *args: None)  # it would be refused too
    found = segment_files([f"{bucket}/more"], f"{bucket}/out-more", **SETTINGS)
    assert "s3://lake/more/a.png: the result cannot be written (s3://lake/out-more/a.png" in found.failures[0].error


def test_no_credentials(bucket, monkeypatch, tmp_path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    with pytest.raises(UpsegError, match="s3://lake/photos: no credentials were found"):
        segment_files([f"{bucket}/photos"], tmp_path / "out", **SETTINGS)
