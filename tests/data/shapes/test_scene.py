from __future__ import annotations

import hashlib
import pickle
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from upseg.data.sample import Sample
from upseg.data.shapes import CATEGORIES, Difficulty, ShapeScenes, draw_scene
from upseg.data.shapes.layout import FARTHEST, MIDDLE, NEAREST, plan_groups, plan_regions
from upseg.data.shapes.painter import Painter
from upseg.functional.label_maps import border_pixels

CLEAN = replace(Difficulty.at(0.3), lighting=0.0, blur=(0.0, 0.0), noise=(0.0, 0.0), texture=(0.0, 0.0))


def draw_all(count: int = 12) -> list[Sample]:
    return [draw_scene((7, index), (64, 80), index / (count - 1)) for index in range(count)]


@pytest.fixture(scope="module")
def scenes() -> list[Sample]:
    """From the easiest to the hardest."""
    return draw_all()


def digest(sample: Sample) -> str:
    parts = (sample.image.tobytes(), sample.segment_map.tobytes(), sample.depth.tobytes(), repr(sample.segments))
    return hashlib.sha256(b"".join(p if isinstance(p, bytes) else p.encode() for p in parts)).hexdigest()


def test_the_same_seed_gives_the_same_scene_to_the_bit(scenes):
    assert [digest(scene) for scene in draw_all()] == [digest(scene) for scene in scenes]
    assert len({digest(scene) for scene in scenes}) == len(scenes)


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 70), st.integers(1, 70), st.floats(0, 1), st.integers(0, 10**6))
def test_any_size_and_difficulty(height, width, difficulty, seed):
    sample = draw_scene(seed, (height, width), difficulty)
    assert sample.shape == (height, width)
    assert sample.image.shape == (height, width, 3)
    assert sample.image.min() >= 0
    assert sample.image.max() <= 1
    assert (sample.segment_map > 0).all()
    assert all(segment.category in CATEGORIES for segment in sample.segments)
    assert sample.depth.min() >= NEAREST
    assert sample.depth.max() <= FARTHEST


def test_images_are_in_steps_of_one_of_255(scenes):
    for scene in scenes:
        np.testing.assert_allclose(scene.image * 255, np.rint(scene.image * 255), atol=1e-4)


def test_each_class_of_stuff_is_one_segment_and_lies_behind_all_things(scenes):
    several = 0
    for scene in scenes:
        stuff = [segment for segment in scene.segments if not segment.is_thing]
        assert len({segment.category for segment in stuff}) == len(stuff) >= 1
        is_stuff = np.isin(scene.segment_map, [segment.id for segment in stuff])
        assert (scene.depth[is_stuff] >= MIDDLE - 1e-5).all()
        assert (scene.depth[~is_stuff] <= MIDDLE + 1e-5).all()
        several += len(stuff) > 1
    assert several >= 6


def test_depth_agrees_with_what_is_painted_over_what():
    """Whatever is painted is nearer than all that was there."""
    rng = np.random.default_rng(4)
    difficulty = Difficulty.at(0.8)
    painter = Painter(rng, (96, 96), difficulty)
    painter.paint_regions(plan_regions(rng, (96, 96), difficulty))
    hidden = 0
    for group in plan_groups(rng, (96, 96), difficulty):
        before, labels = painter.canvas.depth.copy(), painter.canvas.labels.copy()
        painter.paint_group(group)
        changed = labels != painter.canvas.labels
        assert (painter.canvas.depth[changed] < before[changed]).all()
        assert (painter.canvas.depth[~changed] == before[~changed]).all()
        hidden += int((changed & (before <= MIDDLE)).sum())
    assert hidden > 50  # shapes do lie over shapes


def test_the_label_of_a_pixel_is_the_shape_at_its_centre():
    """Without light, texture, blur and noise each segment has one colour, but where it mixes with another's."""
    checked = 0
    for seed in range(6):
        scene = draw_scene(seed, (96, 96), replace(CLEAN, grouped=0.0, stuff=(1, 1)))
        border = ndimage.binary_dilation(border_pixels(scene.segment_map), np.ones((3, 3)))
        for segment in scene.segments:
            inside = scene.image[(scene.segment_map == segment.id) & ~border]
            if segment.is_thing and len(inside):
                # a rim may have another brightness than the middle
                assert len(np.unique(inside, axis=0)) <= 2
                checked += 1
        if len(scene.segments) > 1:
            assert border.mean() < 0.5
    assert checked >= 8


def test_nothing_is_hidden_beyond_the_setting():
    difficulty = replace(Difficulty.at(1.0), occlusion=0.3, grouped=0.0)
    rng = np.random.default_rng(11)
    painter = Painter(rng, (128, 128), difficulty)
    painter.paint_regions(plan_regions(rng, (128, 128), difficulty))
    areas: dict[int, int] = {}
    for group in plan_groups(rng, (128, 128), difficulty):
        painter.paint_group(group)
        counts = np.bincount(painter.canvas.labels.ravel())
        for label, category in painter.categories.items():
            if category.is_thing:
                areas.setdefault(label, int(counts[label]))
                assert counts[label] >= 0.7 * areas[label]
    assert len(areas) > 10


def test_harder_scenes_have_more_shapes_and_less_contrast():
    easy, hard = ([draw_scene((9, k), (64, 64), level) for k in range(8)] for level in (0.0, 1.0))
    count = [np.mean([sum(s.is_thing for s in scene.segments) for scene in scenes]) for scenes in (easy, hard)]
    assert count[0] >= 2
    assert count[1] > 4 * count[0]
    contrast = [np.median([c for scene in scenes for c in contrasts(scene)]) for scenes in (easy, hard)]
    assert contrast[0] > 1.2 * contrast[1]


def contrasts(scene: Sample) -> list[float]:
    """Colour difference between each thing and what is around it."""
    found = []
    for segment in scene.segments:
        mask = scene.segment_map == segment.id
        around = ndimage.binary_dilation(mask, iterations=3) & ~mask
        if segment.is_thing and around.any():
            found.append(float(np.linalg.norm(scene.image[mask].mean(axis=0) - scene.image[around].mean(axis=0))))
    return found


def test_there_are_touching_objects_of_one_class_and_things_with_holes(scenes):
    touching = holes = 0
    for scene in scenes:
        classes = {s.id: s.category for s in scene.segments if s.is_thing}
        labels = scene.segment_map
        vertical = zip(labels[:-1].ravel().tolist(), labels[1:].ravel().tolist(), strict=True)
        horizontal = zip(labels[:, :-1].ravel().tolist(), labels[:, 1:].ravel().tolist(), strict=True)
        pairs = {tuple(sorted(pair)) for pair in (*vertical, *horizontal) if len(set(pair) & set(classes)) == 2}
        touching += sum(classes[first] == classes[second] for first, second in pairs)
        masks = [labels == s for s in classes]
        holes += sum(int((ndimage.binary_fill_holes(mask) & ~mask).sum() > 10) for mask in masks)
    assert touching > 20
    assert holes > 5


def test_every_class_occurs():
    found = {segment.category for k in range(24) for segment in draw_scene((1, k), (48, 48), 1.0).segments}
    assert found == set(CATEGORIES)


def test_a_data_set_of_scenes():
    scenes = ShapeScenes(5, (32, 48), seed=3)
    assert len(scenes) == 5
    assert scenes.categories == CATEGORIES
    assert [scene.name for scene in scenes] == list(scenes.names) == [f"shapes-3-{k}" for k in range(5)]
    assert digest(scenes[2]) == digest(pickle.loads(pickle.dumps(scenes))[2])
    assert digest(scenes[2]) != digest(ShapeScenes(5, (32, 48), seed=4)[2])
    assert digest(scenes[-1]) == digest(scenes[4])
    with pytest.raises(IndexError, match="5 samples"):
        scenes[5]


def test_each_scene_of_a_range_has_its_own_difficulty():
    one, other = (ShapeScenes(4, (48, 48), difficulty=d) for d in (0.5, (0.5, 0.5)))
    assert [digest(scene) for scene in one] == [digest(scene) for scene in other]
    spread = ShapeScenes(10, (32, 32), difficulty=(0.0, 1.0))
    counts = [len(scene.segments) for scene in spread]
    assert min(counts) < 6 < 14 < max(counts)


@pytest.mark.parametrize(
    "arguments", [{"length": -1}, {"length": 1, "size": (0, 5)}, {"length": 1, "difficulty": (0.5, 2.0)}]
)
def test_scenes_that_cannot_be_are_refused(arguments):
    with pytest.raises(ValueError, match=r"at least|\[0, 1\]"):
        ShapeScenes(**arguments)


def test_a_scene_needs_pixels():
    with pytest.raises(ValueError, match="at least 1 x 1"):
        draw_scene(0, (0, 10))


def test_only_chosen_classes_occur() -> None:
    chosen = ["star", "cell", "ellipse", "plain", "bricks"]
    scenes = ShapeScenes(40, (64, 64), 0.6, classes=chosen)
    assert [category.name for category in scenes.categories] == ["ellipse", "star", "cell", "plain", "bricks"]
    found = {segment.category.name for index in range(40) for segment in scenes[index].segments if segment.category}
    assert found == set(chosen)


def test_all_classes_named_are_the_scenes_without_names() -> None:
    named = draw_scene(3, (48, 48), 0.7, [category.name for category in CATEGORIES])
    unnamed = draw_scene(3, (48, 48), 0.7)
    np.testing.assert_array_equal(named.image, unnamed.image)
    np.testing.assert_array_equal(named.segment_map, unnamed.segment_map)


@pytest.mark.parametrize("names", [[], ["plain"], ["star"], ["cell", "plain"], ["star", "plain", "moon"]])
def test_classes_that_make_no_scene_are_refused(names: list[str]) -> None:
    with pytest.raises(ValueError, match="classes must be some of ellipse"):
        ShapeScenes(1, classes=names)
