"""Everything that the README tells people to type is typed here, and what it lists is compared with what there is.

Blocks of the kinds `console` (lines that begin with `$ `) and `python` are run in one folder, in order, so that a block
may use what an earlier one made; so are those of the documentation's pages. `make` is asked what it would do.
"""

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from skimage import data

from upseg.cli import main
from upseg.data.sample import Sample
from upseg.data.shapes import ShapeScenes
from upseg.formats import FORMATS, output_paths
from upseg.models.registry import METHODS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = sorted((ROOT / "docs").glob("*.md"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHELL_SYNTAX = re.compile(r"[|&;<>$`\\]")


def blocks_of(text: str, *kinds: str) -> list[tuple[str, str]]:
    """(kind, content) of each fenced block of these kinds."""
    return [(kind, content) for kind, content in BLOCK.findall(text) if kind in kinds]


def commands_in(block: str) -> list[str]:
    return [line.removeprefix("$ ") for line in block.splitlines() if line.startswith("$ ")]


def class_map(sample: Sample) -> np.ndarray:
    """The class of each pixel, 0 for the background and all other stuff."""
    table = np.zeros(len(sample.segments) + 1, np.int64)
    for segment in sample.segments:
        if segment.category is not None and segment.is_thing:
            table[segment.id] = segment.category.id
    return table[np.maximum(sample.segment_map, 0)]


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """An empty folder to be in, with the photos, class masks and the model folder that the README speaks of."""
    photo = Image.fromarray(data.coffee()).resize((48, 32))
    for name in ("photo.jpg", "photos/cup.jpg", "photos/more/cup.png", "scan.tif"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        photo.save(tmp_path / name)
    channels = np.asarray(photo)[..., [0, 1, 2, 1, 0]]
    tifffile.imwrite(tmp_path / "stack.tif", channels, photometric="minisblack", planarconfig="contig")
    scenes = ShapeScenes(3, (64, 64), difficulty=0.0, seed=5)
    for index in range(len(scenes)):
        pixels, classes = np.rint(scenes[index].image * 255).astype(np.uint8), class_map(scenes[index])
        for kind, array in (("images", pixels), ("masks", classes.astype(np.uint8))):
            (tmp_path / "my-folder" / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(tmp_path / "my-folder" / kind / f"{index}.png")
    np.save(tmp_path / "classes.npy", np.ones((32, 48), np.int64))
    (tmp_path / "my-model").mkdir()
    [(_, config)] = blocks_of(README, "json")
    (tmp_path / "my-model" / "config.json").write_text(config, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(monkeypatch, capsys) -> Callable[[str], str]:
    """Runs one command as the README has it, demands that it ends well, and returns what it printed."""

    def run_upseg(arguments: list[str]) -> str:
        monkeypatch.setattr(sys, "argv", arguments)
        with pytest.raises(SystemExit) as end:
            main()
        printed = capsys.readouterr()
        assert not end.value.code, printed.err
        return printed.out

    def run_any(command: str) -> str:
        program, *arguments = shlex.split(command)
        if program == "upseg":
            assert not SHELL_SYNTAX.search(command), f"{command}: this test is no shell"
            return run_upseg([program, *arguments])
        checks = {"make": check_make, "pip": check_pip, "bash": check_bash, "pre-commit": check_nothing}
        assert program in checks, f"{command}: this test does not know the program {program}"
        checks[program](*arguments)
        return ""

    return run_any


def check_make(*arguments: str) -> None:
    """The Makefile has the target, and knows the variables."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    command = ["make", "--dry-run", "--warn-undefined-variables", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for name in (argument.partition("=")[0] for argument in arguments if "=" in argument):
        assert re.search(rf"^{name} =", makefile, re.MULTILINE), f"the Makefile has no variable {name}"


def check_pip(*arguments: str) -> None:
    """What is installed is this project, and the extras are its own."""
    action, *requirements = arguments
    assert action == "install"
    for requirement in requirements:
        place, _, extras = requirement.removesuffix("]").partition("[")
        assert place == ".", f"pip install {requirement}: the README installs only this project"
        assert {*filter(None, extras.split(","))} <= {*PROJECT["optional-dependencies"]}


def check_bash(*arguments: str) -> None:
    """There is such a script, which can be run."""
    [script] = arguments
    assert os.access(ROOT / script, os.X_OK)
    subprocess.run(["bash", "-n", ROOT / script], check=True)


def check_nothing(*arguments: str) -> None:
    """Another project's program, which is not part of what is installed."""


def run_page(text: str, run: Callable[[str], str]) -> list[str]:
    """Run the blocks of a page in order, and return its commands."""
    typed = []
    for kind, content in blocks_of(text, "console", "bash", "python"):
        if kind == "python":
            exec(compile(content, "a block of the page", "exec"), {"__name__": "__main__"})
        else:
            commands = commands_in(content)
            assert commands, f"a block of commands needs lines that begin with '$ ':\n{content}"
            typed += commands
            for command in commands:
                run(command)
    return typed


@pytest.mark.slow
def test_all_that_the_readme_says_to_type_works(folder, run) -> None:
    typed = run_page(README, run)
    assert {"make demo", "make test", "pip install .", "upseg segment photo.jpg"} <= {*typed}
    for name in (
        "upseg-out/photo.png",
        "upseg-out/photo.overlay.png",
        "coarse/photo.png",
        "segments/more/cup.json",
        "cut/instances.json",
    ):
        assert (folder / name).is_file(), f"the README's commands should have made {name}"


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_all_that_the_documentation_says_to_type_works(page, folder, run) -> None:
    run_page(page.read_text(encoding="utf-8"), run)


def test_contributing_names_commands_that_there_are(run) -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    commands = [command for _, block in blocks_of(text, "console") for command in commands_in(block)]
    commands += re.findall(r"`((?:make|bash|pre-commit) [^`]+)`", text)
    assert len(commands) > 5
    for command in commands:
        run(command)


def table_under(heading: str) -> list[list[str]]:
    """The cells of the first table below a heading of the README, without its head."""
    section = README.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    rows = [line.strip("| \n").split(" | ") for line in section.splitlines() if line.startswith("|")]
    assert len(rows) > 2, f"there is no table under {heading}"
    return rows[2:]


def test_the_table_of_formats_lists_the_formats() -> None:
    listed = {name: (files, back) for name, files, _, back in table_under("Formats")}
    expected = {
        f"`{form.name}`": (
            ", ".join(f"`{path.name}`" for path in output_paths("photo", form.name)),
            "yes" if form.read else "no",
        )
        for form in FORMATS.values()
    }
    assert listed == expected


def test_the_table_of_methods_says_which_there_are() -> None:
    states = {name.strip("`"): state for name, _, _, state in table_under("Methods")}
    assert {name for name, state in states.items() if state != "planned"} == {*METHODS}


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_links_to_files_lead_somewhere(name) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#\s]+)", text):
        assert target.startswith("https://") or (ROOT / target).exists(), f"{name} links to {target}"


def test_the_versions_in_use_are_named_for_all_that_is_needed_everywhere() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {line.partition("==")[0] for line in lines}
    assert all(re.fullmatch(r"[a-z0-9-]+==[0-9a-z.]+", line) for line in lines), "only name==version"
    extras = PROJECT["optional-dependencies"]
    needed = [*PROJECT["dependencies"], *extras["dev"], *extras["train"]]
    names = {re.match(r"[\w-]+", requirement)[0] for requirement in needed}
    assert names - {"upseg"} <= pinned


def test_the_models_on_disk_are_as_the_readme_shows_them() -> None:
    [(_, config)] = blocks_of(README, "json")
    assert json.loads(config)["method"] in METHODS
