"""Reports: a table on the screen, and the same as Markdown and JSON beside each other."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

PACKAGES = ("torch", "numpy", "scipy", "scikit-image", "scikit-learn")


def markdown_table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table whose columns also line up as plain text; the first column is text, the others numbers."""
    cells = [[str(heading) for heading in headings], *([_text(value) for value in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(headings))]
    lines = [
        f"| {' | '.join(c.rjust(w) if i else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True)))} |"
        for row in cells
    ]
    rule = "|" + "|".join("-" * (w + 1) + (":" if i else "-") for i, w in enumerate(widths)) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])


def write_report(
    folder: Path, name: str, title: str, sections: Sequence[str], data: Mapping[str, Any], notes: Sequence[str] = ()
) -> None:
    """Print a report, and write it to `folder` as `name`.md and `name`.json.

    Args:
        folder: Made where it does not exist.
        name: Of the two files, without suffix.
        title: One line.
        sections: Markdown: tables, and headings between them.
        data: What the tables were made from; anything JSON can hold.
        notes: Sentences under the tables.
    """
    machine = machine_facts()
    on = f"{machine['processor']}, {machine['cores']} cores, Python {machine['python']}, " + ", ".join(
        f"{package} {machine['packages'][package]}" for package in PACKAGES
    )
    parts = [f"# {title}", *sections, "\n".join(f"- {note}" for note in (*notes, f"Measured on {on}."))]
    text = "\n\n".join(parts) + "\n"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.md").write_text(text)
    (folder / f"{name}.json").write_text(json.dumps({"title": title, "machine": machine, **data}, indent=2) + "\n")
    print(f"\n{text}\nwritten: {folder / name}.md and .json")


def machine_facts() -> dict[str, Any]:
    """Processor, cores, and the versions that matter for speed and results."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "python": platform.python_version(),
        "packages": {package: version(package) for package in PACKAGES},
    }


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _text(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.3f}" if abs(value) < 1 else f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"
    return str(value)
