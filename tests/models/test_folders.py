import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from upseg.errors import ModelError
from upseg.models import folders as model_folders
from upseg.models.folders import ModelConfig, packaged_models, read_config, written_folder
from upseg.segmentation import Category

OLD = ModelConfig("band", {"bands": 3})


def write(folder: Path, config: ModelConfig, weights: bytes = b"weights") -> Path:
    with written_folder(folder, config) as path:
        path.write_bytes(weights)
    return folder


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
json_objects = st.dictionaries(st.text(), json_values, max_size=3)


@settings(max_examples=40, deadline=None)
@given(st.text(min_size=1), json_objects, json_objects, st.lists(st.text(), max_size=3), st.text(), st.booleans())
def test_what_is_written_is_read_again(tmp_path_factory, method, own, training, names, description, is_thing) -> None:
    categories = tuple(Category(number, name, is_thing) for number, name in enumerate(names))
    config = ModelConfig(method, own, categories, training, description)
    folder = write(tmp_path_factory.mktemp("model"), config)
    assert read_config(folder) == config
    assert (folder / "model.safetensors").read_bytes() == b"weights"


def test_a_configuration_names_only_what_it_has(tmp_path) -> None:
    folder = write(tmp_path / "deep" / "model", OLD)
    assert json.loads((folder / "config.json").read_text()) == {"method": "band", "settings": {"bands": 3}}
    assert set(files(folder)) == {"config.json", "model.safetensors"}


def test_a_model_is_replaced_and_other_files_stay(tmp_path) -> None:
    folder = write(tmp_path / "model", OLD)
    (folder / "notes.txt").write_text("mine")
    write(folder, ModelConfig("band", {"bands": 4}), b"new")
    assert read_config(folder).settings == {"bands": 4}
    assert files(folder)["model.safetensors"] == b"new"
    assert files(folder)["notes.txt"] == b"mine"
    assert len(files(folder)) == 3


@pytest.mark.parametrize("error", [KeyboardInterrupt, ModelError("no"), OSError(28, "No space left on device")])
def test_a_model_stays_as_it_was_when_writing_fails(tmp_path, error) -> None:
    folder = write(tmp_path / "model", OLD)
    before = files(folder)
    kind = error if isinstance(error, type) else ModelError
    message = "model: the model cannot be written .No space left" if isinstance(error, OSError) else None

    def fail() -> None:
        with written_folder(folder, ModelConfig("band")) as path:
            path.write_bytes(b"half of it")
            raise error

    with pytest.raises(kind, match=message):
        fail()
    assert files(folder) == before


@pytest.mark.parametrize(
    "training", [{"loss": float("nan")}, {"data": {1, 2}}, {"data": "\udcff"}, {"file": Path("a")}]
)
def test_what_json_cannot_hold_is_refused_before_anything_is_written(tmp_path, training) -> None:
    with pytest.raises(ModelError, match="settings and training of a model must be what JSON can hold"):
        write(tmp_path / "model", ModelConfig("band", training=training))
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    "contents",
    [{"thesis.tex": "x"}, {"config.json": '{"architectures": []}', "model.safetensors": ""}, {"config.json": "{"}],
)
def test_a_folder_that_is_no_model_is_left_alone(tmp_path, contents) -> None:
    for name, text in contents.items():
        (tmp_path / name).write_text(text)
    before = files(tmp_path)
    with pytest.raises(ModelError, match=r"is not empty and not a model folder \(config.json: .*give a new folder"):
        write(tmp_path, OLD)
    assert files(tmp_path) == before


def test_a_file_is_no_folder_and_neither_is_one_in_it(tmp_path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ModelError, match="file is a file; give the folder"):
        write(tmp_path / "file", OLD)
    with pytest.raises(ModelError, match="the model cannot be written"):
        write(tmp_path / "file" / "model", OLD)


@pytest.mark.parametrize("leftovers", [(), ("model.safetensors",), ("model.safetensors", ".config.json.12.partial")])
def test_what_a_killed_run_left_is_no_obstacle(tmp_path, leftovers) -> None:
    for name in leftovers:
        (tmp_path / name).touch()
    assert read_config(write(tmp_path, OLD)) == OLD


def test_there_is_never_an_old_configuration_beside_new_weights(tmp_path, monkeypatch) -> None:
    folder = write(tmp_path / "model", OLD)
    seen = []
    rename = Path.replace

    def watched(source: Path, target: Path) -> Path:
        seen.append((target.name, (folder / "config.json").exists()))
        return rename(source, target)

    monkeypatch.setattr(Path, "replace", watched)
    write(folder, ModelConfig("band"))
    assert seen == [("model.safetensors", False), ("config.json", False)]


def test_packaged_models_are_the_folders_with_a_configuration(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(model_folders, "PACKAGED_MODELS", tmp_path / "models")
    assert packaged_models() == {}
    for name in ("nuclei", "leaves"):
        write(tmp_path / "models" / name, OLD)
    (tmp_path / "models" / "__pycache__").mkdir()
    assert list(packaged_models().items()) == [
        ("leaves", tmp_path / "models" / "leaves"),
        ("nuclei", tmp_path / "models" / "nuclei"),
    ]


def test_packaged_models_lie_in_the_package() -> None:
    import upseg

    assert Path(upseg.__file__).parent / "pretrained" == model_folders.PACKAGED_MODELS
