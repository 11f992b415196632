"""Runs commands of one checkout one after the other in this process, and keeps what each of them says.

Started by `behaviour.runs` with a JSON file: the package that has to be imported, the function that is the command
line, and the commands. What a command says goes to `said/NN.out` and `said/NN.err`, its exit code to `said/NN.code`.
"""

from __future__ import annotations

import json
import os
import runpy
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

WRONG_PACKAGE = 97
SCRIPT = "python"
"""The first word of a command that is a script, not arguments of the command line."""


def main(plan: Path) -> None:
    given = json.loads(plan.read_text(encoding="utf-8"))
    package = Path(given["package"])
    _check_package(package)
    for number, command in enumerate(given["commands"], start=1):
        with _kept(Path("said"), f"{number:02d}"):
            code = _exit_code(given["entry"], command)
        Path("said", f"{number:02d}.code").write_text(f"{code}\n", encoding="utf-8")
    _check_package(package)


def _check_package(package: Path) -> None:
    """End the process if upseg, or any part of it that was imported, is not that of the checkout."""
    import_module("upseg")
    loaded = {name: module for name, module in sys.modules.items() if name.partition(".")[0] == "upseg"}
    places = {name: getattr(module, "__file__", None) for name, module in loaded.items()}
    strangers = {name: place for name, place in places.items() if place and package not in Path(place).parents}
    if strangers or not places["upseg"]:
        name, place = next(iter(strangers.items()), ("upseg", None))
        print(f"{name} comes from {place}, not from {package}", file=sys.stderr)
        os._exit(WRONG_PACKAGE)


@contextmanager
def _kept(folder: Path, name: str) -> Iterator[None]:
    """Within it everything that this process and its children say goes to files."""
    folder.mkdir(exist_ok=True)
    before = os.dup(1), os.dup(2)
    for descriptor, suffix in ((1, "out"), (2, "err")):
        file = os.open(folder / f"{name}.{suffix}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(file, descriptor)
        os.close(file)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for descriptor, saved in enumerate(before, start=1):
            os.dup2(saved, descriptor)
            os.close(saved)


def _exit_code(entry: str, command: Sequence[str]) -> int | str | None:
    """Run a command as if it were alone; what it raises is said, as Python would say it."""
    sys.argv = ["upseg", *command]
    try:
        if command[:1] == [SCRIPT]:
            sys.argv = list(command[1:])
            runpy.run_path(command[1], run_name="__main__")
        else:
            module, _, function = entry.partition(":")
            getattr(import_module(module), function)()
    except SystemExit as error:
        return 0 if error.code is None else error.code
    except Exception:  # noqa: BLE001 - the next command is to run whatever this one does
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    main(Path(sys.argv[1]))
