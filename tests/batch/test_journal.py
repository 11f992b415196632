import os
import time
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from upseg.batch.journal import JOURNAL_NAME, InputState, Journal, OutputState
from upseg.errors import UpsegError

STATE = InputState("sub/a.jpg", "source", 100, 7, "settings")
OUTPUTS = (PurePosixPath("sub/a.png"), PurePosixPath("sub/a.json"))


def write_output(folder: Path) -> None:
    for output in OUTPUTS:
        (folder / output).parent.mkdir(exist_ok=True)
        (folder / output).touch()


def finished(folder: Path, state: InputState = STATE) -> None:
    with Journal(folder) as journal:
        journal.begin(state, OUTPUTS)
        write_output(folder)
        journal.finish(state, OUTPUTS, seconds=0.5, segments=3)


def test_a_finished_result_is_current_for_the_next_run(tmp_path) -> None:
    finished(tmp_path)
    journal = Journal(tmp_path)
    assert {journal.state_of(output, STATE) for output in OUTPUTS} == {OutputState.CURRENT}
    assert journal.segments_in(OUTPUTS[0]) == 3
    assert journal.knows("sub/a.png")
    assert not journal.knows("a.png")
    assert not journal.was_stopped(OUTPUTS[0])


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"settings": "others"}, OutputState.OUTDATED),
        ({"size": 101}, OutputState.OUTDATED),
        ({"mtime_ns": 8}, OutputState.OUTDATED),
        ({"source": "moved"}, OutputState.CURRENT),
        ({"source": "other", "size": 101}, OutputState.FOREIGN),
        ({"name": "sub/a.png"}, OutputState.FOREIGN),
    ],
)
def test_what_a_result_is_to_an_image_that_differs(tmp_path, changed, expected) -> None:
    finished(tmp_path)
    assert Journal(tmp_path).state_of(OUTPUTS[0], replace(STATE, **changed)) is expected


def test_a_result_that_was_begun_is_unfinished_and_one_that_is_gone_is_absent(tmp_path) -> None:
    with Journal(tmp_path) as journal:
        journal.begin(STATE, OUTPUTS)
        assert journal.state_of(OUTPUTS[0], STATE) is OutputState.ABSENT
        write_output(tmp_path)
    journal = Journal(tmp_path)
    assert journal.state_of(OUTPUTS[0], STATE) is OutputState.UNFINISHED
    assert journal.was_stopped(OUTPUTS[0])


def test_a_file_that_the_journal_does_not_know_is_foreign(tmp_path) -> None:
    write_output(tmp_path)
    assert Journal(tmp_path).state_of(OUTPUTS[0], STATE) is OutputState.FOREIGN


@settings(max_examples=40, deadline=None)
@given(cut=st.integers(1, 450))
def test_a_cut_line_is_ignored_and_does_not_spoil_the_next(tmp_path_factory, cut) -> None:
    folder = tmp_path_factory.mktemp("out")
    finished(folder)
    path = folder / JOURNAL_NAME
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    last_line = len(whole.splitlines(keepends=True)[-1])
    state = Journal(folder).state_of(OUTPUTS[0], STATE)
    if cut == 1:  # only the line break
        assert state is OutputState.CURRENT
    else:
        assert state is (OutputState.UNFINISHED if cut <= last_line + 1 else OutputState.FOREIGN)
    finished(folder)
    assert Journal(folder).state_of(OUTPUTS[0], STATE) is OutputState.CURRENT
    assert path.read_bytes().startswith(whole[:-cut])


@pytest.mark.parametrize("line", [b"[]", b"3", b"{}", b'{"version": 99}', b"\xff\xfe", b'{"version": 1, "outputs": 3}'])
def test_lines_that_make_no_sense_are_ignored(tmp_path, line) -> None:
    finished(tmp_path)
    with (tmp_path / JOURNAL_NAME).open("ab") as file:
        file.write(line + b"\n")
    assert Journal(tmp_path).state_of(OUTPUTS[0], STATE) is OutputState.CURRENT


def test_names_that_are_no_text_are_kept(tmp_path) -> None:
    name = os.fsdecode(b"a\xff\n.jpg")
    (tmp_path / name).touch()
    state = InputState.of(tmp_path / name, PurePosixPath(name), "settings")
    output = PurePosixPath(f"{name}.png")
    with Journal(tmp_path / "out") as journal:
        journal.finish(state, [output], seconds=1.0, segments=1)
    (tmp_path / "out" / output).touch()
    assert Journal(tmp_path / "out").state_of(output, state) is OutputState.CURRENT


def test_a_folder_that_cannot_be_written_gets_one_clear_error(tmp_path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UpsegError, match=r"cannot write to the folder .*file/out \(Not a directory\); choose another"):
        Journal(tmp_path / "file" / "out").__enter__()
    (tmp_path / JOURNAL_NAME).mkdir()
    with pytest.raises(UpsegError, match=r"cannot be read \(Is a directory\)"):
        Journal(tmp_path)


def test_a_full_disk_gets_one_clear_error_and_only_cuts_a_line(tmp_path, monkeypatch) -> None:
    with Journal(tmp_path) as journal:
        write = os.write
        monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:20]))
        with pytest.raises(UpsegError, match=r"cannot be written \(the disk is full\)"):
            journal.begin(STATE, OUTPUTS)
        monkeypatch.undo()
        journal.finish(STATE, OUTPUTS, seconds=1.0, segments=1)
    write_output(tmp_path)
    assert Journal(tmp_path).state_of(OUTPUTS[0], STATE) is OutputState.CURRENT


def test_writing_without_opening_is_a_mistake_of_the_program(tmp_path) -> None:
    with pytest.raises(RuntimeError, match="with statement"):
        Journal(tmp_path).begin(STATE, OUTPUTS)


def test_what_is_begun_is_on_the_disk_at_once_and_what_is_finished_within_a_second(tmp_path, monkeypatch) -> None:
    synced, now = list[str](), [100.0]
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append("sync"))
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with Journal(tmp_path) as journal:
        for later in (0.0, 0.1, 5.0):
            now[0] += later
            journal.begin(STATE, OUTPUTS)
            now[0] += later
            journal.finish(STATE, OUTPUTS, seconds=0.1, segments=1)
        assert len(synced) == 4  # three times begun, and finished five seconds later
    assert len(synced) == 5
