import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from tests.data.samples import Numbered
from upseg.batch.journal import JOURNAL_NAME
from upseg.batch.pseudo_depth import PseudoDepthSummary, write_pseudo_depth
from upseg.data.depth_folder import DepthFolder
from upseg.data.sample import Sample
from upseg.errors import UpsegError


class Redness:
    """Says that what is red is near; fails on images of some numbers, and stops all on another."""

    def __init__(self, fingerprint: str = "red", *, wrong: Sequence[int] = (), stops_at: int | None = None) -> None:
        self.fingerprint = hashlib.sha256(fingerprint.encode()).hexdigest()
        self.wrong, self.stops_at = wrong, stops_at
        self.asked: list[int] = []

    def disparity(self, image: np.ndarray) -> np.ndarray:
        number = round(float(image[0, 0, 1]) * 255)
        if number == self.stops_at:
            raise KeyboardInterrupt
        self.asked.append(number)
        return image[..., 0] * (np.float32(np.nan) if number in self.wrong else np.float32(7)) - np.float32(3)


def run(folder: Path, model: Redness, count: int = 3, **options: object) -> PseudoDepthSummary:
    dataset = Numbered("a", count, options.pop("damaged", ()))
    return write_pseudo_depth(dataset, folder, model, **({"origin": "numbers"} | options))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != JOURNAL_NAME}


def test_labels_are_what_a_depth_folder_reads(tmp_path: Path) -> None:
    steps: list[tuple[int, int]] = []
    found = run(tmp_path / "depth", Redness(), progress=lambda *step: steps.append(step))
    assert found == PseudoDepthSummary(3, 0, ())
    assert steps == [(1, 3), (2, 3), (3, 3)]
    for sample in DepthFolder(Numbered("a", 3), tmp_path / "depth"):
        # shift and scale are those of the image's nearest and farthest pixel; the farthest is not 0, which is unknown
        np.testing.assert_allclose(sample.depth, np.maximum(sample.image[..., 0], 1 / 65535), atol=1 / 65535)


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    run(tmp_path / "one", Redness())
    run(tmp_path / "two", Redness())
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_a_second_run_does_only_what_is_missing(tmp_path: Path) -> None:
    run(tmp_path, Redness())
    (tmp_path / "a1.png").unlink()
    again = Redness()
    assert run(tmp_path, again) == PseudoDepthSummary(1, 2, ())
    assert again.asked == [1]
    journal = (tmp_path / JOURNAL_NAME).read_bytes()
    assert run(tmp_path, again) == PseudoDepthSummary(0, 3, ())
    assert (tmp_path / JOURNAL_NAME).read_bytes() == journal


def test_a_stopped_run_is_taken_up_and_leaves_no_rests(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, Redness(stops_at=1))
    assert sorted(contents(tmp_path)) == ["a0.png"]
    # a process that was killed while it wrote had noted it, and leaves part of a file
    run(tmp_path, Redness())
    journal = tmp_path / JOURNAL_NAME
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:-1]))
    checksum = hashlib.blake2s(os.fsencode("a2.png"), digest_size=6).hexdigest()
    (tmp_path / f".a2.png.{checksum}.00000000.partial").write_bytes(b"half")
    again = Redness()
    assert run(tmp_path, again) == PseudoDepthSummary(1, 2, ())
    assert again.asked == [2]
    assert sorted(contents(tmp_path)) == ["a0.png", "a1.png", "a2.png"]


def test_labels_of_another_model_are_replaced(tmp_path: Path) -> None:
    run(tmp_path, Redness())
    assert run(tmp_path, Redness("another")) == PseudoDepthSummary(3, 0, ())
    assert run(tmp_path, Redness("another")).skipped == 3


def test_other_peoples_files_and_other_data_sets_labels_are_kept(tmp_path: Path) -> None:
    (tmp_path / "a1.png").write_bytes(b"mine")
    found = run(tmp_path, Redness())
    assert (found.written, found.skipped) == (2, 0)
    assert "a1.png exists and is not an earlier label of numbers/a1; remove it" in found.failures[0]
    assert (tmp_path / "a1.png").read_bytes() == b"mine"
    other = run(tmp_path, Redness(), origin="other")
    assert (other.written, len(other.failures)) == (0, 3)
    assert run(tmp_path, Redness(), overwrite=True) == PseudoDepthSummary(1, 2, ())


def test_one_broken_image_does_not_stop_the_rest(tmp_path: Path) -> None:
    found = run(tmp_path, Redness(wrong=[2]), 5, damaged=[1])
    assert (found.written, found.skipped) == (3, 0)
    assert found.failures[0] == "a1 is damaged"
    assert found.failures[1].startswith("a2: what the depth model says cannot be used: depth must be finite")
    assert sorted(contents(tmp_path)) == ["a0.png", "a3.png", "a4.png"]
    assert run(tmp_path, Redness(), 5, damaged=[1]) == PseudoDepthSummary(1, 3, ("a1 is damaged",))


def test_an_image_that_the_model_cannot_take_is_a_failure_of_its_own(tmp_path: Path) -> None:
    class Picky(Redness):
        def disparity(self, image: np.ndarray) -> np.ndarray:
            if round(float(image[0, 0, 1]) * 255) == 1:
                raise RuntimeError("shape '[1, 2]'\nis invalid")
            return super().disparity(image)

    found = run(tmp_path, Picky())
    assert found == PseudoDepthSummary(2, 0, ("a1: the depth model failed on this image: shape '[1, 2]' is invalid",))


def test_a_model_has_to_say_something_about_every_pixel(tmp_path: Path) -> None:
    class Half(Redness):
        def disparity(self, image: np.ndarray) -> np.ndarray:
            return super().disparity(image)[::2]

    found = run(tmp_path, Half(), 1)
    assert found.failures == ("a0: expected a depth for each of (12, 16) pixels, the model gave (6, 16)",)


class Climbing(Numbered):
    """A data set whose names are not to be trusted."""

    @property
    def names(self) -> Sequence[str]:
        return ["../out", "linked/x"]

    def load(self, index: int) -> Sample:
        raise AssertionError("nothing of it may be read")


def test_nothing_is_written_outside_the_folder(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "depth").mkdir()
    (tmp_path / "depth" / "linked").symlink_to(tmp_path / "elsewhere")
    found = write_pseudo_depth(Climbing("x", 2), tmp_path / "depth", Redness(), origin="x", overwrite=True)
    assert found.written == 0
    assert "'../out' cannot be that of a file in a folder of depths" in found.failures[0]
    assert "lies outside" in found.failures[1]
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["depth", "elsewhere", "linked"]


def test_a_folder_that_cannot_be_written_to_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UpsegError, match="cannot write to the folder"):
        run(tmp_path / "file", Redness())
