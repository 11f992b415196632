"""The networks of learned methods as files for other engines, against torch on sizes that no stride divides."""

import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.methods.contract import drawn_image
from upseg.errors import ModelError
from upseg.methods.baiseg import BaisegSegmenter, BaisegSettings
from upseg.methods.baiseg.network import BaisegNetwork
from upseg.methods.baiseg.targets import class_count
from upseg.methods.entity import EntitySegmenter, EntitySettings
from upseg.methods.entity.extensions.cells import CellSegmenter, CellSettings
from upseg.methods.entity.extensions.cells.network import CellNetwork
from upseg.methods.entity.network import EntityNetwork
from upseg.methods.panoptic import PanopticSegmenter, PanopticSettings
from upseg.methods.panoptic.network import PanopticNetwork, output_channels
from upseg.models.engines import ENGINES, FlatNetwork, export_network, run_by
from upseg.models.folders import NETWORK_NAME
from upseg.models.learned import LearnedSegmenter
from upseg.models.registry import find_model, load_model
from upseg.segmentation import Category

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
CLASSES = (Category(1, "cat"), Category(2, "sky", is_thing=False))


def cells() -> LearnedSegmenter[Any, Any]:
    settings = CellSettings(backbone="mobilenetv3_small_050", channels=(8, 8, 8, 8), foreground=0.4, minimum_area=0.0)
    return CellSegmenter(settings, network=CellNetwork(settings.backbone, settings.channels).eval())


def entity() -> LearnedSegmenter[Any, Any]:
    settings = EntitySettings(backbone="test_resnet", channels=8, dimensions=6)
    network = EntityNetwork(settings.backbone, settings.channels, settings.dimensions, settings.positions)
    return EntitySegmenter(settings, network=network.eval())


def panoptic() -> LearnedSegmenter[Any, Any]:
    settings = PanopticSettings(backbone="test_vit", layers=(1, 2), decoder_channels=(8, 6, 4), size=40, grid=(12, 12))
    channels = output_channels(settings, CLASSES)
    network = PanopticNetwork(settings.backbone, settings.layers, settings.decoder_channels, channels)
    return PanopticSegmenter(settings, categories=CLASSES, network=network.eval())


def baiseg() -> LearnedSegmenter[Any, Any]:
    settings = BaisegSettings(backbone="test_resnet", width=4, cascade=2, hidden=4, semantic_width=4)
    network = BaisegNetwork(settings, class_count(CLASSES, settings.background))
    return BaisegSegmenter(settings, categories=CLASSES, network=network.eval())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of cells that has its network as ONNX."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("engines")
    return exported(cells(), path / "trained", path / "cells")


def exported(model: LearnedSegmenter[Any, Any], trained: Path, folder: Path) -> Path:
    """A copy of a model with its network, by the command, in a process without the tests' checks of types."""
    model.save_pretrained(trained)
    command = [sys.executable, "-m", "upseg", "export-model", str(trained), str(folder), "--format", "onnx"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return folder


@pytest.mark.parametrize("make", [entity, baiseg])
def test_every_method_s_network_can_be_written(make: Any, tmp_path: Path) -> None:
    folder = exported(make(), tmp_path / "trained", tmp_path / "model")  # which compares five sizes with torch
    assert (folder / NETWORK_NAME).stat().st_size > 1000


def test_a_transformer_s_positions_cannot_be_written_for_any_size(tmp_path: Path) -> None:
    panoptic().save_pretrained(tmp_path / "trained")
    command = [sys.executable, "-m", "upseg", "export-model", str(tmp_path / "trained"), str(tmp_path / "model")]
    done = subprocess.run([*command, "--format", "onnx"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "cannot write this network as ONNX" in done.stderr
    assert done.stderr.count("\n") <= 2
    assert not (tmp_path / "model" / NETWORK_NAME).exists()


def test_a_file_of_other_weights_is_found_out(folder: Path) -> None:
    path, other = folder / NETWORK_NAME, cells().network
    torch.nn.init.normal_(other.head.bias)
    with pytest.raises(ModelError, match="gives other maps than the model's weights do"):
        run_by("onnxruntime", other, path, 1)


def test_a_network_without_one_pass_is_refused(tmp_path: Path) -> None:
    class Detector(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> Mapping[str, torch.Tensor]:
            raise ValueError("there are losses in training mode alone")

    with pytest.raises(ModelError, match="no single pass"):
        export_network(Detector(), tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("engine", ENGINES)
def test_another_engine_gives_the_same_segments(engine: str, folder: Path) -> None:
    pytest.importorskip(engine)
    image = drawn_image(90, 70)
    model = load_model(folder, "cpu", engine=engine)
    found, expected = model.segment(image), load_model(folder, "cpu", engine="torch").segment(image)
    assert found.provenance["engine"] == engine
    assert "engine" not in expected.provenance
    assert np.mean(found.labels == expected.labels) > 0.99
    assert isinstance(model, LearnedSegmenter)
    assert len(model.network.state_dict()) == len(cells().network.state_dict())  # it can be saved again


def test_auto_takes_an_engine_if_it_was_faster(folder: Path, tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    model = onnx.load(copy / NETWORK_NAME)
    for ratio, expected in (("1.50", "onnxruntime"), ("0.70", "torch")):
        next(entry for entry in model.metadata_props if entry.key == "upseg.times_as_fast").value = ratio
        onnx.save(model, copy / NETWORK_NAME)
        assert find_model(copy).chosen_engine("cpu") == expected
    assert find_model(copy).chosen_engine("cuda") == "torch"
    (copy / NETWORK_NAME).unlink()
    assert find_model(copy).chosen_engine("cpu") == "torch"


def test_results_of_different_engines_are_not_mistaken_for_each_other(folder: Path) -> None:
    assert find_model(folder, engine="torch").fingerprint() != find_model(folder, engine="onnxruntime").fingerprint()


@pytest.mark.parametrize(
    ("engine", "message"),
    [("tensorrt", "there is no engine 'tensorrt'"), ("onnxruntime", "has no network.onnx: upseg export-model")],
)
def test_what_is_not_there_is_named(engine: str, message: str, tmp_path: Path) -> None:
    plain = cells().save_pretrained(tmp_path / "plain")
    with pytest.raises(ModelError, match=message):
        load_model(plain, "cpu", engine=engine)


def test_a_damaged_file_is_one_clear_error(folder: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    (copy / NETWORK_NAME).write_bytes(b"not a network")
    with pytest.raises(ModelError, match=r"network\.onnx cannot be read"):
        load_model(copy, "cpu", engine="onnxruntime")


def test_new_weights_leave_no_old_network_beside_them(folder: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    cells().save_pretrained(copy)
    assert not (copy / NETWORK_NAME).exists()


def test_the_outputs_of_a_network_are_in_the_order_of_their_names() -> None:
    network = cells().network
    with torch.inference_mode():
        image = torch.rand(1, 3, 40, 33)
        maps, flat = network(image), FlatNetwork(network)(image)
    assert torch.equal(flat[2], maps.distance)
