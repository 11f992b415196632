from __future__ import annotations

from pathlib import Path

import pytest

from upseg.data.names import Names, distinct_keys, find_below, name_key, normal_name, tails
from upseg.errors import DataError

COMPOSED, DECOMPOSED = "gr\u00fcn", "gru\u0308n"


@pytest.mark.parametrize(
    ("name", "normal", "key"),
    [
        ("a.jpg", "a.jpg", "a"),
        ("street\\./a.JPG", "street/a.JPG", "street/a"),
        ("a.v2", "a.v2", "a.v2"),
        (f"{DECOMPOSED}.png", f"{COMPOSED}.png", COMPOSED),
    ],
)
def test_a_name_has_one_form_and_a_key_without_the_suffix_of_an_image(name: str, normal: str, key: str) -> None:
    assert (normal_name(name), name_key(name)) == (normal, key)


def test_only_names_that_share_a_key_stay_whole() -> None:
    assert distinct_keys(["x.jpg", "x.png", "a/x.png", "y.png"]) == ["x.jpg", "x.png", "a/x", "y"]


def test_tails_are_what_lies_below() -> None:
    assert list(tails("a/b/c")) == ["a/b/c", "b/c", "c"]
    assert list(tails("/data/x/a.png")) == ["data/x/a.png", "x/a.png", "a.png"]
    assert list(tails("..\\..\\x.png")) == ["x.png"]
    assert list(tails("C:\\x\\y.png")) == ["x/y.png", "y.png"]
    assert list(tails("..")) == list(tails("")) == []


@pytest.mark.parametrize(
    ("names", "wanted", "found"),
    [
        (["x", "y"], "x", ["x"]),
        (["x", "y"], "x.jpg", ["x"]),
        (["x.jpg", "x.png"], "x.png", ["x.png"]),
        (["x.jpg", "x.png"], "x", ["x.jpg", "x.png"]),
        (["a/x", "b/x"], "b/x", ["b/x"]),
        (["a/x", "b/x"], "x", ["a/x", "b/x"]),
        (["a/x", "b/y"], "y", ["b/y"]),
        (["x"], "a/x", ["x"]),
        (["a/x", "b/x"], "pred/b/x", ["b/x"]),
        (["a/x"], "/data/images/a/x.png", ["a/x"]),
        ([COMPOSED], DECOMPOSED, [COMPOSED]),
        (["x"], "z", []),
    ],
)
def test_a_name_is_found_in_whatever_form(names: list[str], wanted: str, found: list[str]) -> None:
    assert Names(names).find(wanted) == found


def test_a_file_is_found_below_a_folder_and_nowhere_else(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    (folder / "sub").mkdir(parents=True)
    for name in ("a.png", "sub/b.jpg", f"{DECOMPOSED}.png", "two.png", "two.jpg"):
        (folder / name).write_bytes(b"")
    (tmp_path / "outside.png").write_bytes(b"")
    for name, file in (
        ("a.png", "a.png"),
        ("a", "a.png"),
        ("sub\\b.jpg", "sub/b.jpg"),
        (str(folder / "sub" / "b.jpg"), "sub/b.jpg"),
        ("../images/a.png", "a.png"),
        (f"{COMPOSED}.png", f"{DECOMPOSED}.png"),
    ):
        assert find_below(folder, name) == folder / file
    assert find_below(folder, "../outside.png") is None
    with pytest.raises(DataError, match=r"holds both two\.jpg and two\.png; which is meant by two\?"):
        find_below(folder, "two")
