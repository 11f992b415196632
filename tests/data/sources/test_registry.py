from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from tests.data.sources.trees import draw_coco_instances, draw_coco_stuff, draw_labels
from upseg.data.sources import SOURCES, open_dataset
from upseg.errors import DataError


def test_every_source_can_be_imported_and_has_typed_options() -> None:
    for name, source in SOURCES.items():
        assert source.name == name
        assert callable(source.load_reader())
        assert all(option.default is not dataclasses.MISSING for option in dataclasses.fields(source.options_class()))
    assert [f.name for f in dataclasses.fields(SOURCES["coco-stuff"].options_class())] == ["annotations", "merged"]
    assert [f.name for f in dataclasses.fields(SOURCES["coco-stuff27"].options_class())] == ["annotations"]


def test_name_and_place_in_one_text_or_in_two(tmp_path: Path) -> None:
    draw_coco_instances(tmp_path)
    assert len(open_dataset(f"coco-instances:{tmp_path}")) == 2
    assert len(open_dataset("coco-instances", str(tmp_path))) == 2
    colon = tmp_path / "with:colon"
    draw_labels(colon)
    assert len(open_dataset(f"folder:{colon}", on_error="skip")) == 2


def test_wrong_names_places_and_options_are_told(tmp_path: Path) -> None:
    draw_coco_instances(tmp_path)
    with pytest.raises(DataError, match="there is no data set 'cocco'; there are folder, coco-panoptic"):
        open_dataset("cocco", tmp_path)
    with pytest.raises(DataError, match="give the place of the data set: open_dataset"):
        open_dataset("coco-instances")
    with pytest.raises(DataError, match="give the place of the data set"):
        open_dataset("coco-instances:")
    with pytest.raises(DataError, match=r"nowhere should hold annotations/instances_.*, but it does not exist"):
        open_dataset("coco-instances", tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"coco-instances: there is no setting 'onyl' \(did you mean only\?\)"):
        open_dataset("coco-instances", tmp_path, onyl=("cat",))
    with pytest.raises(DataError, match="coco-stuff: the setting merged must be true or false, got 'yes'"):
        open_dataset("coco-stuff", tmp_path, merged="yes")


def test_only_some_images(tmp_path: Path) -> None:
    draw_coco_stuff(tmp_path)
    listed = tmp_path / "curated.txt"
    listed.write_text("000000000002\n\n")
    assert list(open_dataset("coco-stuff27", tmp_path, images=listed).names) == ["000000000002"]
    assert list(open_dataset("coco-stuff27", tmp_path, images=["000000000001.jpg"]).names) == ["000000000001"]
    assert not open_dataset("coco-stuff27", tmp_path, images=["000000000001"], decode_images=False).decode_images
    listed.write_text("000000000003\n")
    with pytest.raises(DataError, match="there is no sample named '000000000003'"):
        open_dataset("coco-stuff27", tmp_path, images=listed)
    listed.write_text("\n")
    with pytest.raises(
        DataError, match=r"curated\.txt: expected names of images, one in each line, but the file is empty"
    ):
        open_dataset("coco-stuff27", tmp_path, images=str(listed))
    listed.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=r"curated\.txt: expected a text file with names of images"):
        open_dataset("coco-stuff27", tmp_path, images=listed)
    with pytest.raises(DataError, match=r"nothing\.txt should be a file with names of images, but there is none"):
        open_dataset("coco-stuff27", tmp_path, images=tmp_path / "nothing.txt")
