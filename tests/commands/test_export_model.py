import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from tests.models.learned import BAND, BandSettings
from upseg.cli import main
from upseg.models import registry as models
from upseg.models.checkpoints import checkpoint_record
from upseg.models.folders import ModelConfig
from upseg.models.registry import find_model, load_model


@pytest.fixture
def run(monkeypatch, capsys) -> Callable[..., tuple[int, str, str]]:
    """Runs `upseg export-model` and returns its exit code, standard output and standard error."""
    monkeypatch.setitem(models.METHODS, "band", BAND)

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["upseg", "export-model", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        captured = capsys.readouterr()
        return end.value.code or 0, captured.out, captured.err

    return call


@pytest.fixture
def checkpoint(tmp_path) -> Path:
    state = {"network.shift": torch.tensor([0.1, 0.2]), "network.count": torch.tensor(2)}
    record = checkpoint_record(ModelConfig("band", asdict(BandSettings()), training={"data": "squares"}))
    torch.save({"state_dict": state, "upseg": record}, tmp_path / "last.ckpt")
    return tmp_path / "last.ckpt"


def test_a_checkpoint_becomes_a_model_folder(run, checkpoint, tmp_path) -> None:
    folder = tmp_path / "my models" / "squares"
    code, out, err = run(checkpoint, folder)
    assert (code, err) == (0, "")
    size = (folder / "model.safetensors").stat().st_size / 1e6
    assert out.splitlines() == [
        f"{folder}: a model of the method band, {size:.1f} MB of weights",
        f"Use it with: upseg segment PHOTO --model '{folder}'",
    ]
    assert load_model(folder, "cpu").network.shift.tolist() == pytest.approx([0.1, 0.2])
    assert {path.name for path in folder.iterdir()} == {"config.json", "model.safetensors"}


def test_what_is_said_on_the_command_line_is_in_the_model(run, checkpoint, tmp_path) -> None:
    options = ("--half", "--description", "for squares", "--set", "limits=[0, 1]")
    facts = ("--training", "data=many squares", "--training", "images=12", "--training", "license=cc0-1.0")
    code, out, _ = run(checkpoint, tmp_path / "model", *options, *facts, "--json")
    assert code == 0
    size = (tmp_path / "model" / "model.safetensors").stat().st_size
    assert json.loads(out) == {"model": str(tmp_path / "model"), "method": "band", "bytes": size}
    model = find_model(tmp_path / "model")
    assert model.settings == BandSettings(limits=(0.0, 1.0))
    assert model.training == {"data": "many squares", "images": 12, "license": "cc0-1.0"}
    assert model.description == "for squares"
    assert load_model(tmp_path / "model", "cpu").network.shift.tolist() == torch.tensor([0.1, 0.2]).half().tolist()


def test_a_model_is_replaced_by_its_next_version(run, checkpoint, tmp_path) -> None:
    assert run(checkpoint, tmp_path / "model")[0] == 0
    assert run(checkpoint, tmp_path / "model", "--description", "better")[0] == 0
    assert find_model(tmp_path / "model").description == "better"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("absent.ckpt", "model"), "absent.ckpt: there is no such file"),
        (("notes.txt", "model"), "notes.txt: this is not a checkpoint as `upseg train` saves it"),
        (("last.ckpt", "."), ". is not empty and not a model folder (config.json: there is no such file"),
        (("last.ckpt", "notes.txt"), "notes.txt is a file"),
        (("last.ckpt", "model", "--set", "band=2"), "no setting 'band' (did you mean bands?)"),
        (("last.ckpt", "model", "--set", "bands=3"), "shift is float (2,), not float (3,)"),
        (("last.ckpt", "model", "--training", "images"), "given as key=value, got 'images'"),
        (("last.ckpt", "model", "--training", "loss=NaN"), "what JSON can hold"),
        (("last.ckpt",), "directory"),
    ],
)
def test_wrong_usage_is_one_clear_message_and_exit_code_2(
    run, checkpoint, tmp_path, monkeypatch, arguments, message
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("notes.txt").write_text("mine")
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert message in err or message in err.lower()
    assert "Traceback" not in err
    assert {path.name for path in tmp_path.iterdir()} == {"last.ckpt", "notes.txt"}
