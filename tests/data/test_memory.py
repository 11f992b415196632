"""Samples kept in memory, and those of one kind."""

import numpy as np
import pytest

from upseg.data.dataset import Dataset
from upseg.data.memory import InMemory, ListedKind
from upseg.data.sample import Sample
from upseg.errors import DataError


class Counted(Dataset):
    """Three samples, and how often each was read."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = [0, 0, 0]

    @property
    def names(self) -> list[str]:
        return ["a", "b", "c"]

    def load(self, index: int) -> Sample:
        self.reads[index] += 1
        return Sample.from_labels(np.zeros((2, 2, 3), np.float32), np.full((2, 2), index + 1), name=self.names[index])


def test_each_sample_is_read_once() -> None:
    whole = Counted()
    kept = InMemory(whole)
    assert [kept[i].name for i in (0, 2, 0, 2, -1)] == ["a", "c", "a", "c", "c"]
    assert whole.reads == [1, 0, 1]
    assert (len(kept), list(kept.names)) == (3, ["a", "b", "c"])


def test_what_has_no_room_is_read_each_time() -> None:
    whole = Counted()
    one = 2 * 2 * (3 + 1) * 4  # bytes of an image and its labels
    kept = InMemory(whole, memory=1.5 * one / 2**30)
    assert [kept[i].name for i in (1, 0, 1, 0)] == ["b", "a", "b", "a"]
    assert whole.reads == [2, 1, 0]
    with pytest.raises(ValueError, match="at least 0 GiB, got -1"):
        InMemory(whole, memory=-1.0)


def test_the_table_says_which_images_are_of_a_kind(tmp_path) -> None:
    table = tmp_path / "index.csv"
    table.write_text("kind,id\nround,a\nlong,b\nround,c\nround,absent\n")
    found = ListedKind(Counted(), table, ["round"])
    assert [sample.name for sample in found] == ["a", "c"]
    assert list(ListedKind(Counted(), table, ["long", "round"]).names) == ["a", "b", "c"]
    with pytest.raises(DataError, match="of the kinds square; there are long, round"):
        ListedKind(Counted(), table, ["square"])


def test_a_table_that_does_not_fit_is_one_clear_error(tmp_path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        ListedKind(Counted(), tmp_path / "absent.csv", ["round"])
    (tmp_path / "other.csv").write_text("name,kind\na,round\n")
    with pytest.raises(DataError, match="expected columns id and kind, there is no 'id'"):
        ListedKind(Counted(), tmp_path / "other.csv", ["round"])
