"""Runs steps with a checkout in processes of their own, and keeps what they wrote, so that it is done only once."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from .plan import LEARNED, MODELS, Step
from .session import SCRIPT, WRONG_PACKAGE

_SESSION = Path(__file__).with_name("session.py")
# one thread, no network, no GPU, lines that are not wrapped, and sets in one order: all that a result may depend on
_PINNED = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "PYTHONHASHSEED": "0",
    "PYTHONSAFEPATH": "1",
    "PYTHONNOUSERSITE": "1",
    "HF_HUB_OFFLINE": "1",
    "CUDA_VISIBLE_DEVICES": "",
    "COLUMNS": "400",
    "TERM": "dumb",
    "NO_COLOR": "1",
    "LC_ALL": "C.UTF-8",
    "TZ": "UTC",
}
_UNDECLARED = frozenset({"imagecodecs"})  # tifffile reads and writes more where it is installed
_UNSET = ("PYTHONWARNINGS", "PYTHONSTARTUP", "FORCE_COLOR", "HF_HOME", "PL_GLOBAL_SEED")


class StrangeSources(Exception):
    """Python imported upseg from somewhere else than the checkout."""


@dataclass(frozen=True)
class Checkout:
    """A folder with the sources of upseg, and the Python that runs them."""

    folder: Path
    python: Path

    @property
    def package(self) -> Path:
        return self.folder / "src" / "upseg"

    @cached_property
    def entry(self) -> str:
        """The function behind the command `upseg`, as the project's own file says."""
        with (self.folder / "pyproject.toml").open("rb") as file:
            return str(tomllib.load(file)["project"]["scripts"]["upseg"])

    @cached_property
    def digest(self) -> str:
        """Of all that can change what it does: its sources and recipes, Python, and the packages that it uses."""
        found = hashlib.sha256(self._environment().encode())
        for folder in (self.package, self.folder / "configs"):
            for path in sorted(folder.rglob("*")):
                if path.is_file() and "__pycache__" not in path.parts:
                    found.update(path.relative_to(self.folder).as_posix().encode() + b"\n" + path.read_bytes())
        return found.hexdigest()[:16]

    @property
    def recipes(self) -> tuple[str, ...]:
        """The names of its recipes."""
        configs = self.folder / "configs"
        return tuple(path.relative_to(configs).with_suffix("").as_posix() for path in sorted(configs.glob("*/*.yaml")))

    def environment(self) -> dict[str, str]:
        """The variables for a process that runs it."""
        inherited = {key: value for key, value in os.environ.items() if key not in _UNSET}
        return {**inherited, **_PINNED, "PYTHONPATH": str(self.package.parent)}

    def start(self, commands: Sequence[Sequence[str]], folder: Path) -> None:
        """Run commands in a folder, one after the other in one process.

        Raises:
            StrangeSources: If upseg was imported from elsewhere.
            RuntimeError: If the process died.
        """
        given = folder / "commands.json"
        found = [_with_place(command) for command in commands]
        content = {"package": str(self.package), "entry": self.entry, "commands": found}
        given.write_text(json.dumps(content), encoding="utf-8")
        command = [str(self.python), "-P", str(_SESSION), given.name]
        done = subprocess.run(command, cwd=folder, env=self.environment(), capture_output=True, text=True, check=False)
        given.unlink()
        if done.returncode == WRONG_PACKAGE:
            raise StrangeSources(done.stderr.strip())
        if done.returncode:
            raise RuntimeError(f"{folder}: the process ended with {done.returncode}: {done.stderr.strip()[-2000:]}")

    def _environment(self) -> str:
        """Python, and those of the installed packages that can change a result."""
        with (self.folder / "pyproject.toml").open("rb") as file:
            project = tomllib.load(file)["project"]
        extras = project.get("optional-dependencies", {})
        lists = [project["dependencies"], *(listed for name, listed in extras.items() if name != "dev")]
        names = sorted({_name(requirement) for listed in lists for requirement in listed} | _UNDECLARED)
        code = (
            "import sys; from importlib.metadata import distributions; "
            "found = {d.name.lower().replace('_', '-'): d.version for d in distributions()}; "
            "print(sys.version, [(name, found.get(name)) for name in sys.argv[1:]])"
        )
        command = [str(self.python), "-I", "-c", code, *names]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def _name(requirement: str) -> str:
    """The package that a requirement such as `torch>=2.6` names."""
    return re.split(r"[^\w.-]", requirement, maxsplit=1)[0].lower().replace("_", "-")


class Runs:
    """The steps of one checkout.

    Args:
        checkout: The sources.
        cache: Holds the inputs, the models, and a folder for the checkout's results.
        inputs: A digest of the inputs.
    """

    def __init__(self, checkout: Checkout, cache: Path, inputs: str) -> None:
        name = hashlib.sha256(str(checkout.folder).encode()).hexdigest()[:8]
        self.checkout = checkout
        self.cache = cache
        self.folder = cache / f"{checkout.folder.name}-{name}"
        self._inputs = inputs
        self._fingerprints: dict[str, str] = {}

    def run(self, step: Step, steps: Mapping[str, Step]) -> float:
        """Run a step, and those that it needs, unless that was done with the same sources.

        Returns:
            The seconds that it took, now or then.
        """
        for name in step.needs:
            self.run(steps[name], steps)
        fingerprint, done = self._fingerprint(step), self.folder / f"{step.name}.json"
        if done.exists():
            record = json.loads(done.read_text(encoding="utf-8"))
            if record["fingerprint"] == fingerprint:
                return float(record["seconds"])
            done.unlink()
        folder = self.results(step)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        started = time.monotonic()
        self.checkout.start(step.commands, folder)
        seconds = time.monotonic() - started
        done.write_text(json.dumps({"fingerprint": fingerprint, "seconds": seconds}), encoding="utf-8")
        return seconds

    def results(self, step: Step) -> Path:
        """The folder that a step ran in."""
        return self.folder / step.name

    def models_from(self, training: Iterable[Step], steps: Mapping[str, Step]) -> None:
        """Train the models that both checkouts use, and put them where the steps look for them.

        Files that are there and are the same stay, so that they are as old as they were.
        """
        for step in training:
            self.run(step, steps)
            method = step.name.removeprefix("train-")
            for path in sorted((self.results(step) / "model").iterdir()):
                target = self.cache / Path(MODELS).name / method / path.name
                target.parent.mkdir(parents=True, exist_ok=True)
                if not target.exists() or target.read_bytes() != path.read_bytes():
                    shutil.copyfile(path, target)

    def _fingerprint(self, step: Step) -> str:
        """Of all that decides what a step writes."""
        if step.name not in self._fingerprints:
            uses_models = any(MODELS in word for command in step.commands for word in command)
            scripts = [_script(command).read_text() for command in step.commands if command[0] == SCRIPT]
            facts = [
                self.checkout.digest,
                self._inputs,
                step.commands,
                scripts,
                _SESSION.read_text(encoding="utf-8"),
                sorted(_PINNED.items()),
                [self._fingerprints[name] for name in step.needs],
                self._models_digest() if uses_models else None,
            ]
            self._fingerprints[step.name] = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]
        return self._fingerprints[step.name]

    def _models_digest(self) -> str:
        found = hashlib.sha256()
        for method in LEARNED:
            for path in sorted((self.cache / Path(MODELS).name / method).iterdir()):
                found.update(path.read_bytes())
        return found.hexdigest()[:16]


def _script(command: Sequence[str]) -> Path:
    return Path(__file__).with_name(command[1])


def _with_place(command: Sequence[str]) -> list[str]:
    """A command as the session takes it, with the whole path of a script."""
    return [SCRIPT, str(_script(command)), *command[2:]] if command[0] == SCRIPT else [*command]


def open_checkout(folder: Path, python: Path) -> Checkout:
    """A checkout, if it looks like one; that Python imports upseg from it is found out when it does.

    Raises:
        SystemExit: If it is not.
    """
    checkout = Checkout(folder.resolve(), python)
    if not (checkout.package / "__init__.py").is_file():
        raise SystemExit(f"{folder} is no checkout of upseg: it has no src/upseg/__init__.py")
    return checkout


@contextmanager
def only_user_of(cache: Path) -> Iterator[None]:
    """Within it no other process runs steps in the same folders.

    Raises:
        SystemExit: If one does already.
    """
    with (cache / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SystemExit(f"another comparison is using {cache}; wait for it, or name another --cache") from None
        yield


def run_all(runs: Runs, wanted: Sequence[Step], steps: Mapping[str, Step]) -> dict[str, float]:
    """Run steps, saying on standard error which; returns their seconds by name."""
    seconds = {}
    for step in wanted:
        print(f"{runs.checkout.folder.name}: {step.name} ...", end=" ", flush=True, file=sys.stderr)
        seconds[step.name] = runs.run(step, steps)
        print(f"{seconds[step.name]:.0f} s", file=sys.stderr)
    return seconds
