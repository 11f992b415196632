"""Damaged files of every kind: one clear error or the same answer, within 2 GiB and 20 s; `make fuzz` does more."""

from __future__ import annotations

from random import Random

import pytest

from tests.fuzz.mutations import MUTATIONS, mutated
from tests.fuzz.readers import READERS, Reader
from tests.fuzz.run import BYTES, GOOD, SLOW, fuzz


def test_damaged_files_are_refused_in_one_line_or_read_as_they_were() -> None:
    names = [name for name in READERS if name not in SLOW]
    rows = fuzz(names, 20)
    assert [row for row in rows if row["said"] not in GOOD] == []
    assert len(rows) == 20 * len(names)
    assert {row["said"] for row in rows} == set(GOOD)
    assert max(row["kilobytes"] for row in rows) < BYTES // 1024


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW)
def test_damaged_weights_and_recipes(name) -> None:
    assert [row for row in fuzz([name], 60) if row["said"] not in GOOD] == []


def test_the_fuzzer_finds_what_it_looks_for(monkeypatch, tmp_path, capsys) -> None:
    from tests.fuzz.run import read_damaged

    def fragile(path):
        if path.read_bytes().startswith(b"12345"):
            return 5
        raise ZeroDivisionError

    def write(folder):
        (folder / "x").write_bytes(b"1234567890")
        return folder / "x"

    monkeypatch.setitem(READERS, "fragile", Reader("fragile", write, fragile))
    monkeypatch.setitem(READERS, "silent", Reader("silent", write, lambda path: path.read_bytes(), is_checked=True))
    monkeypatch.setattr("resource.setrlimit", lambda *_: None)
    read_damaged(["fragile", "silent"], 0, 20, 0)
    said = capsys.readouterr().out
    assert "traceback" in said
    assert "another answer" in said


def test_damage_depends_on_the_seed_alone_and_is_always_some() -> None:
    content = b'{"a": [1, 2.5, "text"], "b": null}'
    for number in range(300):
        damaged = mutated(content, Random(number))
        assert damaged != content
        assert damaged == mutated(content, Random(number))
    assert len(set(MUTATIONS)) >= 5
