"""Without a connection a training that needs weights says so in one line."""

from __future__ import annotations

import pytest

from tests.training.tiny import recipe, write
from upseg.errors import UpsegError
from upseg.training.cli import Training


def test_weights_that_cannot_be_had_are_one_line(tmp_path, monkeypatch) -> None:
    def no_connection(*arguments: object) -> str:
        try:
            raise OSError("name or service not known")
        except OSError as error:
            raise RuntimeError("cannot send a request") from error

    monkeypatch.setattr("huggingface_hub.hf_hub_download", no_connection)
    content = recipe()
    content["model"] = {
        "class_path": "upseg.methods.entity.task.EntityTask",
        "init_args": {"settings": {"backbone": "mobilenetv3_small_050"}},
    }
    with pytest.raises(UpsegError, match="could not be downloaded") as caught:
        Training([write(tmp_path / "recipe.yaml", content)], [], output=tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert "connect to the internet once" in str(caught.value)
