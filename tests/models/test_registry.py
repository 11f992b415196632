import json
import pickle
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from tests.batch.segmenters import ThresholdSegmenter, ThresholdSettings
from upseg.errors import ModelError
from upseg.models.registry import METHODS, find_model, load_model, resolve_device, segment, settings_class
from upseg.segmentation import Category, Segmenter


def model_folder(folder: Path, config: object, *, offset: float | None = None) -> Path:
    folder.mkdir(exist_ok=True)
    text = config if isinstance(config, str) else json.dumps(config)
    (folder / "config.json").write_text(text)
    if offset is not None:
        save_file({"offset": np.array(offset, np.float32)}, folder / "model.safetensors")
    return folder


def test_a_method_is_found_by_name_with_its_settings() -> None:
    segmenter = load_model("threshold", device="cpu", levels=3)
    assert isinstance(segmenter, ThresholdSegmenter)
    assert isinstance(segmenter, Segmenter)
    assert segmenter.settings == ThresholdSettings(levels=3)
    assert segmenter.device == "cpu"
    assert load_model("threshold", "cpu", preset="coarse", seed=1).settings == ThresholdSettings(levels=2, seed=1)


def test_an_image_is_segmented_in_one_call() -> None:
    image = np.array([[0, 255]], np.uint8)
    result = segment(image, "threshold", device="cpu", levels=2)
    assert result.labels.tolist() == [[1, 2]]
    assert len(segment(image, "threshold", device="cpu", levels=1)) == 1


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("treshold", r"no model 'treshold' \(did you mean threshold\?\); give one of dynaseg"),
        ("zzz", r"no model 'zzz'; give one of dynaseg"),
        ("./zzz/y", r"no model './zzz/y'"),
        ("learned", r"learned is a method that needs weights; give a model folder"),
    ],
)
def test_a_model_that_does_not_exist_is_named_with_those_that_do(name, message) -> None:
    with pytest.raises(ModelError, match=message):
        load_model(name)


def test_a_setting_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ModelError, match="no setting 'level'"):
        load_model("threshold", level=3)


def test_the_folder_of_a_training_is_the_model_in_it(tmp_path) -> None:
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    model_folder(tmp_path / "run" / "model", {"method": "threshold", "settings": {"levels": 2}})
    assert load_model(tmp_path / "run", "cpu").settings == ThresholdSettings(levels=2)


def test_a_model_folder_is_loaded_with_settings_of_its_own(tmp_path) -> None:
    folder = model_folder(tmp_path / "model", {"method": "threshold", "settings": {"levels": 2, "seed": 5}})
    assert load_model(folder, "cpu").settings == ThresholdSettings(levels=2, seed=5)
    assert load_model(str(folder), "cpu", seed=6).settings == ThresholdSettings(levels=2, seed=6)
    assert settings_class(str(folder)) is ThresholdSettings
    assert settings_class("threshold") is ThresholdSettings


def test_weights_and_classes_reach_a_learned_method(tmp_path) -> None:
    classes = [{"id": 7, "name": "cell", "is_thing": True}]
    config = {"method": "learned", "classes": classes, "training": {"data": "cells"}}
    folder = model_folder(tmp_path / "model", config, offset=0.3)
    result = load_model(folder, "cpu", threshold=0.6).segment(np.array([[0.2, 0.4]]))
    assert result.labels.tolist() == [[0, 1]]
    assert result[1].category == Category(7, "cell")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("{", "not a readable JSON file"),
        ("[]", "must be JSON objects"),
        ('{"method": "threshold", "settings": []}', "must be JSON objects"),
        ({"settings": {}}, "method and description must be texts, got None"),
        ({"method": "threshold", "description": 3}, "must be texts, got 'threshold' and 3"),
        ({"method": "threshold", "training": "long"}, "must be JSON objects"),
        ({"method": "unet"}, "no method 'unet'; the methods are dynaseg"),
        ({"method": ["threshold"]}, "must be texts"),
        ({"method": "threshold", "setings": {}}, "unknown keys setings; a configuration has method, desc"),
        ({"method": "threshold", "settings": {"level": 3}}, "no setting 'level'"),
        ({"method": "threshold", "settings": {"levels": "3"}}, "levels must be a whole number"),
        ({"method": "threshold", "settings": {"levels": 0}}, "levels must be at least 1"),
        ({"method": "learned", "classes": [{"id": "1", "name": "a"}]}, "classes must be a list"),
        ({"method": "learned", "classes": [{"name": "a"}]}, "classes must be a list"),
        ({"method": "learned", "classes": 3}, "classes must be a list"),
        ({"method": "learned", "classes": [{"id": 1, "name": "a"}] * 2}, "each id once"),
    ],
)
def test_a_broken_configuration_is_refused_with_its_path(tmp_path, config, message) -> None:
    folder = model_folder(tmp_path / "model", config, offset=0.0)
    with pytest.raises(ModelError, match=rf"model/config.json: .*{message}"):
        load_model(folder)


def test_a_folder_without_configuration_and_a_file_are_no_models(tmp_path) -> None:
    with pytest.raises(ModelError, match=r"config.json: there is no such file; a model is a folder that has one"):
        load_model(tmp_path)
    (tmp_path / "model.pt").touch()
    with pytest.raises(ModelError, match=r"model.pt is a file; a model is a folder with config.json"):
        load_model(tmp_path / "model.pt")


def test_pickles_are_never_looked_at(tmp_path) -> None:
    folder = model_folder(tmp_path / "model", {"method": "learned"})
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({"offset": 0.0}))
    with pytest.raises(ModelError, match=r"has no model.safetensors; other kinds of weights are not read"):
        load_model(folder)


def test_weights_for_a_method_that_takes_none_are_refused(tmp_path) -> None:
    folder = model_folder(tmp_path / "model", {"method": "threshold"}, offset=0.0)
    with pytest.raises(ModelError, match="has weights or classes, but the method threshold takes none"):
        load_model(folder)


def test_a_model_on_the_hub_is_downloaded_without_anything_else(tmp_path, monkeypatch) -> None:
    folder = model_folder(tmp_path / "snapshot", {"method": "learned"}, offset=0.0)
    asked = []

    def download(repository: str, **options: object) -> str:
        asked.append((repository, options))
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    load_model("someone/cells", "cpu")
    load_model("someone/cells@v1.2", "cpu")
    files = ["config.json", "model.safetensors"]
    assert asked == [
        ("someone/cells", {"revision": None, "allow_patterns": files}),
        ("someone/cells", {"revision": "v1.2", "allow_patterns": files}),
    ]


@pytest.mark.parametrize("error", [OSError("offline"), ValueError("bad name"), ConnectionError()])
def test_a_failed_download_is_one_clear_error(monkeypatch, error) -> None:
    def download(*_: object, **__: object) -> str:
        raise error

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    with pytest.raises(ModelError, match=r"'someone/cells' cannot be downloaded .*download its folder elsewhere"):
        load_model("someone/cells")


def test_devices_are_resolved_and_checked(monkeypatch) -> None:
    assert resolve_device("cpu") == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert resolve_device("auto") == "cuda"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("auto") == "cpu"
    with pytest.raises(ModelError, match="the device 'abacus' cannot be used"):
        resolve_device("abacus")


def test_a_fingerprint_is_the_same_for_what_gives_the_same_results(tmp_path) -> None:
    plain = find_model("threshold")
    assert plain.fingerprint() == find_model("threshold", levels=4).fingerprint()
    assert plain.fingerprint() != find_model("threshold", levels=5).fingerprint()
    as_folder = model_folder(tmp_path / "a", {"method": "threshold"})
    assert plain.fingerprint() == find_model(as_folder).fingerprint()
    light = find_model(model_folder(tmp_path / "b", {"method": "learned"}, offset=0.1)).fingerprint()
    dark = find_model(model_folder(tmp_path / "b", {"method": "learned"}, offset=0.2)).fingerprint()
    assert light != dark


def test_every_method_has_a_description_and_says_where_it_lives() -> None:
    for method in METHODS.values():
        assert method.description
        assert ":" in method.settings
        assert ":" in method.segmenter
