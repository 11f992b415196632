"""Model folders from elsewhere: one clear error before memory is taken."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch

import upseg
from upseg.errors import ModelError
from upseg.methods.entity.extensions.cells import CellSegmenter
from upseg.models.checkpoints import load_checkpoint
from upseg.models.folders import packaged_models

NUCLEI = packaged_models()["nuclei"]


def folder_with(tmp_path: Path, text: str | bytes) -> Path:
    (tmp_path / "config.json").write_bytes(text.encode() if isinstance(text, str) else text)
    (tmp_path / "model.safetensors").symlink_to(NUCLEI / "model.safetensors")
    return tmp_path


def changed(**settings: Any) -> str:
    return json.dumps({"method": "entity", "settings": {"backbone": "resnet10t", "channels": 64} | settings})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"threads": 10**9}, "threads must be at most 1024, got 1000000000"),
        ({"channels": 2**40}, "channels must be at most 4096"),
        ({"dimensions": 10**30}, "dimensions must be at most 4096, got one of more than 30 digits"),
        ({"size": 10**7}, "size must be at most 16384"),
        ({"tile": 2**62}, "tile must be at most 1048576"),
        ({"seed": 2**64}, "seed must be at most"),
        ({"memory": 1e300}, "memory must be at most"),
        ({"bandwidth": float("inf")}, "no number of JSON"),
        ({"scales": [1.0 + n for n in range(1000)]}, "scales must have at most 256 entries"),
        ({"channels": 4096, "dimensions": 4096}, "not the weights of the network that the settings describe"),
        ({"backbone": "x" * 10_000}, "x"),
    ],
)
def test_absurd_settings_are_named(tmp_path, settings, message) -> None:
    with pytest.raises(ModelError, match=message) as error:
        upseg.load_model(folder_with(tmp_path, changed(**settings)), "cpu")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"method": "entity", "settings": ' + '{"a":' * 50_000 + "1" + "}" * 50_001,
        b"\xff\xfe{}",
        '{"method": "entity", "settings": {"seed": ' + "9" * 6000 + "}}",
        '{"method": "entity", "classes": {"a": 1}}',
        " " * (5 << 20) + "{}",
    ],
)
def test_a_configuration_that_is_no_configuration_gets_one_line(tmp_path, text) -> None:
    with pytest.raises(ModelError) as error:
        upseg.load_model(folder_with(tmp_path, text), "cpu")
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 1000


def test_a_pipe_in_place_of_a_configuration_does_not_hang(tmp_path) -> None:
    os.mkfifo(tmp_path / "config.json")
    with pytest.raises(ModelError, match="not a regular file"):
        upseg.load_model(tmp_path, "cpu")


def test_weights_are_compared_before_the_network_takes_memory(tmp_path, monkeypatch) -> None:
    """The first of the two networks that are made has no values; with shapes that differ there is no second."""
    made: list[str] = []
    original = CellSegmenter.make_network

    def watched(self: CellSegmenter) -> Any:
        network = original(self)
        made.append(next(network.parameters()).device.type)
        return network

    monkeypatch.setattr(CellSegmenter, "make_network", watched)
    upseg.load_model("nuclei", "cpu")
    assert made == ["meta", "cpu"]
    made.clear()
    text = json.dumps({"method": "cells", "settings": {"channels": [2048, 64, 48, 32]}})
    with pytest.raises(ModelError, match="of another shape"):
        upseg.load_model(folder_with(tmp_path, text), "cpu")
    assert made == ["meta"]


def test_an_old_style_checkpoint_is_refused_in_one_line(tmp_path) -> None:
    path = tmp_path / "old.ckpt"
    torch.save({"state_dict": {}, "x": Path("y")}, path, _use_new_zipfile_serialization=False)
    with pytest.raises(ModelError) as error:
        load_checkpoint(path)
    torch.save({"state_dict": {}, "x": Path("y")}, tmp_path / "new.ckpt")
    with pytest.raises(ModelError) as other:
        load_checkpoint(tmp_path / "new.ckpt")
    for message in (str(error.value), str(other.value)):
        assert "\n" not in message
        assert "weights_only" not in message
