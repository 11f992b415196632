from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from tests.formats.strategies import labels_of
from upseg.errors import FormatError
from upseg.formats import read, segment_colours, write
from upseg.segmentation import Category, Segmentation

LABELS = labels_of("111.1", "121..", "111..")
SVG = "{http://www.w3.org/2000/svg}"


def test_what_is_written(tmp_path):
    segmentation = Segmentation.from_labels(LABELS, categories={2: Category(7, "cat & <dog>\x00")})
    root = ElementTree.parse(write(segmentation, tmp_path / "a.svg")).getroot()
    assert root.tag == f"{SVG}svg"
    assert (root.get("viewBox"), root.get("width"), root.get("height")) == ("0 0 5 3", "5", "3")
    first, second = root.findall(f"{SVG}path")
    assert first.get("d") == "M0 0h3v3h-3zM1 1v1h1v-1zM4 0h1v1h-1z"
    assert second.get("d") == "M1 1h1v1h-1z"
    assert [p.get("id") for p in (first, second)] == ["segment-1", "segment-2"]
    assert [p.get("class") for p in (first, second)] == ["segment", "segment category-7"]
    assert [p.get("data-area") for p in (first, second)] == ["9", "1"]
    assert {p.get("fill-rule") for p in (first, second)} == {"evenodd"}
    assert [p.findtext(f"{SVG}title") for p in (first, second)] == ["segment 1", "cat & <dog>\ufffd"]
    colours = [tuple(bytes.fromhex(p.get("fill")[1:])) for p in (first, second)]
    assert colours == [tuple(colour) for colour in segment_colours(segmentation).tolist()]


def test_a_drawing_of_another_program_is_refused(tmp_path):
    (tmp_path / "a.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg"><path d="M0 0h1v1z"/></svg>')
    with pytest.raises(FormatError, match="upseg did not write it"):
        read(tmp_path / "a.svg")


def test_entities_are_refused(tmp_path):
    bomb = '<!DOCTYPE svg [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><svg xmlns="http://www.w3.org/2000/svg">&b;</svg>'
    (tmp_path / "a.svg").write_text(bomb)
    with pytest.raises(FormatError, match="document type, which upseg never writes"):
        read(tmp_path / "a.svg")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('M1 1h1v1h-1z"', 'M1 1l1 1z"', "the outline of segment-2 is not one that upseg writes"),
        ('M1 1h1v1h-1z"', '"', "the outline of segment-2 is not one"),
        ('M1 1h1v1h-1z"', 'M1 1h1v1h-1zx"', "the outline of segment-2 is not one"),
        ("M1 1v1h1v-1z", "", "its segments overlap"),
        ("segment-2", "segment-3", "paths must be segment-1 to segment-2"),
        ("0 0 5 3", "0 0 5", "not enough values"),
        ("0 0 5 3", "0 0 99999 99999", "at most 200000000 pixels"),
        ("M4 0h1v1h-1z", "M8 0h1v1h-1z", "segment 1 has 8 pixels, but 9 were written: the file was damaged or edited"),
    ],
)
def test_a_changed_drawing(tmp_path, old, new, message):
    path = write(Segmentation.from_labels(LABELS), tmp_path / "a.svg")
    text = path.read_text()
    assert len(re.findall(re.escape(old), text)) == 1
    path.write_text(text.replace(old, new))
    with pytest.raises(FormatError, match=message):
        read(path)
