"""What is written is read back exactly, in every format, and is the same bytes every time."""

from __future__ import annotations

import time

import jaxtyping
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from tests.formats.strategies import labels_of, many_segments, segmentation_parts
from upseg.errors import FormatError
from upseg.formats import FORMATS, output_paths, read, write
from upseg.segmentation import Category, Segment, Segmentation

READABLE = [form.name for form in FORMATS.values() if form.read and form.is_complete]


@pytest.fixture(scope="module")
def large_segmentation():
    return Segmentation.from_labels(many_segments(65_600), scores={1: 0.5, 65_600: 0.25})


@pytest.fixture
def without_shape_checks():
    """The checks cost a tenth of a millisecond a call; the other tests make them on the same functions."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.parametrize("name", READABLE)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(parts=segmentation_parts())
def test_read_gives_what_was_written(tmp_path, name, parts):
    segmentation = Segmentation.from_labels(**parts)
    path = output_paths(tmp_path / "result", name)[0]
    assert write(segmentation, path) == path
    again = read(path)
    assert again == segmentation
    assert again.provenance == segmentation.provenance


@pytest.mark.parametrize("name", READABLE)
def test_ids_are_kept_even_if_they_are_not_canonical(tmp_path, name):
    labels = labels_of("21", "33")
    boxes = [(0, 1, 1, 2), (0, 0, 1, 1), (1, 0, 2, 2)]
    segments = tuple(Segment(i, (1, 1, 2)[i - 1], boxes[i - 1], score=i / 4) for i in (1, 2, 3))
    segmentation = Segmentation(labels, segments, {})
    path = output_paths(tmp_path / "result", name)[0]
    assert read(write(segmentation, path)) == segmentation


@pytest.mark.parametrize("name", sorted(set(READABLE) - {"png"}))
def test_more_segments_than_16_bits_can_number(tmp_path, name, without_shape_checks, large_segmentation):
    again = read(write(large_segmentation, output_paths(tmp_path / "result", name)[0]))
    assert len(again) == 65_600
    assert again == large_segmentation


@pytest.mark.parametrize("name", sorted({*READABLE, "overlay"}))
def test_same_segmentation_gives_the_same_bytes(tmp_path, name, monkeypatch):
    labels = labels_of("112", "312", "..2")
    segmentation = Segmentation.from_labels(
        labels, categories={1: Category(3, "a")}, provenance={"method": "x", "image": "in/photo.jpg"}
    )
    image = np.full((3, 3, 3), 0.5, np.float32)
    first = output_paths(tmp_path / "one" / "result", name)
    second = output_paths(tmp_path / "two" / "result", name)
    write(segmentation, first[0], image=image)
    later = time.time() + 100_000
    monkeypatch.setattr(time, "time", lambda: later)
    write(segmentation, second[0], image=image)
    for one, two in zip(first, second, strict=True):
        assert one.read_bytes() == two.read_bytes()
        assert one.stat().st_size > 0


@pytest.mark.parametrize("name", READABLE)
@pytest.mark.parametrize("provenance", [{"a": object()}, {"a": float("nan")}, {"a": {1, 2}}])
def test_provenance_that_json_cannot_hold_is_refused(tmp_path, name, provenance):
    segmentation = Segmentation.from_labels(labels_of("1"), provenance=provenance)
    with pytest.raises(FormatError, match="provenance must be"):
        write(segmentation, output_paths(tmp_path / "result", name)[0])
    assert list(tmp_path.iterdir()) == []
