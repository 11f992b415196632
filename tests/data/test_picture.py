from __future__ import annotations

import numpy as np
import pytest

from tests.data.sources.trees import numbers
from upseg.data.picture import draw_samples
from upseg.data.sample import Sample
from upseg.segmentation import Category

GREY = np.full((6, 8, 3), 0.5, np.float32)


def sample(**changes: object) -> Sample:
    arguments = {"categories": {1: Category(1, "cat"), 2: Category(2, "sky", is_thing=False)}, "name": "a", **changes}
    return Sample.from_labels(GREY, numbers(1, 2), **arguments)


def test_each_kind_of_picture_has_its_place() -> None:
    plain = draw_samples([sample(categories={})])
    with_names = draw_samples([sample()])
    with_depth = draw_samples([sample(depth=np.where(numbers(1, 2) > 0, 2.0, 0.0).astype(np.float32))])
    with_others = draw_samples([sample(other_maps=[np.ones((6, 8), np.int32)] * 5)])
    assert plain.shape[0] == with_names.shape[0] == with_depth.shape[0]
    image_width = round(320 * 8 / 6)
    assert plain.shape[1] > 2 * image_width
    assert plain.shape[1] < with_names.shape[1] < 3 * image_width
    assert with_depth.shape[1] >= with_names.shape[1] + image_width
    assert with_others.shape[1] >= with_names.shape[1] + 2 * image_width  # of five further annotators two are drawn


def test_the_image_is_on_the_left_and_segments_are_coloured() -> None:
    picture = draw_samples([sample()])
    gap = round(320 / 60)
    left = picture[gap : gap + 320, gap : gap + 427]
    assert np.abs(left.astype(int) - 128).max() <= 1
    segments = picture[gap : gap + 320, 2 * gap + 427 : 2 * gap + 2 * 427]
    colours = {tuple(colour) for colour in segments[::20, ::20].reshape(-1, 3).tolist()}
    assert len(colours) >= 3  # two segments and what is unlabelled
    assert (128, 128, 128) in colours


def test_rows_are_put_below_each_other() -> None:
    one, two = draw_samples([sample()]), draw_samples([sample(categories={}), sample()])
    assert two.shape == (2 * one.shape[0], *one.shape[1:])
    assert np.array_equal(two[one.shape[0] :], one)
    assert (two[: one.shape[0], -20:] == 255).all()


def test_many_names_and_long_ones_fit() -> None:
    labels = np.arange(48).reshape(6, 8) + 1
    categories = {n: Category(n, f"class {n}") for n in range(1, 49)}
    long_name = "x" * 200
    drawn = draw_samples([Sample.from_labels(GREY, labels, categories=categories, crowds={1}, name=long_name)])
    assert drawn.shape[1] < 1200


def test_samples_without_segments_or_depth_values() -> None:
    empty = Sample.from_labels(GREY, numbers(0, 0), depth=np.zeros((6, 8), np.float32))
    assert draw_samples([empty]).shape[1] > 2 * round(320 * 8 / 6)


def test_there_has_to_be_a_sample() -> None:
    with pytest.raises(ValueError, match="no sample to draw"):
        draw_samples([])
