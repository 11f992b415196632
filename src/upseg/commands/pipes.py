"""Standard input and output in place of files: `upseg segment - -o - -f png < photo.jpg > labels.png`."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from upseg.errors import UpsegError

if TYPE_CHECKING:
    from upseg.batch.jobs import ResultOptions
    from upseg.images.options import ReadingOptions

PIPE = "-"


def segment_pipe(
    paths: Sequence[str],
    output: Path,
    *,
    named: Sequence[str] | None,
    model: str,
    settings: Mapping[str, Any],
    formats: Sequence[str],
    device: str,
    reading: ReadingOptions,
    options: ResultOptions,
) -> None:
    """Segment one image from standard input, or to standard output, or both.

    Args:
        paths: `-`, or one file.
        output: `-`, or the folder for the results, which are then called `stdin`.
        named: The formats that were asked for; None for none, which is `png` on standard output.
        model: As `upseg.load_model` takes it.
        settings: What shall differ from the model's own settings.
        formats: What to write into a folder.
        device: As `upseg.load_model` takes it.
        reading: How to read the image.
        options: What becomes of the segments before they are written.

    Raises:
        UpsegError: If there are several images, or several files for one output, or anything is wrong with the image.
    """
    from upseg.batch.jobs import ImageJob, run_job
    from upseg.formats import output_paths
    from upseg.models.registry import find_model

    if len(paths) != 1:
        raise UpsegError(f"with - for standard input or output there must be one image, got {len(paths)}")
    to_output = str(output) == PIPE
    chosen = tuple(dict.fromkeys((named or ("png",)) if to_output else formats))
    if to_output and (len(chosen) != 1 or len(output_paths("result", chosen[0])) != 1):
        raise UpsegError(f"standard output takes one format of one file, got {', '.join(chosen)}; name one with -f")
    with TemporaryDirectory() as folder:
        image, stem = Path(paths[0]), Path(paths[0]).stem
        if paths[0] == PIPE:
            image, stem = Path(folder) / "stdin", "stdin"
            image.write_bytes(sys.stdin.buffer.read())
        target = Path(folder) / "result" if to_output else output / stem
        found = find_model(model, **settings)
        job = ImageJob(image, image.name, target, chosen, reading.over(found.reading), options=options)
        result = run_job(job, found.load(device))
        if result.error is not None:
            raise UpsegError(result.error.replace(str(image), "standard input") if paths[0] == PIPE else result.error)
        if to_output:
            sys.stdout.buffer.write(output_paths(target, chosen[0])[0].read_bytes())
            sys.stdout.buffer.flush()
