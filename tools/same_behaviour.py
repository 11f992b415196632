"""Proves that two checkouts of upseg behave the same: the same files, messages and losses, byte for byte.

    python tools/same_behaviour.py BEFORE AFTER --cache FOLDER [--only 'segment-*'] [--startup 5]

Runs the command line and the public Python interface of both (`src/` and `configs/` of two folders, with one Python):
trains and exports small models, segments photos and odd images with every method and into every format, splits,
evaluates, checks data, and makes mistakes. Then compares every file and every message, prints a table, and for what
differs the place where. The exit code is 1 if anything differs. It takes about ten minutes for one checkout on one
core; a checkout that was not changed since is not run again. The models that methods which are trained segment with
are those of the checkout before, for both. With `UPSEG_DATA` set, some photos and labels of real data are in it too.

What is not compared is in `tools/behaviour/differences.py`: times, modules of classes in configurations, and the order
in which workers note what is done. Threads are pinned to one; there is no network and no GPU.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path

from behaviour.differences import Difference, Side, compare
from behaviour.inputs import ensure_inputs
from behaviour.plan import Step, all_steps
from behaviour.runs import Checkout, Runs, StrangeSources, only_user_of, open_checkout, run_all
from behaviour.startup import startup_lines


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    before, after = (open_checkout(folder, options.python) for folder in (options.before, options.after))
    if before.folder == after.folder:
        raise SystemExit(f"{before.folder} is compared with itself, which proves nothing; give two checkouts")
    cache = options.cache.resolve()
    cache.mkdir(parents=True, exist_ok=True)
    with only_user_of(cache):
        return _compare(before, after, cache, options)


def _compare(before: Checkout, after: Checkout, cache: Path, options: argparse.Namespace) -> int:
    inputs = ensure_inputs(cache / "inputs")
    data = Path(os.environ["UPSEG_DATA"]).resolve() if os.environ.get("UPSEG_DATA") else None
    steps = {step.name: step for step in all_steps(before.recipes, data)}
    wanted = [step for step in steps.values() if any(fnmatch(step.name, pattern) for pattern in options.only)]
    runs = [Runs(checkout, cache, inputs) for checkout in (before, after)]
    try:
        runs[0].models_from([step for step in steps.values() if step.name in _MODEL_STEPS], steps)
        seconds = [run_all(run, wanted, steps) for run in runs]
    except StrangeSources as error:
        raise SystemExit(f"nothing is proved: {error}") from error
    print(f"before: {before.folder} ({before.digest}), {sum(seconds[0].values()):.0f} s")
    print(f"after:  {after.folder} ({after.digest}), {sum(seconds[1].values()):.0f} s")
    differing = _report(runs[0], runs[1], wanted)
    if options.startup:
        _print_startup(before, after, cache, options.startup)
    return 1 if differing else 0


_MODEL_STEPS = frozenset({"train-entity", "train-panoptic", "train-baiseg", "train-mask_rcnn"})


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path, help="the checkout that is right")
    parser.add_argument("after", type=Path, help="the checkout that is to behave like it")
    parser.add_argument("--cache", type=Path, required=True, help="folder for inputs, models and results")
    parser.add_argument("--python", type=Path, default=Path(sys.executable), help="for both; without it this one")
    parser.add_argument("--only", nargs="+", default=["*"], metavar="STEP", help="patterns of steps, like segment-*")
    parser.add_argument("--startup", type=int, default=5, metavar="N", help="starts to measure of each; 0 for none")
    return parser


def _report(before: Runs, after: Runs, wanted: Sequence[Step]) -> int:
    """Print the table and what differs; returns in how many files something does."""
    found: dict[str, list[Difference]] = {}
    print(f"\n{'item':26}{'commands':>9}{'files':>7}  result")
    total = 0
    for step in wanted:
        sides = [Side(runs.results(step), runs.checkout.folder, runs.cache) for runs in (before, after)]
        files, found[step.name] = compare(*sides)
        total += files
        result = f"DIFFERENT: {len(found[step.name])}" if found[step.name] else "same"
        print(f"{step.name:26}{len(step.commands):9}{files:7}  {result}")
    for name, differences in found.items():
        print(f"\n{name}:" if differences else "", end="\n" if differences else "")
        for difference in differences:
            print(f"  {difference.file}: {difference.place}")
    differing = sum(map(len, found.values()))
    print(f"\n{differing} of {total} files are different" if differing else f"\nall the same: {total} files")
    return differing


def _print_startup(before: Checkout, after: Checkout, cache: Path, repeats: int) -> None:
    print("\nstarting, not judged:")
    for line in startup_lines(before, after, cache / "inputs/large/tenth.png", repeats):
        print(f"  {line}")


if __name__ == "__main__":
    sys.exit(main())
