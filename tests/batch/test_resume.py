"""The one rule of what a second run may skip."""

from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest

from upseg.batch.journal import Claim, Decision, InputState, Journal
from upseg.errors import UpsegError

STATE = InputState("a.jpg", "source", 100, 7, "settings")
FILES = (PurePosixPath("a.png"), PurePosixPath("a.json"))


def written(folder: Path, *, finished: bool) -> None:
    """What a run leaves that was stopped before it noted the end, or was not."""
    with Journal(folder) as journal:
        claim = Claim(journal, STATE, FILES)
        claim.begin()
        for file in FILES:
            (folder / file).touch()
        if finished:
            claim.finish(seconds=1.0, segments=5)


@pytest.mark.parametrize("overwrite", [False, True])
def test_own_files_are_skipped_if_finished_and_current_and_else_done_again(tmp_path, overwrite) -> None:
    assert Claim(Journal(tmp_path), STATE, FILES).decide(overwrite=overwrite) is Decision.DO
    written(tmp_path, finished=False)
    assert Claim(Journal(tmp_path), STATE, FILES).decide(overwrite=overwrite) is Decision.DO
    written(tmp_path, finished=True)
    claim = Claim(Journal(tmp_path), STATE, FILES)
    assert claim.decide(overwrite=overwrite) is Decision.DONE
    assert claim.segments == 5
    assert replace(claim, state=replace(STATE, settings="new")).decide(overwrite=overwrite) is Decision.REDO
    (tmp_path / FILES[1]).unlink()
    assert claim.decide(overwrite=overwrite) is Decision.DO


def test_one_foreign_file_is_enough_to_refuse_unless_it_may_be_replaced(tmp_path) -> None:
    (tmp_path / FILES[1]).write_text("mine")
    claim = Claim(Journal(tmp_path), STATE, FILES, "label of a")
    with pytest.raises(
        UpsegError, match=r"a\.json exists and is not an earlier label of a; remove it, write somewhere"
    ):
        claim.decide(overwrite=False)
    assert claim.decide(overwrite=True) is Decision.REDO
