"""`upseg segment`: images in, files with segments out."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from upseg.commands.options import (
    DEFAULT_OUTPUT,
    AsJson,
    Channels,
    Debug,
    Device,
    Engine,
    MaxPixels,
    Normalize,
    Quiet,
    Verbose,
    channel_numbers,
    local_folder,
    pictures_apart,
    run_and_report,
    start_logging,
)
from upseg.commands.quick_start import start_quickly
from upseg.errors import UpsegError

if TYPE_CHECKING:
    from upseg.batch.jobs import ResultOptions
    from upseg.images.options import ReadingOptions


_SNAPSHOTS = 10
_Paths = Annotated[
    list[str], typer.Argument(help="Images, folders (searched throughout) and globs; s3://... and gs://... too.")
]
_Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        help="A name from `upseg models`, a model folder, or owner/name of a hub model. Without it photos; with "
        "--preset or --set dynaseg, whose they are.",
    ),
]
_Preset = Annotated[str | None, typer.Option(help="A named set of settings; for dynaseg: default or paper.")]
_Detail = Annotated[float | None, typer.Option(help="From 0 (few, large segments) to 1 (all that were found).")]
_Seed = Annotated[int | None, typer.Option(help="Where random numbers start: same seed, same results.")]
_Assignments = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any other setting of the method; repeatable.")
]
_Formats = Annotated[
    list[str] | None,
    typer.Option(
        "--format",
        "-f",
        help="png, tif, coco, panoptic, geojson, labelme, imagej, svg, npz, overlay, overlay-jpg, csv, cutouts, "
        "levels, hierarchy, hierarchy-coco, depth or (with --memory) ome-zarr; repeatable. Without any: png and "
        "overlay. Of how a model came to its segments: features (entity), boundaries (baiseg), snapshots (dynaseg), as "
        "pictures.",
    ),
]
_Overlay = Annotated[bool, typer.Option("--overlay", help="Also draw the segments over the image.")]
_Depth = Annotated[
    bool, typer.Option("--depth", help="Also write depth, a 16-bit PNG and a picture, of models that predict it.")
]
_Levels = Annotated[
    int | None, typer.Option(min=1, help="Also write so many levels of detail of one fit, as pages of a TIFF.")
]
_Snapshots = Annotated[
    int | None, typer.Option(min=1, help="Also draw so many moments of the fit; of dynaseg, with steps above 0.")
]
_MinArea = Annotated[int | None, typer.Option(min=1, help="Leave smaller segments out, in pixels.")]
_MaxArea = Annotated[int | None, typer.Option(min=1, help="Leave larger segments out, in pixels.")]
_ClearBorder = Annotated[bool, typer.Option("--clear-border", help="Leave segments out that touch the image's edge.")]
_PixelSize = Annotated[
    str | None,
    typer.Option(
        metavar="LENGTH", help="A pixel's side, as 0.32um, for measurements; without it what OME or ImageJ noted."
    ),
]
_Workers = Annotated[
    int | None,
    typer.Option(
        "--workers", "-j", min=1, help="Images segmented side by side: 1, or with --ray as many as CPUs or GPUs."
    ),
]
_Page = Annotated[int | None, typer.Option(min=0, help="Which plane of a TIFF stack to segment, from 0.")]
_Memory = Annotated[
    str | None,
    typer.Option(
        metavar="SIZE",
        help="Segment in blocks as large as this much memory allows, such as 4GB: images of any size (TIFF, OME-Zarr, "
        "SVS); with photos, dynaseg and nuclei, into tif, geojson or ome-zarr.",
    ),
]
_Shard = Annotated[
    str | None,
    typer.Option(metavar="I/N", help="Do every N-th image from the I-th: for job arrays; N runs do all of them."),
]
_Planes = Annotated[
    str | None,
    typer.Option(
        metavar="all|A-B|max-projection",
        help="Of files with several planes: segment each and join segments to objects, into tif (a label stack) and "
        "tracks; or segment their maximum.",
    ),
]
_Link = Annotated[
    float | None,
    typer.Option(metavar="IOU", help="With --planes: overlap at which segments are one object; without it 0.5."),
]
_Ray = Annotated[
    str | None,
    typer.Option(
        metavar="[ADDRESS]",
        help="On a Ray cluster: HOST:PORT, ray://HOST:PORT, auto (the same without an address: the one that runs here, "
        "else a new one on this machine) or local (a new one).",
    ),
]
_Output = Annotated[
    str, typer.Option("--output", "-o", metavar="PATH", help="Folder for the results, or s3://... or gs://... .")
]
_Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Allow files to be replaced that are not earlier results of the image.")
]


class SegmentCommand(TyperCommand):
    """Takes `--ray` with an address or without."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Add the address that a bare `--ray` stands for."""
        from upseg.batch.ray_pipeline import AUTO, is_address

        for place in reversed([index for index, text in enumerate(args) if text == "--ray"]):
            if not any(is_address(text) for text in args[place + 1 : place + 2]):
                args.insert(place + 1, AUTO)
        return super().parse_args(ctx, args)


def segment(
    paths: _Paths,
    output: _Output = str(DEFAULT_OUTPUT),
    model: _Model = None,
    preset: _Preset = None,
    detail: _Detail = None,
    seed: _Seed = None,
    assignments: _Assignments = None,
    formats: _Formats = None,
    overlay: _Overlay = False,
    depth: _Depth = False,
    levels: _Levels = None,
    snapshots: _Snapshots = None,
    min_area: _MinArea = None,
    max_area: _MaxArea = None,
    clear_border: _ClearBorder = False,
    pixel_size: _PixelSize = None,
    workers: _Workers = None,
    device: Device = "auto",
    engine: Engine = None,
    channels: Channels = None,
    normalize: Normalize = None,
    page: _Page = None,
    max_pixels: MaxPixels = None,
    memory: _Memory = None,
    shard: _Shard = None,
    planes: _Planes = None,
    link: _Link = None,
    ray: _Ray = None,
    overwrite: _Overwrite = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
    verbose: Verbose = False,
) -> None:
    """Segment images.

    A second run with the same arguments does only what is missing. One broken image never stops the rest. `-` is
    standard input, and as `-o -` standard output.
    """
    from upseg.batch.blocks import parse_memory
    from upseg.batch.jobs import ResultOptions
    from upseg.batch.run import segment_files
    from upseg.images.options import ReadingOptions

    start_logging(verbose=verbose)
    start_quickly()
    model = model or ("dynaseg" if preset or assignments else "photos")
    if not formats and (memory is not None or planes not in (None, "max-projection")):
        formats = ["tif"] if planes is None else ["tif", "tracks"]
    given, kinds = pictures_apart([*(formats or ()), *(() if snapshots is None else ("snapshots",))])
    parts: dict[str, Any] = {"planes": planes, **({} if link is None else {"link": _share_of(link, planes)})}
    parts |= {} if memory is None else {"memory": parse_memory(memory)}
    parts |= {} if shard is None else {"shard": _shard_of(shard)}
    reader: dict[str, Any] = {
        "model": model,
        "settings": _settings(model, assignments, preset=preset, detail=detail, seed=seed, engine=engine),
        "device": device,
        "reading": ReadingOptions(channel_numbers(channels), page, max_pixels, normalize),
    }
    common = {
        **reader,
        "formats": _formats(given, overlay=overlay, depth=depth, levels=levels is not None),
        "options": ResultOptions(min_area, max_area, clear_border, pixel_size, levels),
    }
    if PIPE in (*paths, output):
        if memory or planes or ray:
            raise typer.BadParameter("an image from or to - is one plane here; leave --memory, --planes and --ray out")
        if kinds:
            raise typer.BadParameter(f"{kinds[0]} are written to a folder; leave the - out")
        segment_pipe(paths, Path(output), named=formats, **common)
        return
    if kinds:
        from upseg.commands.pictures import write_pictures

        drawn = write_pictures(
            paths, local_folder(output), kinds, **reader, count=snapshots or _SNAPSHOTS, quiet=quiet or as_json
        )
        if not given and snapshots is None and not (overlay or depth or levels):  # nothing but pictures
            if not drawn:
                raise typer.Exit(1)
            return
    summary = run_and_report(
        lambda display: segment_files(
            paths, output, workers=workers, overwrite=overwrite, observer=display, ray=ray, **common, **parts
        ),
        "image",
        "segmented",
        as_json=as_json,
        quiet=quiet,
        debug=debug,
    )
    if summary.failures:
        raise typer.Exit(1)


def _shard_of(text: str) -> tuple[int, int]:
    part, _, parts = text.partition("/")
    if not (part.isdecimal() and parts.isdecimal()):
        raise UpsegError(f"--shard must be I/N, such as 3/10, got {text!r}")
    return int(part), int(parts)


def _share_of(link: float, planes: str | None) -> float:
    if planes is None or not 0 < link <= 1:
        raise UpsegError(f"--link must be an IoU in (0, 1], with --planes, got {link:g}")
    return link


def _formats(named: Sequence[str] | None, *, overlay: bool, depth: bool, levels: bool) -> list[str]:
    """What to write: depth and levels come beside the default formats, an overlay instead of them."""
    from upseg.batch.run import DEFAULT_FORMATS
    from upseg.formats import formats_that_need

    segments = [*(named or ()), *(("overlay",) if overlay else ())]
    stacked = levels and not formats_that_need("levels", segments)
    return [*(segments or DEFAULT_FORMATS), *(("levels",) if stacked else ()), *(("depth",) if depth else ())]


def _settings(model: str, assignments: Sequence[str] | None, **options: Any) -> dict[str, Any]:
    """All settings by name, typed as the method's are; those with an option of their own win over `--set`."""
    from upseg.models.registry import settings_class
    from upseg.settings import parse_assignments

    typed = parse_assignments(assignments, settings_class(model)) if assignments else {}
    return {**typed, **{key: value for key, value in options.items() if value is not None}}


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

    Arguments as of `upseg.batch.run.segment_files`, but of `paths` and `output` one is `-`; results in a folder are
    then called `stdin`. `named` are the formats that were asked for; None for none, which is `png` on standard output.

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
