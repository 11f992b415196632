from __future__ import annotations

import contextlib
import itertools
import os
import stat

import pytest

from upseg.files import atomic_file, atomic_path, remove_partials


def test_file_and_folders_appear(tmp_path):
    target = tmp_path / "a" / "b" / "c.txt"
    with atomic_path(target) as partial:
        assert partial.parent == target.parent
        assert partial.name.startswith(".")
        assert partial.name.endswith(".partial")
        partial.write_text("new")
        assert not target.exists()
    assert target.read_text() == "new"
    assert list(target.parent.iterdir()) == [target]


@contextlib.contextmanager
def by_path(target):
    with atomic_path(target) as partial:
        yield partial.write_bytes


@contextlib.contextmanager
def by_file(target):
    with atomic_file(target) as file:
        yield file.write


WAYS = pytest.mark.parametrize("way", [by_path, by_file])


@WAYS
@pytest.mark.parametrize("interruption", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_exception_leaves_everything_as_it_was(tmp_path, way, interruption):
    target = tmp_path / "c.txt"
    target.write_text("old")

    def write_half():
        with way(target) as write:
            write(b"half")
            raise interruption

    with pytest.raises(interruption):
        write_half()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


@WAYS
def test_contents_are_on_the_disk_before_the_name(tmp_path, monkeypatch, way):
    target, synced = tmp_path / "c.txt", []
    fsync = os.fsync

    def spy(file_descriptor):
        synced.append((os.fstat(file_descriptor).st_size, target.exists()))
        fsync(file_descriptor)

    monkeypatch.setattr(os, "fsync", spy)
    with way(target) as write:
        write(b"12345")
    assert synced == [(5, False)]
    assert target.read_bytes() == b"12345"
    assert list(tmp_path.iterdir()) == [target]


def test_a_block_that_writes_nothing_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "c.txt"):
        pass
    assert list(tmp_path.iterdir()) == []


@WAYS
def test_permissions_are_those_of_any_new_file(tmp_path, way):
    with way(tmp_path / "new" / "c.txt") as write:
        write(b"x")
    (tmp_path / "plain").write_text("x")
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("new/c.txt", "plain")}
    assert len(modes) == 1


@pytest.mark.parametrize("name", ["n" * 255, "\u00fc" * 127, "\U0001f600" * 63])
def test_longest_file_names(tmp_path, name):
    with atomic_path(tmp_path / name) as partial:
        partial.write_text("x")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_two_writers_do_not_share_a_partial_file(tmp_path):
    target = tmp_path / "c.txt"
    with atomic_path(target) as one, atomic_path(target) as two:
        assert one != two
        one.write_text("one")
        two.write_text("two")
    assert target.read_text() == "one"


def test_leftovers_of_one_target_are_removed(tmp_path):
    long = "n" * 60
    names = {target: [] for target in ("c.txt", "c.txt.d", f"{long}1", f"{long}2")}
    for target, partials in names.items():
        for _ in range(2):
            with contextlib.suppress(FileNotFoundError), atomic_path(tmp_path / target) as partial:
                partials.append(partial.name)  # never written: what a killed run leaves is made below
    for name in (*itertools.chain(*names.values()), "c.txt.partial", "c.txt"):
        (tmp_path / name).write_text("half")
    for target, partials in names.items():
        before = {path.name for path in tmp_path.iterdir()}
        assert remove_partials(tmp_path / target) == 2
        assert before - {path.name for path in tmp_path.iterdir()} == set(partials)
    assert {path.name for path in tmp_path.iterdir()} == {"c.txt", "c.txt.partial"}
    assert remove_partials(tmp_path / "missing" / "c.txt") == 0
