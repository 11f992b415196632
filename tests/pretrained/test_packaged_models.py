"""Models with weights from end to end: a tiny entity network in a folder of packaged models."""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from upseg.batch.run import BatchSummary, segment_files
from upseg.cli import main
from upseg.errors import ModelError
from upseg.methods.entity import EntitySegmenter, EntitySettings
from upseg.methods.entity.network import EntityNetwork
from upseg.models import folders as model_folders
from upseg.models.folders import ModelConfig, read_config
from upseg.models.registry import find_model, load_model, settings_class
from upseg.models.saving import save_pretrained
from upseg.segmentation import Segmentation
from upseg.split.baselines import PHOTOS_MODEL

SETTINGS = {"backbone": "test_convnext", "channels": 8, "dimensions": 6, "size": None, "bandwidth": 5.0, "threads": 1}
OWN = sorted(model_folders.packaged_models().values())
IMAGE = np.random.default_rng(0).integers(0, 256, (9, 14, 3), np.uint8)


@pytest.fixture(scope="module")
def package(tmp_path_factory) -> Path:
    """A folder with the packaged model `specks`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        weights = EntityNetwork("test_convnext", 8, 6).state_dict()
    folder = tmp_path_factory.mktemp("models")
    training = {"data": "nothing at all"}
    save_pretrained(folder / "specks", ModelConfig("entity", SETTINGS, training=training), weights, half=True)
    return folder


@pytest.fixture(autouse=True)
def _packaged(package, monkeypatch) -> Iterator[None]:
    monkeypatch.setattr(model_folders, "PACKAGED_MODELS", package)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return


def run(paths: Path, output: Path, **options: object) -> BatchSummary:
    return segment_files([paths], output, **{"model": "specks", "device": "cpu", "formats": ("png",), **options})


def test_a_packaged_model_is_found_by_its_name(package) -> None:
    segmenter = load_model("specks", "cpu")
    assert isinstance(segmenter, EntitySegmenter)
    assert segmenter.settings == EntitySettings(**SETTINGS)
    assert settings_class("specks") is EntitySettings
    model = find_model("specks", bandwidth=45)
    assert model.settings.bandwidth == 45.0
    assert model.weights == package / "specks" / "model.safetensors"
    assert model.training == {"data": "nothing at all"}
    by_folder = load_model(package / "specks", "cpu")
    assert by_folder.segment(IMAGE) == segmenter.segment(IMAGE)
    assert all(p.dtype == torch.float32 for p in segmenter.network.parameters())


def test_a_name_means_the_packaged_model_and_a_path_the_folder(package, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("specks").mkdir()
    assert find_model("specks").method == "entity"
    for path in ("./specks", Path("specks")):
        with pytest.raises(ModelError, match=r"config.json: there is no such file"):
            find_model(path)


@pytest.mark.parametrize("folder", OWN, ids=lambda folder: folder.name)
def test_the_models_that_come_with_upseg_are_small_and_say_what_they_are(folder) -> None:
    assert {path.name for path in folder.iterdir()} <= {"config.json", "model.safetensors", "README.md"}
    model, weights = find_model(folder), folder / "model.safetensors"
    assert weights.exists() == model.implementation.learned
    assert not weights.exists() or weights.stat().st_size <= 20_000_000
    assert model.description
    assert model.training["data"]
    classes = {"semantic_map": np.ones(IMAGE.shape[:2], int)} if read_config(folder).only_splits else {}
    assert model.load("cpu").segment(IMAGE, **classes).shape == IMAGE.shape[:2]


def test_the_model_of_class_masks_segments_nothing_without_them() -> None:
    folder = next(folder for folder in OWN if folder.name == PHOTOS_MODEL)
    assert read_config(folder).only_splits
    with pytest.raises(ModelError, match="give it class masks with `upseg split`"):
        load_model(folder, "cpu").segment(IMAGE)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("speks", r"no model 'speks' \(did you mean specks\?\); give one of dynaseg, .*specks, a model folder"),
        ("entity", r"needs weights; give one of the models that come with upseg \(specks\), a model folder, or"),
    ],
)
def test_a_name_that_is_no_model_leads_to_the_packaged_ones(name, message) -> None:
    with pytest.raises(ModelError, match=message):
        load_model(name)


def test_a_fingerprint_tells_weights_and_settings_apart(package, tmp_path) -> None:
    first = find_model("specks").fingerprint()
    assert first == find_model(package / "specks").fingerprint() == find_model("specks", bandwidth=5).fingerprint()
    assert first != find_model("specks", bandwidth=21.0).fingerprint()
    state = {key: value.clone() for key, value in load_model("specks", "cpu").network.state_dict().items()}
    same = save_pretrained(tmp_path / "same", ModelConfig("entity", SETTINGS), state, half=True)
    assert find_model(same).fingerprint() == first
    next(iter(state.values())).view(-1)[0] += 1
    other = save_pretrained(tmp_path / "other", ModelConfig("entity", SETTINGS), state, half=True)
    assert find_model(other).fingerprint() != first


def test_what_was_segmented_is_skipped_until_the_model_changes(tmp_path, photos) -> None:
    folder = photos("a.png", "b.png")
    assert run(folder, tmp_path / "out").counts()["done"] == 2
    assert run(folder, tmp_path / "out").counts()["skipped"] == 2
    assert run(folder, tmp_path / "out", settings={"bandwidth": 30.0}).counts()["replaced"] == 2
    result = Segmentation.load(tmp_path / "out" / "a.png")
    assert result.provenance["settings"]["bandwidth"] == 30
    assert result.provenance["method"] == "entity"


@pytest.mark.slow  # each process imports torch and timm
def test_several_workers_give_the_same_bytes(tmp_path, photos) -> None:
    folder = photos("a.png", "b.png", "c.png")
    one = run(folder, tmp_path / "one", formats=("png", "coco"))
    two = run(folder, tmp_path / "two", formats=("png", "coco"), workers=2)
    assert one.counts()["done"] == two.counts()["done"] == 3
    for path in (tmp_path / "one").glob("[!.]*"):
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()
    assert [result.segments for result in one.results] == [result.segments for result in two.results]


@pytest.fixture
def segment(monkeypatch, capsys, photos, tmp_path) -> Callable[..., tuple[int, str, str]]:
    """`upseg segment a.png --model specks ...` in a folder with the image."""
    monkeypatch.chdir(photos("a.png"))

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["upseg", "segment", "a.png", "-m", "specks", "--device", "cpu", *arguments])
        with pytest.raises(SystemExit) as end:
            main()
        captured = capsys.readouterr()
        return end.value.code or 0, captured.out, captured.err

    return call


def test_the_command_line_uses_the_models_settings_and_changes_them(segment) -> None:
    code, out, err = segment("--json")
    assert (code, err) == (0, "")
    [row] = json.loads(out)["images"]
    result = Segmentation.load(row["outputs"][0])
    assert len(result) == row["segments"]
    assert result.provenance["settings"]["bandwidth"] == 5
    assert result.provenance["settings"]["backbone"] == "test_convnext"
    assert segment("--set", "bandwidth=90", "--seed", "3", "-o", "wide")[0] == 0
    wide = Segmentation.load(Path("wide") / "a.png")
    assert (wide.provenance["settings"]["bandwidth"], wide.provenance["settings"]["seed"]) == (90, 3)
    assert len(wide) == 1 < len(result)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--set", "bandwith=30"), "no setting 'bandwith' (did you mean bandwidth?)"),
        (("--set", "bandwidth=120"), "bandwidth must be above 0 and at most 90"),
        (("--set", "channels=16"), "these are not the weights of the network that the settings describe"),
        (("--detail", "0.3"), "no setting 'detail'"),
        (("--preset", "paper"), "EntitySettings has no presets"),
    ],
)
def test_settings_that_do_not_fit_the_model_are_one_clear_error(segment, arguments, message) -> None:
    code, out, err = segment(*arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert "Traceback" not in err
