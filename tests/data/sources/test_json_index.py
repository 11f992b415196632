from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from upseg.data.sources import json_index
from upseg.data.sources.json_index import index_json
from upseg.errors import DataError

# texts that would mislead a search for brackets, quotes or names
TEXTS = st.sampled_from(
    ["", "a", '"', "\\", '\\"', "{", "}]", '"id": 3', "image_id", "id", "é", "\u2028", "\\\\", "[{", "]", "x" * 40]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**6), 10**6) | st.floats(-1e6, 1e6) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS.filter(lambda t: t != "id"), inner, max_size=3),
    max_leaves=6,
)
MEMBERS = st.dictionaries(TEXTS.filter(lambda text: text != "id"), VALUES, max_size=4)
KEYS = st.integers(-(10**12), 10**12)
TEXT_KEYS = TEXTS | st.text(max_size=5).filter(lambda text: "\0" not in text)


@st.composite
def files(draw: st.DrawFn) -> dict[str, Any]:
    """Objects with tables among other members; rows of the table `rows` have an `id` anywhere among their members."""
    data: dict[str, Any] = {}
    for name in draw(st.permutations(["info", "rows", "others", "text", "numbers"])):
        if name == "rows":
            kind = draw(st.sampled_from([KEYS, TEXT_KEYS]))
            rows = []
            for members in draw(st.lists(MEMBERS, max_size=6)):
                place = draw(st.integers(0, len(members)))
                entries = list(members.items())
                rows.append(dict([*entries[:place], ("id", draw(kind)), *entries[place:]]))
            data[name] = rows
        elif name == "others":
            data[name] = draw(st.lists(MEMBERS, max_size=3))
        elif name == "numbers":
            data[name] = draw(st.lists(st.integers(0, 9) | st.lists(MEMBERS, max_size=2), max_size=3))
        else:
            data[name] = draw(MEMBERS | TEXTS if name == "info" else TEXTS)
    return data


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(files(), st.sampled_from([None, 1, "\t"]), st.sampled_from([1, 3, 17, 1 << 23]), st.booleans())
def test_rows_are_those_that_parsing_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: dict[str, Any], indent: Any, block: int, ascii_only: bool
) -> None:
    monkeypatch.setattr(json_index, "_BLOCK", block)  # rows and texts straddle the blocks
    path = tmp_path / "file.json"
    path.write_text(json.dumps(data, indent=indent, ensure_ascii=ascii_only), encoding="utf-8")
    index = index_json(path, {"rows": "id"})
    assert list(index.all_rows("rows")) == data["rows"] if "rows" in index.tables else not data["rows"]
    assert list(index.all_rows("others")) == data["others"] if "others" in index.tables else not data["others"]
    if data["rows"]:
        assert index.tables["rows"].keys.tolist() == [row["id"] for row in data["rows"]]
        last = np.array([len(data["rows"]) - 1])
        assert index.rows("rows", last) == data["rows"][-1:]


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "file.json"
    path.write_text(text)
    return path


def test_tables_and_keys(tmp_path: Path) -> None:
    path = write(
        tmp_path, '\ufeff{"a": [{"id" :\n -7, "b": {"id": 1}}, {"c": [{"id": 2}], "id":8}], "d": [], "e": "[{"}'
    )
    index = index_json(path, {"a": "id"})
    assert index.tables["a"].keys.tolist() == [-7, 8]
    assert index.tables["a"].keys.dtype == np.int64
    assert len(index.tables["d"]) == 0
    assert set(index.tables) == {"a", "d"}


def test_texts_and_integers_may_be_mixed(tmp_path: Path) -> None:
    index = index_json(write(tmp_path, '{"a": [{"id": "x\\u00e9"}, {"id": 12}]}'), {"a": "id"})
    assert index.tables["a"].keys.tolist() == ["xé", "12"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "ends before its brackets are closed"),
        ("no brackets", "ends before its brackets are closed"),
        ('{"a": [{"id": 1}, {"id": 2', "ends before its brackets are closed"),
        ('{"a": [{"id": 1}', "ends before its brackets are closed"),
        ('{"a": [{"id": 1}]}}', "more after its last bracket"),
        ('{"a": [{"id": 1}]}\n{"a": []}', "more after its last bracket"),
        ("]", "more|before"),
        ('{"a": [{"id": 1}, {"x": 2}]}', "row 1 of 'a' has 0 members 'id', not 1"),
        ('{"a": [{"id": 1, "id": 2}]}', "row 0 of 'a' has 2 members 'id', not 1"),
        ('{"a": [{"id": 1}, {"id": 2.5}]}', "'id' in row 1 of 'a' must be an integer or a text"),
        ('{"a": [{"id": null}]}', "'id' in row 0 of 'a' must be an integer or a text"),
        ('{"a": [{"id": true}]}', "'id' in row 0 of 'a' must be an integer or a text"),
        ('{"a": [{"id": }]}', "'id' in row 0 of 'a' must be an integer or a text"),
    ],
)
def test_what_is_no_such_file_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(DataError, match=rf"file\.json: not a JSON file with tables.*({reason})"):
        index_json(write(tmp_path, text), {"a": "id"})


def test_a_list_has_no_tables(tmp_path: Path) -> None:
    assert index_json(write(tmp_path, '[{"id": 1}]'), {}).tables == {}


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere\.json: the file cannot be read"):
        index_json(tmp_path / "nowhere.json", {})


def test_a_broken_row_is_named_when_it_is_read(tmp_path: Path) -> None:
    index = index_json(write(tmp_path, '{"a": [{"id": 1}, {"id": 2, oops}]}'), {"a": "id"})
    assert index.rows("a", np.array([0])) == [{"id": 1}]
    with pytest.raises(DataError, match=r"file\.json: row 1 of 'a' is not valid JSON"):
        index.rows("a", np.array([1]))


def test_a_file_that_changed_is_noticed(tmp_path: Path) -> None:
    path = write(tmp_path, '{"a": [{"id": 1}]}')
    index = index_json(path, {"a": "id"})
    path.write_text('{"a": [{"id": 10}]}')
    with pytest.raises(DataError, match="has changed since it was opened"):
        index.rows("a", np.array([0]))


@pytest.mark.parametrize(
    "text",
    [
        '{"images": [}{"id": 1}]}',
        '{"images": [{"id": ' + "9" * 300_000 + "}]}",
        '{"images": [{"id"' + " " * 200_000 + ": 1}]}",
        '{"images": [{"id": "' + "x" * 5_000 + '"}]}',
        '{"images": [{"id": "' + "\\\\" * 100_000 + '"}]}',
        '{"images": ' + "[" * 100_000,
    ],
)
def test_hostile_files_end_in_one_clear_error(tmp_path, text) -> None:
    path = tmp_path / "x.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match="not a JSON file with tables") as error:
        list(index_json(path, {"images": "id"}).all_rows("images"))
    assert "\n" not in str(error.value)


def test_a_pipe_is_not_opened(tmp_path) -> None:
    os.mkfifo(tmp_path / "x.json")
    with pytest.raises(DataError, match="not a regular file"):
        index_json(tmp_path / "x.json", {})
