"""Damages files and reads them in processes with little memory and time: `python -m tests.fuzz.run 10000`."""

from __future__ import annotations

import argparse
import json
import logging
import resource
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

BYTES = 2 << 30
SECONDS = 20
SLOW = ("weights", "recipe")  # import torch, or Lightning's parser
GOOD = ("read", "refused")


def read_damaged(names: list[str], seed: int, count: int, first: int) -> None:
    """The process that reads: of each kind so many files, from the first on; says what it begins, and what came of it.

    Files are numbered over all kinds.
    """
    from tests.fuzz.mutations import mutated
    from tests.fuzz.readers import READERS, answer

    logging.disable()
    for index in range(first // count, len(names)):
        reader = READERS[names[index]]
        with TemporaryDirectory() as folder:
            path = reader.write(Path(folder))
            intact, expected = path.read_bytes(), answer(reader, path)
            resource.setrlimit(resource.RLIMIT_DATA, (BYTES, BYTES))
            for number in range(max(first, index * count), (index + 1) * count):
                _say(number=number, name=reader.name, said="begun")
                path.unlink()
                path.write_bytes(mutated(intact, Random(f"{seed} {reader.name} {number - index * count}")))
                signal.alarm(SECONDS)
                said, text = _outcome(lambda r=reader, p=path: answer(r, p), expected if reader.is_checked else None)
                signal.alarm(0)
                kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
                _say(number=number, name=reader.name, said=said, text=text[:300], kilobytes=kilobytes)


def _outcome(read: Callable[[], Any], expected: Any) -> tuple[str, str]:
    from upseg.errors import UpsegError

    try:
        found = read()
    except UpsegError as error:
        return "refused" if "\n" not in str(error) else "many lines", str(error)
    except BaseException as error:  # noqa: BLE001 - it is what is looked for
        return "traceback", f"{type(error).__name__}: {error}"
    return "read" if expected is None or found == expected else "another answer", ""


def _say(**facts: Any) -> None:
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


def fuzz(names: list[str], count: int, seed: int = 0) -> list[dict[str, Any]]:
    """Damage so many files of each kind.

    Returns:
        What came of each: `number`, `name`, what is `said` (`read`, `refused`, or what must not be), `text`, and the
        most memory of the process in `kilobytes`.
    """
    rows: list[dict[str, Any]] = []
    first = 0
    while first < len(names) * count:
        command = [sys.executable, "-m", "tests.fuzz.run", "--child", *map(str, (seed, count, first)), *names]
        done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2], check=False)
        said = [json.loads(line) for line in done.stdout.splitlines()]
        rows += [row for row in said if row["said"] != "begun"]
        if done.returncode == 0:
            break
        if not said or said[-1]["said"] != "begun":
            raise RuntimeError(done.stderr)
        ended = "hang" if done.returncode == -signal.SIGALRM else f"died with {done.returncode}"
        rows.append({**said[-1], "said": ended, "text": done.stderr[-300:], "kilobytes": 0})
        first = said[-1]["number"] + 1
    return rows


def main() -> None:
    """Damage files of all kinds, and print what came of it; exit code 1 if anything came of one that must not."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("files", type=int, nargs="?", default=10_000, help="How many in all.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", help="Kinds of files.")
    arguments = parser.parse_args()
    from tests.fuzz.readers import READERS

    names = arguments.only or list(READERS)
    each, found = -(-arguments.files // len(names)), 0
    sys.stdout.write(
        f"{'kind':16} {'files':>6} {'refused':>8} {'read':>6} {'wrong':>6} {'most MB':>8} {'seconds':>8}\n"
    )
    for name in names:
        started = time.perf_counter()
        rows = fuzz([name], each, arguments.seed)
        seconds = time.perf_counter() - started
        counts = Counter(row["said"] for row in rows)
        wrong = [row for row in rows if row["said"] not in GOOD]
        most = max(row["kilobytes"] for row in rows) // 1024
        row = f"{name:16} {len(rows):6} {counts['refused']:8} {counts['read']:6} {len(wrong):6}"
        sys.stdout.write(f"{row} {most:8} {seconds:8.1f}\n")
        for case in wrong[:20]:
            sys.stdout.write(f"    file {case['number']} of seed {arguments.seed}: {case['said']}: {case['text']}\n")
        sys.stdout.flush()
        found += len(wrong)
    sys.exit(found > 0)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        read_damaged(sys.argv[5:], *map(int, sys.argv[2:5]))
    else:
        main()
