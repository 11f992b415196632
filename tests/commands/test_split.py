import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from tests.split.splitting_folder import SHAPE, draw, register
from upseg.batch.journal import JOURNAL_NAME
from upseg.cli import main
from upseg.methods.baiseg import BaisegSegmenter, BaisegSettings
from upseg.methods.baiseg.network import BaisegNetwork
from upseg.segmentation import Segmentation

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "tests.split.splitting_folder", "split"]
ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join((str(ROOT / "src"), str(ROOT)))}
IMAGES = ("--images", "photos")


@pytest.fixture
def split(monkeypatch, capsys, tmp_path) -> Callable[..., tuple[int, str, str]]:
    """`upseg split` in a folder with three masks and their photos: exit code, standard output and standard error."""
    register(monkeypatch.setitem)
    draw(tmp_path, "a", "b", "sub/c")
    (tmp_path / "classes.txt").write_text("cell\nblob\nground\n")
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object, model: str | None = "components") -> tuple[int, str, str]:
        chosen = () if model is None else ("--model", model)
        monkeypatch.setattr(sys, "argv", ["upseg", "split", *map(str, arguments), *chosen])
        with pytest.raises(SystemExit) as end:
            main()
        captured = capsys.readouterr()
        return end.value.code or 0, captured.out, captured.err

    return call


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("[!.]*") if path.is_file())


def test_the_shortest_command_writes_a_label_map_for_each_mask_and_a_file_of_all(split, tmp_path) -> None:
    code, out, err = split("masks")
    assert (code, err) == (0, "")
    assert files(tmp_path / "upseg-out") == ["a.png", "b.png", "instances.json", "sub/c.png"]
    assert "masks/a.png: 4 segments (done) -> upseg-out/a.png\n" in out
    assert "3 masks: 3 split, in " in out
    assert out.endswith("results in upseg-out\nall instances -> upseg-out/instances.json\n")


def test_the_options_reach_the_result(split, tmp_path) -> None:
    options = ("--classes", "classes.txt", "--stuff", "2,3", "--void", "255,1", "--set", "connectivity=2")
    assert split("masks", "-o", "out", *options, *IMAGES, "-f", "overlay", "--format", "coco")[0] == 0
    found = Segmentation.load(tmp_path / "out" / "a.json")
    assert [(segment.category.name, segment.category.is_thing) for segment in found] == [
        ("blob", False),
        ("ground", False),
    ]
    assert found.provenance["settings"] == {"connectivity": 2, "minimum_area": 0}
    assert files(tmp_path / "out")[:3] == ["a.json", "a.overlay.png", "b.json"]
    data = json.loads((tmp_path / "out" / "instances.json").read_text())
    assert [row["file_name"] for row in data["images"]] == ["a.jpg", "b.jpg", "sub/c.jpg"]
    assert [row["name"] for row in data["categories"]] == ["cell"]
    assert data["annotations"] == []


def test_without_a_model_photos_decide(split, tmp_path) -> None:
    code, _, err = split("masks", model=None)
    assert code == 2
    assert "--model components or --model distance, or, for the model things, give the folder" in err
    assert split("masks", *IMAGES, model=None)[0] == 0
    assert Segmentation.load(tmp_path / "upseg-out" / "a.png").provenance["method"] == "baiseg"


def test_stuff_can_be_given_twice_and_void_can_be_none(split, tmp_path) -> None:
    assert split("masks", "--stuff", "2", "--stuff", "3, 255", "--void", "none")[0] == 0
    found = Segmentation.load(tmp_path / "upseg-out" / "a.png")
    assert [segment.category.name for segment in found if not segment.category.is_thing] == [
        "class-2",
        "class-255",
        "class-3",
    ]


def test_settings_take_the_types_that_they_have(split) -> None:
    assert split("masks", "--set", "prominence=2", model="distance")[0] == 0
    assert "prominence must be a number" in split("masks", "--set", "prominence=high", model="distance")[2]


def test_a_second_run_says_what_it_skipped_and_what_it_replaced(split) -> None:
    split("masks")
    assert "3 masks: 3 already done" in split("masks")[1]
    assert "3 masks: 3 split again (older results replaced)" in split("masks", "--stuff", 3)[1]
    assert "1 mask: 1 already done" in split("masks/a.png", "--stuff", 3)[1]


def test_failures_are_named_the_rest_is_done_and_the_exit_code_is_1(split, tmp_path) -> None:
    Image.new("RGB", SHAPE[::-1], "red").save(tmp_path / "masks" / "a.png")
    (tmp_path / "photos" / "b.jpg").unlink()
    code, out, err = split("masks", *IMAGES, "--quiet")
    assert (code, out) == (1, "")
    first, second = err.splitlines()
    assert first.startswith("failed: masks/a.png: cannot be read as a label map")
    assert second.startswith("failed: masks/b.png: it has no photo")
    assert files(tmp_path / "upseg-out") == ["instances.json", "sub/c.png"]
    assert "Traceback" in split("masks", *IMAGES, "--debug")[2]


def test_json_is_one_document_and_nothing_else(split, tmp_path) -> None:
    (tmp_path / "photos" / "b.jpg").unlink()
    code, out, err = split("masks", *IMAGES, "--json")
    document = json.loads(out)
    assert code == 1
    assert document["counts"] == {"done": 2, "replaced": 0, "skipped": 0, "failed": 1}
    assert document["instances"] == "upseg-out/instances.json"
    assert document["problem"] is None
    assert [row["status"] for row in document["images"]] == ["done", "failed", "done"]
    assert err == f"failed: {document['images'][1]['error']}\n"


def test_a_file_of_all_that_cannot_be_written_is_a_failure(split, tmp_path, monkeypatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("upseg.split.run.write_coco_folder", full)
    code, out, err = split("masks")
    assert code == 1
    assert "all instances" not in out
    assert err == (
        "failed: upseg-out/instances.json cannot be written (No space left on device); the same command writes it "
        "again\n"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("missing.png",), "missing.png: no such file"),
        (("masks", "-o", "masks"), "is a mask to split; write somewhere else"),
        (("masks", "-o", "photos", *IMAGES), "results would lie among the photos"),
        (("masks", "--images", "nowhere"), "nowhere should be the folder with the photos"),
        (("masks", "-f", "overlay"), "the format overlay is made with the photo"),
        (("masks", "-f", "gif"), "no format 'gif'"),
        (("masks", "--classes", "none.txt"), "none.txt should be a file with names of classes"),
        (("masks", "--classes", "classes.txt", "--stuff", "9"), "the class 9 is to be stuff"),
        (("masks", "--stuff", "ground"), "--stuff takes ids of classes, with commas between, got 'ground'"),
        (("masks", "--stuff", "0"), "ids are above 0"),
        (("masks", "--void", "1,"), "--void takes ids of classes, with commas between, got ''"),
        (("masks", "--set", "prominence=1"), "no setting 'prominence'"),
        (("masks", "--set", "connectivity=9"), "connectivity must be 1 or 2"),
        (("masks", "--workers", "0"), "--workers"),
        ((), "masks"),
    ],
)
def test_wrong_usage_is_one_clear_message_and_exit_code_2(split, tmp_path, arguments, message) -> None:
    before = files(tmp_path)
    code, out, err = split(*arguments)
    assert (code, out) == (2, "")
    assert message in err.replace("\n", " ").lower() or message in err
    assert "Traceback" not in err
    assert files(tmp_path) == before


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (None, "--model"),
        ("halves", "the model halves looks at the photos of the masks; give their folder with"),
        ("dynaseg", "dynaseg is a model of the method dynaseg, which cannot split class masks"),
        ("baiseg", "baiseg is a method that needs weights"),
        ("distanz", "class masks are also split by components and distance"),
    ],
)
def test_a_model_that_cannot_split_is_wrong_usage(split, model, message) -> None:
    code, _, err = split("masks", model=model)
    assert code == 2
    assert message in err


def test_overwrite_allows_to_replace_other_files_but_never_the_list_of_classes(split, tmp_path) -> None:
    (tmp_path / "upseg-out").mkdir()
    (tmp_path / "upseg-out" / "instances.json").write_text("cell\nblob\nground\n")
    assert "(--overwrite)" in split("masks")[2]
    listed = ("--classes", "upseg-out/instances.json")
    assert "is the list of classes; write somewhere else" in split("masks", *listed, "--overwrite")[2]
    assert split("masks", "--overwrite")[0] == 0


def test_help_names_the_options(split, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    code, out, _ = split("--help", model=None)
    assert code == 0
    assert all(f"--{name}" in out for name in ("model", "images", "classes", "stuff", "void", "format", "workers"))


def finished(folder: Path) -> list[str]:
    """What the journal calls finished."""
    journal = folder / JOURNAL_NAME
    lines = journal.read_text().splitlines(keepends=True) if journal.exists() else []
    records = [json.loads(line) for line in lines if line.endswith("\n")]
    return [record["input"] for record in records if record["event"] == "finished"]


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_what_is_done_when_ctrl_c_is_pressed_is_kept_and_the_next_run_does_the_rest(split, tmp_path) -> None:
    draw(tmp_path, *"defghi")
    arguments = ["masks", "-m", "halves", "--device", "cpu", *IMAGES]
    process = subprocess.Popen(
        [*COMMAND, *arguments],
        cwd=tmp_path,
        env=ENVIRONMENT | {"UPSEG_TEST_DELAY": "0.4"},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # a shell starts background jobs deaf to Ctrl-C, and its children inherit that
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL) and None,  # noqa: PLW1509
    )
    deadline = time.monotonic() + 120
    while len(finished(tmp_path / "upseg-out")) < 2:
        assert process.poll() is None
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "of 9 masks are done, the same command does the rest" in errors
    done = finished(tmp_path / "upseg-out")
    assert 2 <= len(done) < 9
    assert len(files(tmp_path / "upseg-out")) in (len(done), len(done) + 1)  # one may be written but not yet noted
    assert not list((tmp_path / "upseg-out").glob(".*.partial"))
    code, out, _ = split("masks", *IMAGES, model="halves")
    assert code == 0
    assert f"9 masks: {9 - len(done)} split, {len(done)} already done" in out
    assert len(json.loads((tmp_path / "upseg-out" / "instances.json").read_text())["images"]) == 9


@pytest.mark.skipif(sys.platform == "win32", reason="terminals of POSIX")
def test_progress_is_drawn_on_a_terminal(split, tmp_path) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, "masks", "-m", "halves", "--device", "cpu", *IMAGES],
        cwd=tmp_path,
        env=ENVIRONMENT | {"TERM": "xterm", "COLUMNS": "120", "UPSEG_TEST_DELAY": "0.6"},
        stdin=theirs,
        stdout=subprocess.DEVNULL,
        stderr=theirs,
    )
    os.close(theirs)
    shown = b""
    try:
        while chunk := os.read(ours, 65536):
            shown += chunk
    except OSError:
        pass  # the other side is closed
    os.close(ours)
    assert process.wait() == 0, shown.decode()
    text = shown.decode()
    assert "masks" in text
    assert "1/3" in text
    assert "image" not in text
    assert "one file of all" in text


def test_classes_are_those_of_a_data_set_or_of_the_table_beside_the_masks(split, tmp_path) -> None:
    def names(*options: str) -> list[tuple[str, bool]]:
        assert split("masks", "-o", "out", *options)[0] == 0
        found = Segmentation.load(tmp_path / "out" / "a.png")
        return sorted({(segment.category.name, segment.category.is_thing) for segment in found})

    assert names() == [("class-1", True), ("class-2", True), ("class-3", True)]
    assert names("--classes", "voc") == [("aeroplane", True), ("bicycle", True), ("bird", True)]
    rows = [{"id": 1, "name": "cell"}, {"id": 2, "name": "blob"}, {"id": 3, "name": "ground", "isthing": 0}]
    (tmp_path / "categories.json").write_text(json.dumps(rows))
    assert names() == [("blob", True), ("cell", True), ("ground", False)]


@pytest.fixture
def boundaries(tmp_path) -> Path:
    """A model folder of baiseg, with random weights."""
    settings = BaisegSettings("test_resnet", width=4, cascade=2, hidden=4, semantic_width=None)
    segmenter = BaisegSegmenter(settings, network=BaisegNetwork(settings, 1).eval())
    return segmenter.save_pretrained(tmp_path / "model")


def test_the_boundary_map_and_the_stages_are_drawn_on_request(split, boundaries, tmp_path) -> None:
    code, out, _ = split("masks", *IMAGES, "-f", "boundaries", "-o", "out", model=boundaries)
    assert (code, "-> out/sub/c.boundaries.jpg" in out) == (0, True)
    assert files(tmp_path / "out") == ["a.boundaries.jpg", "b.boundaries.jpg", "sub/c.boundaries.jpg"]
    with Image.open(tmp_path / "out" / "a.boundaries.jpg") as strip:
        assert strip.width > 4 * SHAPE[1]
    code, _, _ = split("masks/a.png", *IMAGES, "-f", "boundaries", "-f", "png", "-o", "both", model=boundaries)
    assert (code, files(tmp_path / "both")) == (0, ["a.boundaries.jpg", "a.png", "instances.json"])


def test_a_mask_without_a_photo_has_no_picture_and_the_others_have(split, boundaries, tmp_path) -> None:
    (tmp_path / "photos" / "b.jpg").unlink()
    code, _, err = split("masks", *IMAGES, "-f", "boundaries", "-o", "out", "--quiet", model=boundaries)
    assert (code, "it has no photo" in err) == (1, True)
    assert files(tmp_path / "out") == ["a.boundaries.jpg", "sub/c.boundaries.jpg"]


def test_pictures_that_cannot_be_drawn_are_refused(split, boundaries) -> None:
    code, _, err = split("masks", *IMAGES, "-f", "boundaries")
    assert (code, "whose pictures are none, not boundaries" in err) == (2, True)
    code, _, err = split("masks", *IMAGES, "-f", "features", model=boundaries)
    assert (code, "whose pictures are boundaries, not features" in err) == (2, True)
    code, _, err = split("masks", "-f", "boundaries", model=boundaries)
    assert (code, "give their folder with --images" in err) == (2, True)
