from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import pytest
import torch

from tests.models.learned import BAND, BandSegmenter
from upseg.errors import ModelError
from upseg.models import registry as models
from upseg.models.folders import ModelConfig, read_config
from upseg.models.hub import model_card, push_to_hub
from upseg.models.registry import load_model
from upseg.models.saving import save_pretrained
from upseg.segmentation import Category


@pytest.fixture(autouse=True)
def _band(monkeypatch) -> None:
    monkeypatch.setitem(models.METHODS, "band", BAND)


@pytest.fixture
def folder(tmp_path) -> Path:
    weights = {"shift": torch.tensor([0.2, 0.1]), "count": torch.tensor(2)}
    training = {"data": "squares", "license": "cc0-1.0"}
    return save_pretrained(tmp_path / "m", ModelConfig("band", {"bands": 2}, training=training), weights)


@pytest.fixture
def hub(tmp_path, monkeypatch) -> SimpleNamespace:
    """A hub in a folder, spoken to through the calls that the real client has."""
    state = SimpleNamespace(repositories={}, commits=[], root=tmp_path / "hub", error=None)

    class Api:
        def create_repo(self, repo_id: str, *, private: bool, exist_ok: bool) -> str:
            if state.error is not None:
                raise state.error
            assert exist_ok
            state.repositories.setdefault(repo_id, private)
            return f"https://hub.example/{repo_id}"

        def create_commit(self, repo_id, operations, *, commit_message, revision) -> None:
            assert repo_id in state.repositories
            for operation in operations:
                target = state.root / repo_id / operation.path_in_repo
                target.parent.mkdir(parents=True, exist_ok=True)
                with operation.as_file() as file:
                    target.write_bytes(file.read())
            state.commits.append((commit_message, revision))

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda repo_id, **_: str(state.root / repo_id))
    return state


def test_a_published_model_is_loaded_from_the_hub(folder, hub) -> None:
    assert push_to_hub(folder, "someone/bands", private=True) == "https://hub.example/someone/bands"
    assert hub.repositories == {"someone/bands": True}
    assert hub.commits == [("Upload model", None)]
    published = hub.root / "someone" / "bands"
    assert {path.name for path in published.iterdir()} == {"config.json", "model.safetensors", "README.md"}
    segmenter = load_model("someone/bands", "cpu")
    assert segmenter.network.shift.tolist() == pytest.approx([0.2, 0.1])
    assert not (folder / "README.md").exists()


def test_a_segmenter_publishes_itself(folder, hub) -> None:
    BandSegmenter.from_pretrained(folder, "cpu", limits=[0.0, 0.5]).push_to_hub("someone/bands", half=True)
    config = read_config(hub.root / "someone" / "bands")
    assert config.settings == {"bands": 2, "limits": [0.0, 0.5]}
    assert config.training["data"] == "squares"
    assert BandSegmenter.from_pretrained("someone/bands", "cpu").network.shift.dtype == torch.float32


def test_a_card_of_ones_own_is_kept_and_nothing_else_is_published(folder, hub) -> None:
    (folder / "README.md").write_text("my words")
    (folder / "secrets.txt").write_text("mine")
    push_to_hub(folder, "someone/bands", revision="new", message="Second try")
    published = hub.root / "someone" / "bands"
    assert (published / "README.md").read_text() == "my words"
    assert len(list(published.iterdir())) == 3
    assert hub.commits == [("Second try", "new")]


def test_what_is_no_model_is_not_published(tmp_path, hub) -> None:
    with pytest.raises(ModelError, match=r"config.json: there is no such file"):
        push_to_hub(tmp_path, "someone/bands")
    with pytest.raises(ModelError, match="nowhere is no folder"):
        push_to_hub(tmp_path / "nowhere", "someone/bands")
    assert hub.repositories == {}


@pytest.mark.parametrize("error", [OSError("offline\nand more"), ValueError("offline"), KeyError()])
def test_a_hub_that_refuses_is_one_clear_error(folder, hub, error) -> None:
    hub.error = error
    with pytest.raises(ModelError, match=r"m cannot be published as 'someone/bands' .*\((offline|KeyError)\); check"):
        push_to_hub(folder, "someone/bands")


def test_the_card_says_what_the_model_is() -> None:
    config = ModelConfig(
        "band",
        {"limits": [0.1, 0.9]},
        (Category(1, "cell"), Category(2, "ground | floor", is_thing=False)),
        {"data": ["a", "b"], "license": "cc0-1.0", "optimizer": {"rate": 1e-05}},
        "finds <b>squares</b>\nin the dark",
    )
    card = model_card(config, "someone/bands")
    head, _, body = card.removeprefix("---\n").partition("\n---\n")
    assert head.splitlines() == [
        "library_name: upseg",
        "pipeline_tag: image-segmentation",
        "tags:",
        "- image-segmentation",
        "- band",
        "license: cc0-1.0",
    ]
    assert body.startswith("\n# bands\n\nfinds &lt;b>squares&lt;/b> in the dark\n")
    assert "upseg segment photo.jpg --model someone/bands" in body
    assert 'upseg.load_model("someone/bands")' in body
    assert "cell (thing), ground \\| floor (stuff)" in body
    for row in ("| limits | 0.1, 0.9 |", "| data | a, b |", "| optimizer.rate | 1e-05 |"):
        assert row in body


@pytest.mark.parametrize("license_name", [None, 3, "mine: all\nof it", "Some License"])
def test_only_a_name_of_a_licence_gets_into_the_head(license_name) -> None:
    training = {} if license_name is None else {"license": license_name}
    assert "license:" not in model_card(ModelConfig("band", training=training), "bands")
