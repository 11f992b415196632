"""How long two checkouts take to start, measured in turns; a figure to look at, not to pass or fail."""

from __future__ import annotations

import statistics
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from .runs import Checkout

_START = "import sys; from importlib import import_module; sys.argv[0] = 'upseg'; getattr(import_module({!r}), {!r})()"


def startup_lines(before: Checkout, after: Checkout, photo: Path, repeats: int) -> list[str]:
    """One line for each command: both medians in seconds, and the median of the ratios of neighbours."""
    with tempfile.TemporaryDirectory() as folder:
        commands: Mapping[str, Sequence[str]] = {
            "upseg --help": ("--help",),
            # a folder for each checkout: what one has done the other may do again
            "upseg segment, 0.1 megapixels": (
                "segment",
                str(photo),
                "-o",
                f"{folder}/{{checkout}}2",
                "--overwrite",
                "--seed",
            ),
            "upseg segment, nothing to do": ("segment", str(photo), "-o", f"{folder}/{{checkout}}"),
        }
        return [_line(name, command, (before, after), repeats) for name, command in commands.items()]


def _line(name: str, command: Sequence[str], checkouts: tuple[Checkout, Checkout], repeats: int) -> str:
    seconds: tuple[list[float], list[float]] = ([], [])
    for number in range(-1, repeats):  # once for the disk's cache and the compiled modules
        for checkout, found in zip(checkouts, seconds, strict=True):
            # another seed each time, so that nothing is already done
            words = [*command, str(number + 1)] if command[-1] == "--seed" else command
            words = [word.format(checkout="before" if checkout is checkouts[0] else "after") for word in words]
            taken = _time(checkout, words)
            if number >= 0:
                found.append(taken)
    ratio = statistics.median(after / before for before, after in zip(*seconds, strict=True))
    old, new = (statistics.median(found) for found in seconds)
    return f"{name}: {old:.2f} s before, {new:.2f} s after, after / before {ratio:.3f} (medians of {repeats} in turns)"


def _time(checkout: Checkout, command: Sequence[str]) -> float:
    module, _, function = checkout.entry.partition(":")
    words = [str(checkout.python), "-P", "-c", _START.format(module, function), *command]
    started = time.perf_counter()
    subprocess.run(words, env=checkout.environment(), check=True, capture_output=True)
    return time.perf_counter() - started
