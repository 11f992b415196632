"""Compares what two checkouts wrote and said, byte for byte, and finds the first place where they differ.

What may differ is taken out before, and nothing else; all of it is in `TAKEN_OUT`, `_normalised` and `_NAMES`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from .contents import facts_of, pixels_of

TAKEN_OUT: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r'("seconds": )\d+(\.\d+)?'), r"\1<seconds>"),  # in JSON documents and journals
    (re.compile(r"(, in )\d+\.\d( s; results)"), r"\1<seconds>\2"),  # how long all images took
    (re.compile(r"(?m)(^epoch \d+.*, )\d+\.\d s$"), r"\1<seconds> s"),  # how long an epoch took
    (re.compile(r"(class_path: )upseg\.[\w.]+\.(\w+)"), r"\1upseg...\2"),  # the modules that classes live in
    (re.compile(r'("settings": ")\w+(", "outputs": \["instances)'), r"\1<times of results>\2"),  # journals of `split`
    (re.compile(r"<checkout>/src/upseg/[\w/]+\.py:\d+: "), "<checkout>: "),  # the lines that warnings come from
)
"""What is not compared in texts: times, and where in the package things are."""

_NAMES = ((re.compile(r"events\.out\.tfevents\..*"), "events.out.tfevents"),)  # host, process and time are in the name
_TEXTS = {".json", ".jsonl", ".txt", ".csv", ".yaml", ".geojson", ".svg", ".out", ".err", ".code"}
_JOURNAL = ".upseg-journal.jsonl"
_MOST_NAMED = 6


@dataclass(frozen=True)
class Difference:
    """A file that is not the same, and where."""

    file: str
    place: str


@dataclass(frozen=True)
class Side:
    """The folder of one checkout's results, and what of its paths is not to be compared."""

    folder: Path
    checkout: Path
    cache: Path


def compare(before: Side, after: Side) -> tuple[int, list[Difference]]:
    """Compare all files below two folders.

    Returns:
        How many files there are, and those that differ.
    """
    ours, theirs = _files(before.folder), _files(after.folder)
    found = []
    for name in sorted({*ours, *theirs}):
        if name not in ours or name not in theirs:
            found.append(Difference(name, f"only {'before' if name in ours else 'after'}"))
            continue
        place = _first_difference((before, ours[name]), (after, theirs[name]))
        if place is not None:
            found.append(Difference(name, place))
    return len({*ours, *theirs}), found


def _files(folder: Path) -> dict[str, Path]:
    """Every file by its name below the folder, without what is never the same in a name."""
    found = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = path.name
        for pattern, replacement in _NAMES:
            name = pattern.sub(replacement, name)
        key = path.relative_to(folder).with_name(name).as_posix()
        if key in found:
            key = path.relative_to(folder).with_name(f"{name} ({sum(key in other for other in found)})").as_posix()
        found[key] = path
    return found


def _first_difference(before: tuple[Side, Path], after: tuple[Side, Path]) -> str | None:
    """Where two files differ; None if they are the same."""
    contents = [path.read_bytes() for _, path in (before, after)]
    if contents[0] == contents[1]:
        return None
    path = before[1]
    if path.suffix in _TEXTS:
        texts = [_normalised(content, *side) for content, side in zip(contents, (before, after), strict=True)]
        if texts[0] == texts[1]:
            return None
        return _named(before[1], after[1], texts) or _line(*texts)
    ours, theirs = facts_of(path), facts_of(after[1])
    named = None if ours is None or theirs is None else _difference_of_facts(ours, theirs)
    place = pixels_of(path, after[1]) or named
    return place if place or not _is_exact(path) else _byte(*contents)


def _is_exact(path: Path) -> bool:
    """Whether bytes are compared, and not only the values in the file: events have times, checkpoints odd names."""
    return path.suffix != ".ckpt" and ".tfevents." not in path.name


def _normalised(content: bytes, side: Side, path: Path) -> str:
    text = content.decode("utf-8", errors="backslashreplace")
    for place, name in ((side.checkout, "<checkout>"), (side.cache, "<cache>")):
        text = text.replace(str(place), name)
    for pattern, replacement in TAKEN_OUT:
        text = pattern.sub(replacement, text)
    if path.name == _JOURNAL:  # workers write in any order
        text = "".join(sorted(text.splitlines(keepends=True)))
    return text


def _named(before: Path, after: Path, texts: list[str]) -> str | None:
    """The names of the values that differ, where files have some."""
    ours, theirs = (facts_of(path, text) for path, text in zip((before, after), texts, strict=True))
    return None if ours is None or theirs is None else _difference_of_facts(ours, theirs)


def _difference_of_facts(ours: Mapping[str, str], theirs: Mapping[str, str]) -> str | None:
    """What differs between values with names; None if nothing does."""
    lines = list(_lines_of_facts(ours, theirs))
    more = len(lines) - _MOST_NAMED
    return "; ".join(lines[:_MOST_NAMED] + ([f"and {more} more"] if more > 0 else [])) or None


def _lines_of_facts(ours: Mapping[str, str], theirs: Mapping[str, str]) -> Iterator[str]:
    for name in dict.fromkeys((*ours, *theirs)):
        if name not in theirs:
            yield f"{name} = {ours[name]:.60} only before"
        elif name not in ours:
            yield f"{name} = {theirs[name]:.60} only after"
        elif ours[name] != theirs[name]:
            yield f"{name}: {_around(ours[name], theirs[name])}"
    shared = [name for name in ours if name in theirs]
    if ours.keys() == theirs.keys() and shared != list(theirs):
        yield "the order of the names"


def _line(before: str, after: str) -> str:
    """The first line that differs."""
    ours, theirs = before.splitlines(), after.splitlines()
    for tag, start, end, other_start, other_end in difflib.SequenceMatcher(None, ours, theirs, False).get_opcodes():
        if tag != "equal":
            old, new = " / ".join(ours[start:end][:1]), " / ".join(theirs[other_start:other_end][:1])
            return f"line {start + 1}: {_around(old, new)}"
    return "the ends of lines"


def _around(old: str, new: str) -> str:
    """Two texts from shortly before the first character that differs."""
    first = next((i for i, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new)))
    start = max(0, first - 30)
    return f"{old[start : start + 80]!r} -> {new[start : start + 80]!r}"


def _byte(before: bytes, after: bytes) -> str:
    first = next(
        (i for i, (a, b) in enumerate(zip(before, after, strict=False)) if a != b), min(len(before), len(after))
    )
    return f"byte {first} of {len(before):,} and {len(after):,}"
