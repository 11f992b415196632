"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

DEFAULT_OUTPUT = Path("upseg-out")

Output = Annotated[Path, typer.Option("--output", "-o", help="Folder for the results.")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document, for machines.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but failures.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of each failure.")]
