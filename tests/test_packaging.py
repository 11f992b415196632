"""What ships upseg says the same as the project's own file."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CONDA_NAMES = {"torch": "pytorch", "huggingface-hub": "huggingface_hub"}


def test_the_conda_recipe_has_the_version_and_every_requirement() -> None:
    recipe = (ROOT / "conda" / "meta.yaml").read_text(encoding="utf-8")
    assert f'set version = "{PROJECT["version"]}"' in recipe
    run = re.search(r"^  run:\n((?:    - .+\n)+)", recipe, re.MULTILINE)[1]
    listed = {line.removeprefix("    - ") for line in run.splitlines()}
    needed = {"python " + PROJECT["requires-python"]}
    for requirement in PROJECT["dependencies"]:
        name, bound = re.match(r"([\w-]+)(.*)", requirement).groups()
        needed.add(f"{CONDA_NAMES.get(name, name)} {bound}")
    assert listed == needed


def test_the_image_copies_what_the_wheel_is_built_of() -> None:
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    copied = {
        name for line in lines if line.startswith("COPY ") and "--from" not in line for name in line.split()[1:-1]
    }
    sent = {
        line.removeprefix("!") for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")
    }
    assert copied == sent
    assert {"pyproject.toml", "src", "configs", PROJECT["readme"], *PROJECT["license-files"]} <= copied
    assert all((ROOT / name).exists() for name in copied)
