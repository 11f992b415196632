from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from upseg.errors import ModelError
from upseg.models.registry import METHODS
from upseg.segmentation import Category, Segmentation
from upseg.split.baselines import BASELINES, ComponentsSettings, DistanceSettings, find_splitter

CELL, SKY = Category(4, "cell"), Category(2, "sky", is_thing=False)


def semantic_map() -> Segmentation:
    classes = np.array([[2, 2, 0, 2], [4, 0, 4, 4], [4, 0, 0, 4]])
    return Segmentation.from_labels(classes, categories={2: SKY, 4: CELL})


@pytest.mark.parametrize("name", BASELINES)
def test_a_baseline_cuts_things_and_leaves_stuff_in_one_segment(name) -> None:
    found = find_splitter(name, minimum_area=0).load("cpu").split(None, semantic_map())
    assert found.labels.tolist() == [[1, 1, 0, 1], [2, 0, 3, 3], [2, 0, 0, 3]]
    assert [segment.category for segment in found] == [SKY, CELL, CELL]
    assert found.provenance["method"] == name


@pytest.mark.parametrize("name", BASELINES)
def test_nothing_and_things_without_a_class_are_split_too(name) -> None:
    splitter = find_splitter(name, minimum_area=0).load("cpu")
    assert len(splitter.split(None, Segmentation.from_labels(np.zeros((2, 3), int)))) == 0
    nameless = splitter.split(None, Segmentation.from_labels(np.array([[5, 0, 5]])))
    assert [segment.category for segment in nameless] == [None, None]


@pytest.mark.parametrize("name", BASELINES)
def test_a_baseline_segments_nothing_without_a_map_of_classes(name) -> None:
    splitter = find_splitter(name).load("cpu")
    with pytest.raises(ModelError, match=f"{name} cannot tell which pixels are objects; give class masks"):
        splitter.segment(np.zeros((2, 2, 3), np.float32))
    assert splitter.segment(None, semantic_map()) == splitter.split(None, semantic_map())


def test_settings_reach_the_baseline() -> None:
    found = find_splitter("components", minimum_area=3).load("cpu").split(None, semantic_map())
    assert [(segment.category, segment.area) for segment in found] == [(SKY, 3), (CELL, 3)]
    assert found.provenance["settings"] == {"connectivity": 1, "minimum_area": 3}
    assert find_splitter("distance", prominence=2).settings == DistanceSettings(prominence=2.0)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("components", {"connectivity": 3}, "connectivity must be 1 or 2, got 3"),
        ("distance", {"connectivity": 0}, "connectivity must be 1 or 2, got 0"),
        ("distance", {"minimum_area": -1}, "minimum_area must be at least 0, got -1"),
        ("distance", {"prominence": 0.0}, "prominence must be above 0, got 0.0"),
        ("components", {"prominence": 1.0}, "no setting 'prominence'"),
        ("components", {"preset": "fine"}, "preset"),
        ("componts", {}, "no model 'componts'.*class masks are also split by components and distance"),
        ("threshold", {}, "method threshold, which cannot split class masks; give a model of the method baiseg"),
        ("learned", {}, "learned is a method that needs weights; give"),
        ("no/model/there", {}, "no model 'no/model/there'"),
    ],
)
def test_what_cannot_split_is_refused(name, settings, message) -> None:
    with pytest.raises(ModelError, match=message):
        find_splitter(name, **settings)


def test_a_method_with_a_way_to_split_is_taken(monkeypatch) -> None:
    monkeypatch.setitem(METHODS, "halves", replace(METHODS["threshold"], splits_masks=True))
    model = find_splitter("halves", levels=3)
    assert model.method == "halves"
    assert model.settings.levels == 3


def test_a_folder_that_is_called_like_a_baseline_is_a_folder_if_it_is_a_path(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("components").mkdir()
    assert find_splitter("components").method == "components"
    for name in ("./components", Path("components")):
        with pytest.raises(ModelError, match=r"config\.json"):
            find_splitter(name)


def test_by_default_distance_cuts_less_and_leaves_crumbs_out_and_components_nothing() -> None:
    assert find_splitter("distance").settings == DistanceSettings(minimum_area=20, prominence=8.0)
    assert find_splitter("components").settings == ComponentsSettings(minimum_area=0)
    classes = np.zeros((12, 30), np.int32)
    classes[2:7, 2:7] = classes[1, 12] = 1
    assert len(find_splitter("distance").load().split(None, Segmentation.from_labels(classes))) == 1
    assert len(find_splitter("components").load().split(None, Segmentation.from_labels(classes))) == 2
