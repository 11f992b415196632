"""Publishing model folders on the Hugging Face hub, each with a card that says what the model is."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from upseg.errors import ModelError
from upseg.files import printable
from upseg.models.folders import CONFIG_NAME, WEIGHTS_NAME, ModelConfig, read_config
from upseg.models.registry import find_model

CARD_NAME = "README.md"
_LICENSE = re.compile(r"[a-z0-9][a-z0-9.-]*")  # the hub's names of licences: cc0-1.0


def push_to_hub(
    folder: str | Path,
    repo_id: str,
    *,
    private: bool = False,
    revision: str | None = None,
    message: str = "Upload model",
) -> str:
    """Publish a model folder; `upseg.load_model(repo_id)` loads it from there.

    One commit holds the configuration, the weights and the card: the folder's own `README.md`, or else one made from
    the configuration. Log in first with `hf auth login`, or set `HF_TOKEN`.

    Args:
        folder: A model folder.
        repo_id: `owner/name`; the repository is made if there is none.
        private: Whether a new repository is visible only to its owner.
        revision: The branch to write to; None for the main one.
        message: Of the commit.

    Returns:
        The address of the repository.

    Raises:
        ModelError: If `folder` holds no model, or the hub refuses or cannot be reached.
    """
    from huggingface_hub import CommitOperationAdd, HfApi

    source = Path(folder)
    if not source.is_dir():
        raise ModelError(f"{printable(source)} is no folder; give the model folder to publish")
    find_model(source)
    card = source / CARD_NAME
    contents: dict[str, Path | bytes] = {name: source / name for name in (CONFIG_NAME, WEIGHTS_NAME, CARD_NAME)}
    if not card.is_file():
        contents[CARD_NAME] = model_card(read_config(source), repo_id).encode()
    present = {name: value for name, value in contents.items() if isinstance(value, bytes) or value.is_file()}
    operations = [CommitOperationAdd(path_in_repo=name, path_or_fileobj=value) for name, value in present.items()]
    client = HfApi()
    try:
        address = client.create_repo(repo_id, private=private, exist_ok=True)
        client.create_commit(repo_id, operations, commit_message=message, revision=revision)
    except Exception as error:  # the hub's client raises errors of several libraries
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise ModelError(
            f"{printable(source)} cannot be published as {repo_id!r} on the Hugging Face hub ({reason}); check the "
            "name and the connection, and log in with `hf auth login`"
        ) from error
    return str(address)


def model_card(config: ModelConfig, name: str) -> str:
    """The text of a model's card, in Markdown with the YAML head that the hub reads.

    Args:
        config: The model's configuration; `license` in its training becomes the head's.
        name: What the model is loaded by.
    """
    head = ["library_name: upseg", "pipeline_tag: image-segmentation", "tags:", "- image-segmentation"]
    head.append(f"- {config.method}")
    license_name = config.training.get("license")
    if isinstance(license_name, str) and _LICENSE.fullmatch(license_name):
        head.append(f"license: {license_name}")
    title = name.rpartition("/")[2]
    about = config.description or f"A model for image segmentation by the method `{config.method}`."
    use = f"```console\n$ pip install upseg\n$ upseg segment photo.jpg --model {name}\n```"
    python = f'```python\nimport upseg\n\nresult = upseg.load_model("{name}").segment("photo.jpg")\n```'
    parts = ["\n".join(["---", *head, "---"]), f"# {title}", _plain(about), "## Use", use, python]
    if config.categories:
        kinds = (f"{_plain(c.name)} ({'thing' if c.is_thing else 'stuff'})" for c in config.categories)
        parts += ["## Classes", ", ".join(kinds)]
    for heading, values in (("Settings", config.settings), ("Training", config.training)):
        if values:
            parts += [f"## {heading}", _table(values)]
    return "\n\n".join(parts) + "\n"


def _table(values: Mapping[str, Any]) -> str:
    rows = (f"| {_plain(name)} | {_plain(value)} |" for name, value in _flat(values))
    return "\n".join(["| name | value |", "|---|---|", *rows])


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Values of objects in objects get names with dots."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", ", ".join(map(str, value)) if isinstance(value, list | tuple) else value


def _plain(value: Any) -> str:
    """A value on one line that neither ends a cell of a table nor holds HTML."""
    text = " ".join(str(value).split())
    return text.replace("|", r"\|").replace("<", "&lt;")
