from __future__ import annotations

import json
import zipfile

import numpy as np
import pytest

from tests.formats.strategies import labels_of
from upseg.errors import FormatError
from upseg.formats import read, write
from upseg.segmentation import Segmentation


def test_numpy_reads_it(tmp_path):
    labels = labels_of("1122", "3.22")
    path = write(Segmentation.from_labels(labels, scores={1: 0.5}), tmp_path / "a.npz")
    with np.load(path, allow_pickle=False) as archive:
        assert archive.files == ["labels", "metadata"]
        assert archive["labels"].dtype == np.int32
        np.testing.assert_array_equal(archive["labels"], labels)
        assert json.loads(archive["metadata"].tobytes())["scores"] == [0.5, None, None]


@pytest.mark.parametrize("arrays", [{"masks": "5"}, {"labels": "5", "scores": "1"}])
@pytest.mark.parametrize("dtype", [np.uint8, np.int64, bool])
def test_archive_of_another_program(tmp_path, arrays, dtype):
    np.savez(tmp_path / "a.npz", **{name: labels_of(row).astype(dtype) for name, row in arrays.items()})
    np.testing.assert_array_equal(read(tmp_path / "a.npz").labels, [[1]])


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"a": np.zeros((1, 1), int), "b": np.zeros((1, 1), int)}, r"an array named labels, got \['a', 'b'\]"),
        ({"labels": np.full((1, 1), 0.5)}, "whole numbers"),
        ({"labels": np.zeros((1, 1, 5), int)}, r"the shape \(1, 1, 5\)"),
    ],
)
def test_what_is_no_label_map(tmp_path, arrays, message):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(FormatError, match=message):
        read(tmp_path / "a.npz")


def test_pickled_objects_are_refused(tmp_path):
    np.savez(tmp_path / "a.npz", labels=np.array([[{}]], object), allow_pickle=True)
    with pytest.raises(FormatError, match="allow_pickle"):
        read(tmp_path / "a.npz")


def test_an_archive_that_claims_to_be_huge_is_refused(tmp_path, monkeypatch):
    path = write(Segmentation.from_labels(labels_of("1")), tmp_path / "a.npz")
    getinfo = zipfile.ZipFile.getinfo

    def huge(archive, name):
        entry = getinfo(archive, name)
        entry.file_size = 1 << 40
        return entry

    monkeypatch.setattr(zipfile.ZipFile, "getinfo", huge)
    with pytest.raises(FormatError, match="more than the 4,128 that it can have"):
        read(path)
