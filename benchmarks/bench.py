"""The short benchmarks, against the figures recorded in benchmarks/results: what has become slower?

Each script runs as its page says, into a temporary folder; every figure in seconds or milliseconds that both have is
compared. On another machine than the recorded one all is slower or faster: what counts there is how far a figure is
from the median of all ratios. Exit code 1 if any is worse by more than 20 %.

    python benchmarks/bench.py [measurements_speed panoptic_decoding ...]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

from harness.report import machine_facts, markdown_table

BENCHMARKS = Path(__file__).resolve().parent
SCRIPTS: Mapping[str, tuple[str, ...]] = {
    "measurements_speed": ("--repeats", "3"),
    "panoptic_decoding": ("--threads", "1", "--repeats", "3"),
    "mean_shift": ("--threads", "1", "--counts", "2000", "--sides", "512", "--repeats", "3"),
    "baiseg_extraction": (),
    "step_time": ("--rounds", "2", "--seconds", "1"),
}
"""By name, with what makes them short."""
WORSE = 1.2
_UNITS = {"seconds": 1.0, "ms": 1e-3}


@dataclass(frozen=True)
class Comparison:
    """One figure.

    Attributes:
        name: Script and figure.
        before: Recorded, in seconds.
        now: Measured, in seconds.
    """

    name: str
    before: float
    now: float

    @property
    def ratio(self) -> float:
        """Above 1 is slower than recorded."""
        return self.now / self.before


def times_in(data: object, name: str = "") -> Iterator[tuple[str, float]]:
    """Every time in a report, by a name made of the keys and texts on the way to it."""
    if isinstance(data, Mapping):
        for key, value in data.items():
            unit = _unit_of(key)
            if unit and isinstance(value, int | float) and value > 0:
                yield f"{name} {key}".strip(), value * _UNITS[unit]
            elif unit and isinstance(value, Mapping):
                yield from ((f"{name} {k}".strip(), v * _UNITS[unit]) for k, v in value.items() if v)
            elif key != "machine":
                yield from times_in(value, f"{name} {key}".strip())
    elif isinstance(data, list):
        for entry in data:
            yield from times_in(entry, f"{name} {_called(entry)}".strip())


def _unit_of(key: str) -> str | None:
    return next((unit for unit in _UNITS if key == unit or key.endswith(f"_{unit}")), None)


def _called(entry: object) -> str:
    """What tells an entry of a list from the others: its texts and whole numbers, up to the first time."""
    asked = takewhile(lambda item: _unit_of(item[0]) is None, entry.items() if isinstance(entry, Mapping) else ())
    return ", ".join(str(v) for _, v in asked if isinstance(v, str | int) and not isinstance(v, bool))


def compare(script: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> list[Comparison]:
    """The figures that both reports of a script have."""
    recorded = dict(times_in(before))
    return [Comparison(f"{script}: {name}", recorded[name], v) for name, v in times_in(now) if name in recorded]


def speed_of(compared: Sequence[Comparison], *, same_machine: bool) -> float:
    """By how much this machine is slower than the recorded one: 1 for the same."""
    return 1.0 if same_machine or not compared else statistics.median(one.ratio for one in compared)


def run(script: str, folder: Path) -> dict[str, Any]:
    """The report of one script.

    Raises:
        subprocess.CalledProcessError: If it fails.
    """
    command = [sys.executable, str(BENCHMARKS / f"{script}.py"), *SCRIPTS[script], "--output", str(folder)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    report: dict[str, Any] = json.loads((folder / f"{script}.json").read_text())
    return report


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scripts", nargs="*", help=f"default: {', '.join(SCRIPTS)}")
    chosen = parser.parse_args(arguments).scripts or list(SCRIPTS)
    if unknown := sorted({*chosen} - {*SCRIPTS}):
        parser.error(f"there is no short benchmark {unknown[0]}; choose from {', '.join(SCRIPTS)}")
    compared, machines = [], set()
    for script in chosen:
        before = json.loads((BENCHMARKS / "results" / f"{script}.json").read_text())
        machines.add((before["machine"]["processor"], before["machine"]["cores"]))
        print(f"running {script}", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory() as folder:
            compared += compare(script, before, run(script, Path(folder)))
    facts = machine_facts()
    speed = speed_of(compared, same_machine=machines == {(facts["processor"], facts["cores"])})
    rows = [(one.name, one.before, one.now, one.ratio / speed) for one in compared]
    print(markdown_table(("figure", "recorded (s)", "now (s)", "ratio"), rows))
    if speed != 1:
        print(f"\nratios are divided by {speed:.2f}, their median: the figures were recorded on another machine")
    worse = [one.name for one in compared if one.ratio / speed > WORSE]
    print(f"\n{len(worse)} of {len(compared)} figures are worse by more than 20 %", *worse, sep="\n  ")
    return bool(worse)


if __name__ == "__main__":
    sys.exit(main())
