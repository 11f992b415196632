from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from upseg.data.dataset import Dataset
from upseg.data.sample import LazyImage, Sample
from upseg.errors import DataError
from upseg.segmentation import Category


class Numbers(Dataset):
    """Five samples, of which some are damaged."""

    def __init__(self, damaged: Sequence[int] = (), **options: Any) -> None:
        super().__init__([Category(1, "one")], **options)
        self.damaged = damaged
        self.loaded: list[int] = []

    @property
    def names(self) -> Sequence[str]:
        return ["a/1", "a/2", "b/1.5", "b/2", "c"]

    def load(self, index: int) -> Sample:
        self.loaded.append(index)
        if index in self.damaged:
            raise DataError(f"number {index} is damaged")
        return Sample.from_labels(np.zeros((2, 2, 3), np.float32), np.eye(2, dtype=int), name=self.names[index])


def test_samples_by_number() -> None:
    dataset = Numbers()
    assert len(dataset) == 5
    assert dataset[0].name == "a/1"
    assert dataset[np.int64(-1)].name == "c"
    assert dataset.loaded == [0, 4]
    for index in (5, -6):
        with pytest.raises(IndexError, match=f"has 5 samples, there is no number {index}"):
            dataset[index]
    with pytest.raises(TypeError):
        dataset["a/1"]
    assert [sample.name for sample in dataset] == list(dataset.names)


def test_damaged_samples_end_iterating() -> None:
    dataset = Numbers(damaged=[1])
    with pytest.raises(DataError, match="number 1 is damaged"):
        list(dataset)
    with pytest.raises(DataError, match="number 1 is damaged"):
        dataset.read(1)


def test_damaged_samples_are_skipped_and_counted() -> None:
    dataset = Numbers(damaged=[1, 3], on_error="skip", problems=["something else"])
    with pytest.warns(UserWarning, match="skipped") as caught:
        assert [sample.name for sample in dataset] == ["a/1", "b/1.5", "c"]
    assert [str(warning.message) for warning in caught] == [
        "skipped: number 1 is damaged",
        "skipped: number 3 is damaged",
        "skipped 2 of 5 samples; `problems` lists them",
    ]
    assert dataset.problems == ["something else", "number 1 is damaged", "number 3 is damaged"]
    with pytest.warns(UserWarning, match="skipped: number 3"):
        assert dataset.read(-2) is None
    assert len(dataset.problems) == 3  # the same sample, not counted twice
    with pytest.raises(DataError, match="number 1 is damaged"):
        dataset[1]  # what is asked for by number has no replacement


def test_nothing_is_said_where_nothing_is_wrong() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(list(Numbers(on_error="skip"))) == 5


def test_on_error_has_two_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jaxtyping.config.jaxtyping_disable", True)  # as without the tests' own checks
    with pytest.raises(DataError, match="on_error must be 'raise' or 'skip', got 'ignore'"):
        Numbers(on_error="ignore")


def test_images_are_decoded_at_once_or_later(tmp_path: Path) -> None:
    class Lazy(Numbers):
        def load(self, index: int) -> Sample:
            return Sample.from_labels(LazyImage(tmp_path / "a.png", (2, 2)), np.eye(2, dtype=int))

    dataset = Lazy()
    with pytest.raises(DataError, match=r"a\.png: there is no such file"):
        dataset[0]
    dataset.decode_images = False
    sample = dataset[0]
    Image.fromarray(np.zeros((2, 2, 3), np.uint8)).save(tmp_path / "a.png")
    assert sample.image.shape == (2, 2, 3)


def test_a_subset_has_the_named_samples_in_their_order() -> None:
    whole = Numbers(damaged=[2], on_error="skip", problems=["something"])
    whole.decode_images = False
    part = whole.subset(["c.png", "a/2", "1.5"])
    assert list(part.names) == ["c", "a/2", "b/1.5"]
    assert part.categories == whole.categories
    assert not part.decode_images
    with pytest.warns(UserWarning, match="skipped"):
        assert [sample.name for sample in part] == ["c", "a/2"]
    assert part.problems == ["something", "number 2 is damaged"]


def test_a_subset_needs_names_that_are_there_once() -> None:
    with pytest.raises(DataError, match=r"no sample named 'x'; names are such as a/1, a/2, b/1\.5"):
        Numbers().subset(["a/1", "x"])
    with pytest.raises(DataError, match="there are 2 samples named '2'"):
        Numbers().subset(["2"])
    with pytest.raises(DataError, match="there is no sample named ''"):
        Numbers().subset([""])
