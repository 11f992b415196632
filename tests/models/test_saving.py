from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from safetensors.torch import load_file, save_file

from tests.models.learned import BAND, BandNetwork, BandSegmenter, BandSettings
from upseg.errors import ModelError
from upseg.images.options import ReadingOptions
from upseg.models import registry as models
from upseg.models.folders import ModelConfig, read_config
from upseg.models.learned import Steps
from upseg.models.registry import find_model, load_model
from upseg.models.saving import load_weights, save_pretrained
from upseg.segmentation import Category

CELL = Category(3, "cell")
IMAGE = np.array([[0.1, 0.3, 0.9]])


@pytest.fixture(autouse=True)
def _band(monkeypatch) -> None:
    monkeypatch.setitem(models.METHODS, "band", BAND)


def weights(shift: float = 0.2, bands: int = 2) -> dict[str, torch.Tensor]:
    return {"shift": torch.full((bands,), shift), "count": torch.tensor(bands)}


def save(folder: Path, **changes: object) -> Path:
    arguments = {"method": "band", "weights": weights(), "half": False, **changes}
    stored, half = arguments.pop("weights"), arguments.pop("half")
    return save_pretrained(folder, ModelConfig(**arguments), stored, half=half)


def test_a_saved_model_is_loaded_by_its_folder(tmp_path) -> None:
    training = {"data": "grey squares", "epochs": 3}
    folder = save(tmp_path / "m", settings={"limits": (0.2, 0.6)}, categories=(CELL,), training=training)
    segmenter = load_model(folder, "cpu")
    assert isinstance(segmenter, BandSegmenter)
    assert segmenter.settings == BandSettings(limits=(0.2, 0.6))
    assert segmenter.training == training
    result = segmenter.segment(IMAGE)
    assert result.labels.tolist() == [[1, 1, 0]]
    assert result[1].category == CELL
    assert segmenter.network.count.dtype == torch.int64


def test_the_same_model_gives_the_same_bytes(tmp_path) -> None:
    one, two = save(tmp_path / "a"), save(tmp_path / "b", weights=dict(reversed(weights().items())))
    for name in ("config.json", "model.safetensors"):
        assert (one / name).read_bytes() == (two / name).read_bytes()
    assert find_model(one).fingerprint() == find_model(two).fingerprint()


def test_half_precision_is_half_the_size_and_is_computed_with_in_full(tmp_path) -> None:
    full = save(tmp_path / "full", weights=weights(0.1, 5000), settings={"bands": 5000})
    half = save(tmp_path / "half", weights=weights(0.1, 5000), settings={"bands": 5000}, half=True)
    sizes = [(folder / "model.safetensors").stat().st_size for folder in (full, half)]
    assert sizes[0] - sizes[1] == 2 * 5000
    stored = load_file(half / "model.safetensors")
    assert (stored["shift"].dtype, stored["count"].dtype) == (torch.float16, torch.int64)
    loaded = BandSegmenter.from_pretrained(half, "cpu").network.shift
    assert loaded.dtype == torch.float32
    assert torch.equal(loaded, torch.full((5000,), 0.1).half().float())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_other_floats_become_what_the_network_computes_with(tmp_path, dtype) -> None:
    save_file({"shift": torch.tensor([0.5, 1.5], dtype=dtype), "count": torch.tensor(2)}, tmp_path / "w")
    network = BandNetwork(2)
    load_weights(network, tmp_path / "w")
    assert network.shift.dtype == torch.float32
    assert network.shift.tolist() == [0.5, 1.5]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"weights": weights(bands=3)},
            r"1 of another shape or type \(shift is float \(3,\), not float \(2,\)\); the settings of",
        ),
        ({"weights": {"shift": torch.zeros(2)}}, r"model.safetensors: these are not .* 1 missing \(count\)"),
        ({"weights": weights() | {"scale": torch.ones(1)}}, r"1 unknown \(scale\)"),
        ({"weights": {f"w{i}": torch.ones(1) for i in range(5)}}, r"2 missing .*; 5 unknown \(w0, w1, w2, \.\.\.\)"),
        ({"weights": weights() | {"count": torch.tensor(2.0)}}, r"count is float \(\), not int64 \(\)"),
        ({"weights": weights(float("inf"))}, "shift has values that are not finite: the training went wrong"),
        ({"weights": weights(1e6), "half": True}, "too large for 16-bit floats; save the model without half"),
        ({"settings": {"band": 2}}, r"no setting 'band' \(did you mean bands"),
        ({"settings": {"bands": "2"}}, "bands must be a whole number"),
        ({"method": "bend"}, "no method 'bend'"),
        ({"method": "threshold"}, "the method threshold takes no weights"),
    ],
)
def test_what_makes_no_model_is_refused_and_leaves_the_old_one(tmp_path, changes, message) -> None:
    folder = save(tmp_path / "model")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(ModelError, match=message) as caught:
        save(folder, **changes)
    assert ".partial" not in str(caught.value)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_broken_weights_are_one_clear_error(tmp_path) -> None:
    (tmp_path / "w").write_bytes(b"\x80\x04pickle")
    with pytest.raises(ModelError, match="w: this is not a readable safetensors file"):
        load_weights(BandNetwork(2), tmp_path / "w")
    with pytest.raises(ModelError, match="absent: this is not a readable safetensors file"):
        load_weights(BandNetwork(2), tmp_path / "absent")
    save_file(weights(float("nan")), tmp_path / "w")
    network = BandNetwork(2)
    with pytest.raises(ModelError, match="w: the weight shift has values that are not finite"):
        load_weights(network, tmp_path / "w")
    assert network.shift.tolist() == [0, 0]


def test_weights_that_share_memory_are_saved_each(tmp_path) -> None:
    shared = torch.arange(4.0)
    folder = save(tmp_path / "m", weights={"shift": shared[::2], "count": torch.tensor(2)})
    assert load_file(folder / "model.safetensors")["shift"].tolist() == [0, 2]


def test_a_segmenter_saves_itself_with_how_it_came_to_be(tmp_path) -> None:
    first = save(tmp_path / "a", training={"data": "squares"}, description="for squares", categories=(CELL,))
    segmenter = BandSegmenter.from_pretrained(first, "cpu", limits=[0.5, 1.0])
    assert (segmenter.training, segmenter.description) == ({"data": "squares"}, "for squares")
    second = segmenter.save_pretrained(tmp_path / "b")
    again = find_model(second)
    assert again.settings == BandSettings(limits=(0.5, 1.0))
    assert (again.training, again.description, again.categories) == ({"data": "squares"}, "for squares", (CELL,))
    assert BandSegmenter.from_pretrained(second, "cpu").segment(IMAGE) == segmenter.segment(IMAGE)


def test_a_model_of_another_method_is_refused() -> None:
    with pytest.raises(ModelError, match=r"threshold is a model of the method threshold, BandSegmenter takes those of"):
        BandSegmenter.from_pretrained("threshold")


def test_a_model_with_a_setting_of_a_former_name_loads_and_is_saved_by_the_new_one(tmp_path) -> None:
    folder = save(tmp_path / "old", settings={"range": [0.0, 0.4]})
    assert BandSegmenter.from_pretrained(folder, "cpu").settings.limits == (0.0, 0.4)
    changed = BandSegmenter.from_pretrained(folder, "cpu", limits=[0.0, 0.6])  # what is asked for now wins
    assert changed.settings.limits == (0.0, 0.6)
    assert read_config(changed.save_pretrained(tmp_path / "new")).settings["limits"] == [0.0, 0.6]


def test_a_segmenter_takes_weights_or_a_network_and_checks_its_classes(tmp_path) -> None:
    save_file(weights(), tmp_path / "w")
    network = BandNetwork(2).eval()
    assert BandSegmenter(BandSettings(), network=network).network is network
    for wrong in ({}, {"network": network, "weights": tmp_path / "w"}):
        with pytest.raises(ValueError, match="give either weights"):
            BandSegmenter(BandSettings(), **wrong)
    with pytest.raises(ValueError, match="the network is in training mode; call its eval"):
        BandSegmenter(BandSettings(), network=BandNetwork(2))
    with pytest.raises(ModelError, match="a band has one class"):
        BandSegmenter(BandSettings(), weights=tmp_path / "w", categories=(CELL, Category(4, "gap")))


def test_provenance_is_method_settings_as_json_has_them_and_facts(tmp_path) -> None:
    found = load_model(save(tmp_path / "m"), "cpu").segment(np.full((2, 2), 0.5))
    assert list(found.provenance) == ["method", "settings", "mean"]
    assert found.provenance["settings"] == {"bands": 2, "limits": [0.25, 0.75]}


def test_steps_are_counted_and_told() -> None:
    told: list[tuple[int, int]] = []
    step = Steps(2, lambda done, total: told.append((done, total)))
    step()
    step()
    Steps(1, None)()
    assert told == [(1, 2), (2, 2)]


def test_a_model_reads_files_as_it_was_trained_and_says_so(tmp_path) -> None:
    stored = np.zeros((4, 4, 2), np.uint16)
    stored[..., 1] = np.arange(16).reshape(4, 4)
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="minisblack", planarconfig="contig")
    reading = ReadingOptions((1,), normalize="minmax")
    folder = save(tmp_path / "m", weights=weights(0.0), reading=reading)
    segmenter = BandSegmenter.from_pretrained(folder, "cpu")
    found = segmenter.segment(tmp_path / "a.tif")
    expected = np.arange(16).reshape(4, 4) / 15
    assert ((found.labels > 0) == ((expected >= 0.25) & (expected <= 0.75))).all()
    assert found.provenance["normalize"] == "minmax"
    assert segmenter.segment(reading.read(tmp_path / "a.tif")) == found
    assert find_model(segmenter.save_pretrained(tmp_path / "n")).reading == reading
    assert find_model(folder).fingerprint() != find_model(save(tmp_path / "o", weights=weights(0.0))).fingerprint()
