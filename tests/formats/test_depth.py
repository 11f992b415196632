"""Depth as a 16-bit PNG and as a picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image
from skimage.color import rgb2lab

from upseg.errors import FormatError
from upseg.formats import output_paths, write
from upseg.formats.depth import (
    colour_depth,
    depth_colours,
    read_depth_png,
    write_depth_png,
)
from upseg.predicted_depth import PredictedDepth
from upseg.segmentation import Segmentation

maps = arrays(np.float32, array_shapes(min_dims=2, max_dims=2, max_side=8), elements=st.floats(0, 1, width=32))


def metres(*values: float) -> PredictedDepth:
    return PredictedDepth(np.array([values], np.float32), is_metric=True)


def grey_values(path: Path) -> list[list[int]]:
    with Image.open(path) as image:
        assert image.mode == "I;16"
        return np.asarray(image).tolist()


def test_the_png_holds_millimetres(tmp_path: Path) -> None:
    path = write_depth_png(metres(0, 0.001, 1.2344, 1.2346, 65.535), tmp_path / "a.depth.png")
    assert grey_values(path) == [[0, 1, 1234, 1235, 65535]]


def test_known_depth_is_never_written_as_unknown(tmp_path: Path) -> None:
    path = write_depth_png(metres(1e-30, 0.0004, 0), tmp_path / "a.depth.png")
    assert grey_values(path) == [[1, 1, 0]]


def test_depth_beyond_16_bits_is_told(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match=r"a.depth.png: 2 pixels are deeper than 65.535 m"):
        path = write_depth_png(metres(70, 65.5, 100), tmp_path / "a.depth.png")
    assert grey_values(path) == [[65535, 65500, 65535]]


def test_relative_disparity_uses_all_of_16_bits(tmp_path: Path) -> None:
    depth = PredictedDepth.relative(np.array([[-1.0, 0.0, 1.0]], np.float32))
    path = write_depth_png(depth, tmp_path / "a.depth.png")
    assert grey_values(path) == [[1, 32768, 65535]]
    again = read_depth_png(path)
    assert not again.is_metric
    np.testing.assert_allclose(again.values, depth.values, atol=1 / 65535)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(maps, st.booleans())
def test_what_is_read_is_what_was_written(tmp_path: Path, values: np.ndarray, is_metric: bool) -> None:
    depth = PredictedDepth(values * (60 if is_metric else 1), is_metric)
    again = read_depth_png(write_depth_png(depth, tmp_path / "a.depth.png"))
    assert again.is_metric == is_metric
    np.testing.assert_array_equal(again.values > 0, depth.values > 0)
    np.testing.assert_allclose(again.values, depth.values, atol=0.001 if is_metric else 1 / 65535)
    first = (tmp_path / "a.depth.png").read_bytes()
    write_depth_png(again, tmp_path / "b.depth.png")
    assert (tmp_path / "b.depth.png").read_bytes() == first


def test_another_programs_png_is_in_millimetres(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 1500, 65535]], np.uint16)).save(tmp_path / "other.png")
    depth = read_depth_png(tmp_path / "other.png")
    assert depth.is_metric
    np.testing.assert_allclose(depth.values, [[0, 1.5, 65.535]])


@pytest.mark.parametrize("mode", ["RGB", "P"])
def test_colours_are_no_depth(tmp_path: Path, mode: str) -> None:
    Image.fromarray(np.arange(18, dtype=np.uint8).reshape(2, 3, 3)).convert(mode).save(tmp_path / "a.png")
    with pytest.raises(FormatError, match=r"a.png: cannot be read as a depth PNG: .*(colours|in colour)"):
        read_depth_png(tmp_path / "a.png")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "must be a JSON object"),
        ('{"upseg": 1, "unit": "inch"}', "its unit must be millimetre or disparity, got 'inch'"),
        ('{"upseg": 99, "unit": "millimetre"}', "are of version 99"),
        ("{", "cannot be read as a depth PNG"),
    ],
)
def test_foreign_metadata_are_one_clear_error(tmp_path: Path, text: str, message: str) -> None:
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_itxt("upseg-depth", text)
    Image.fromarray(np.ones((1, 2), np.uint16)).save(tmp_path / "a.png", pnginfo=info)
    with pytest.raises(FormatError, match=message):
        read_depth_png(tmp_path / "a.png")


@pytest.mark.parametrize("content", [b"", b"no png", None])
def test_broken_files(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "a.png"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(FormatError, match=r"a.png: "):
        read_depth_png(path)


def test_neighbouring_colours_look_equally_far_apart() -> None:
    """In CIE L*a*b*; over eight steps, so that rounding to 8 bits does not count much."""
    colours = rgb2lab(depth_colours() / 255.0)
    steps = np.linalg.norm(colours[8:] - colours[:-8], axis=1)
    assert steps.min() > 0.7 * steps.mean()
    assert steps.max() < 1.3 * steps.mean()


def test_nearer_is_lighter() -> None:
    lightness = rgb2lab(depth_colours() / 255.0)[:, 0]
    assert (lightness[4:] > lightness[:-4]).all()
    assert (lightness[0], lightness[-1]) == pytest.approx((15, 92), abs=1)


def test_the_picture_goes_from_the_farthest_to_the_nearest() -> None:
    table = depth_colours()
    drawn = colour_depth(metres(1, 2, 4, 0))
    np.testing.assert_array_equal(drawn[0], [table[255], table[128], table[0], (128, 128, 128)])
    assert np.abs(table.astype(int) - 128).max(axis=1).min() > 30  # unknown looks like no depth
    relative = colour_depth(PredictedDepth(np.array([[0.2, 0.6]], np.float32), is_metric=False))
    np.testing.assert_array_equal(relative[0], [table[0], table[255]])


def test_nothing_known_is_grey() -> None:
    np.testing.assert_array_equal(colour_depth(metres(0, 0)), 128)


class TestBesideASegmentation:
    SEGMENTATION = Segmentation.from_labels(np.array([[1, 1, 0]]))

    def test_two_files_are_written(self, tmp_path: Path) -> None:
        paths = output_paths(tmp_path / "photo.v1", "depth")
        assert [path.name for path in paths] == ["photo.v1.depth.png", "photo.v1.depth-picture.png"]
        depth = metres(1, 0, 3)
        assert write(self.SEGMENTATION, paths[0], depth=depth) == paths[0]
        np.testing.assert_array_equal(read_depth_png(paths[0]).values, depth.values)
        with Image.open(paths[1]) as image:
            np.testing.assert_array_equal(np.asarray(image), colour_depth(depth))

    def test_without_depth_there_is_nothing_to_write(self, tmp_path: Path) -> None:
        with pytest.raises(FormatError, match=r"needs the depth that a model predicted .*depth=\.\.\."):
            self.SEGMENTATION.save(tmp_path / "a.depth.png")

    def test_both_are_of_one_size(self, tmp_path: Path) -> None:
        with pytest.raises(FormatError, match=r"the segmentation is of \(1, 3\) pixels, the depth of \(1, 2\)"):
            write(self.SEGMENTATION, tmp_path / "a.depth.png", depth=metres(1, 2))
        assert list(tmp_path.iterdir()) == []

    def test_the_name_says_what_it_is(self, tmp_path: Path) -> None:
        with pytest.raises(FormatError, match=r"must end in \.depth\.png"):
            write(self.SEGMENTATION, tmp_path / "a.png", format="depth", depth=metres(1, 2, 3))
