"""What splitting does where there are results already, its own, damaged ones or those of others."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.split.splitting_folder import NAMED, classes_of, contents, draw, error_of, instances, run, statuses
from upseg.batch.journal import JOURNAL_NAME
from upseg.errors import UpsegError
from upseg.files import atomic_path
from upseg.split.classes import MaskClasses

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")


def test_a_second_run_does_nothing(root) -> None:
    run(root)
    before = {path: path.stat().st_mtime_ns for path in (root / "out").rglob("*")}
    summary = run(root)
    assert set(statuses(summary).values()) == {"skipped"}
    assert summary.instances == root / "out" / "instances.json"
    assert before == {path: path.stat().st_mtime_ns for path in (root / "out").rglob("*")}


def test_only_what_is_missing_is_done_and_the_coco_file_is_as_if_there_had_been_one_run(root) -> None:
    run(root)
    expected = contents(root / "out")
    (root / "out" / "b.png").unlink()
    (root / "out" / "instances.json").unlink()
    assert statuses(run(root)) == {"a": "skipped", "b": "done", "c": "skipped"}
    assert contents(root / "out") == expected
    draw(root, "d")
    assert statuses(run(root)) == {"a": "skipped", "b": "skipped", "c": "skipped", "d": "done"}
    run(root, output=root / "undisturbed")
    assert contents(root / "out") == contents(root / "undisturbed")


def test_the_coco_file_holds_the_masks_that_were_named_last(root) -> None:
    run(root)
    run(root, [root / "masks" / "a.png", root / "masks" / "b.png"])
    assert [row["file_name"] for row in instances(root)["images"]] == ["a.jpg", "b.jpg"]


@pytest.mark.parametrize(
    "change",
    [
        {"model": "distance"},
        {"settings": {"minimum_area": 2}},
        {"classes": MaskClasses()},
        {"classes": MaskClasses(void=frozenset({255, 2}))},
        {"classes": MaskClasses(NAMED.names)},
    ],
)
def test_other_settings_replace_the_results(root, change) -> None:
    run(root)
    first = contents(root / "out")
    assert set(statuses(run(root, **change)).values()) == {"replaced"}
    assert contents(root / "out") != first
    assert set(statuses(run(root)).values()) == {"replaced"}
    assert contents(root / "out") == first


def test_a_changed_mask_or_photo_is_done_again(root) -> None:
    run(root)
    Image.fromarray(np.flip(classes_of(0), 1)).save(root / "masks" / "a.png")
    os.utime(root / "photos" / "b.jpg", ns=(7, 7))
    assert statuses(run(root)) == {"a": "replaced", "b": "replaced", "c": "skipped"}
    (root / "masks").rename(root / "elsewhere")
    assert set(statuses(run(root, "elsewhere")).values()) == {"skipped"}


def test_inputs_are_never_changed(root) -> None:
    before = contents(root)
    run(root, model="halves", formats=("overlay", "tif", "npz"))
    after = contents(root)
    assert {name: after[name] for name in before} == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"output": "masks"}, r"masks/a\.png is a mask to split; write somewhere else"),
        ({"output": "photos", "overwrite": True}, r"photos/a\.png is a photo of a mask"),
        ({"output": "masks/../masks/sub/..", "overwrite": True}, "is a mask to split"),
    ],
)
def test_results_never_replace_an_input(root, options, message) -> None:
    (root / "photos" / "a.jpg").rename(root / "photos" / "a.png")
    before = contents(root)
    places = {key: root / value if isinstance(value, str) else value for key, value in options.items()}
    with pytest.raises(UpsegError, match=message):
        run(root, **places)
    assert contents(root) == before


def test_results_never_lie_where_the_next_run_would_take_them_for_photos(root) -> None:
    with pytest.raises(UpsegError, match="results would lie among the photos of"):
        run(root, output=root / "photos")
    assert set(statuses(run(root, output=root / "photos" / "out")).values()) == {"done"}
    assert set(statuses(run(root, output=root / "photos" / "out")).values()) == {"skipped"}


def test_the_list_of_classes_is_not_replaced_by_the_coco_file(root) -> None:
    (root / "out").mkdir()
    listed = root / "out" / "instances.json"
    listed.write_text("cell\n")
    with pytest.raises(UpsegError, match=r"instances\.json is the list of classes"):
        run(root, overwrite=True, protected={listed: "the list of classes"})
    assert listed.read_text() == "cell\n"


def test_a_coco_file_of_others_is_replaced_only_if_allowed(root) -> None:
    (root / "out").mkdir()
    (root / "out" / "instances.json").write_text("mine")
    with pytest.raises(UpsegError, match=r"instances\.json exists and is not an earlier result.*--overwrite"):
        run(root)
    assert (root / "out" / "instances.json").read_text() == "mine"
    assert run(root, overwrite=True).problem is None
    assert len(instances(root)["images"]) == 3
    assert set(statuses(run(root)).values()) == {"skipped"}


def test_label_maps_of_others_are_replaced_only_if_allowed(root) -> None:
    (root / "out").mkdir()
    (root / "out" / "a.png").write_text("mine")
    summary = run(root)
    assert statuses(summary) == {"a": "failed", "b": "done", "c": "done"}
    assert (root / "out" / "a.png").read_text() == "mine"
    assert len(instances(root)["images"]) == 2
    assert statuses(run(root, overwrite=True)) == {"a": "replaced", "b": "skipped", "c": "skipped"}


def test_a_result_that_was_damaged_since_fails_until_it_is_removed(root) -> None:
    run(root)
    (root / "out" / "a.png").write_bytes(b"gone bad")
    for _ in range(2):
        summary = run(root)
        assert statuses(summary) == {"a": "failed", "b": "skipped", "c": "skipped"}
        assert f"{root / 'out' / 'a.png'}: cannot be read" in error_of(summary, "a")
        assert "remove that file and run again" in error_of(summary, "a")
        assert [row["file_name"] for row in instances(root)["images"]] == ["b.jpg", "sub/c.jpg"]
    (root / "out" / "a.png").unlink()
    assert statuses(run(root))["a"] == "done"
    assert len(instances(root)["images"]) == 3


def test_a_coco_file_that_cannot_be_written_is_a_problem_of_its_own(root, monkeypatch) -> None:
    replace_file = Path.replace

    def full(path: Path, target: Path) -> Path:
        if Path(target).name == "instances.json":
            raise OSError(28, "No space left on device")
        return replace_file(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        summary = run(root)
    assert set(statuses(summary).values()) == {"done"}
    assert summary.instances is None
    assert "instances.json cannot be written (No space left on device); the same command" in str(summary.problem)
    assert set(contents(root / "out")) == {"a.png", "b.png", "sub/c.png"}
    assert run(root).problem is None
    assert len(instances(root)["images"]) == 3


def test_what_a_killed_run_left_of_the_coco_file_is_cleared(root) -> None:
    run(root)
    expected = contents(root / "out")
    path = root / "out" / "instances.json"
    journal = root / "out" / JOURNAL_NAME
    journal.write_bytes(b"".join(journal.read_bytes().splitlines(keepends=True)[:-1]))  # killed before it was finished
    path.unlink()
    with pytest.raises(FileNotFoundError), atomic_path(path) as partial:
        pass  # only for its name
    partial.write_text('{"info"')
    run(root)
    assert contents(root / "out") == expected
