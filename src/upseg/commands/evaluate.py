"""`upseg evaluate`: predictions in files against ground truth, under a named protocol."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from upseg.commands.options import (
    Channels,
    DatasetOptions,
    ImageNames,
    Normalize,
    Split,
    check_picture_name,
    print_list,
    print_table,
)
from upseg.errors import DataError

if TYPE_CHECKING:
    from upseg.data.dataset import Dataset
    from upseg.evaluation.run import Evaluation
    from upseg.segmentation import Segmenter


_NAMES = """
bsds500, voc-regions, coco-stuff27, entity, cells, coco-panoptic, cityscapes-panoptic, coco-instances,
coco-agnostic, voc-instances, nyu-depth.
"""  # listed here so that `upseg --help` need not import the metrics

_Protocol = Annotated[str, typer.Argument(metavar="PROTOCOL", help=" ".join(_NAMES.split()))]
_Predictions = Annotated[
    Path | None,
    typer.Option(
        "--predictions",
        "-p",
        help="Folder with predictions in any format that upseg writes, or one JSON file for all images: COCO results, "
        "COCO panoptic or COCO instances.",
    ),
]
_Model = Annotated[
    str | None, typer.Option("--model", "-m", help="Measure what this model makes of the images, without any files.")
]
_Device = Annotated[str, typer.Option(help="auto, cpu or cuda; for --model.")]
_Truth = Annotated[
    str,
    typer.Option(
        "--truth", "--data", "-t", metavar="DATASET:PATH", help="A name from `upseg data sources`, and its folder."
    ),
]
_All = Annotated[bool, typer.Option("--all", help="Print all scores, not only those that people quote.")]

_DepthScale = Annotated[float, typer.Option(help="The integer that is one metre in predicted depth maps.")]
_Output = Annotated[Path | None, typer.Option("--output", "-o", help="Write the report to this JSON file.")]
_Baseline = Annotated[
    Path | None, typer.Option(help="An earlier report (-o) under this protocol; say by how many percent scores differ.")
]
_PerImage = Annotated[Path | None, typer.Option(help="Write each image's scores to this CSV file, worst first.")]
_Worst = Annotated[int | None, typer.Option(min=1, help="Draw so many of the worst images.")]
_Picture = Annotated[Path, typer.Option(help="Where to draw them, .png or .jpg.")]
_AsJson = Annotated[bool, typer.Option("--json", help="Print the report as one JSON document, for machines.")]
_Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but problems.")]


def evaluate(
    protocol: _Protocol,
    truth: _Truth,
    predictions: _Predictions = None,
    model: _Model = None,
    device: _Device = "auto",
    split: Split = None,
    images: ImageNames = None,
    assignments: DatasetOptions = None,
    depth_scale: _DepthScale = 1000.0,
    channels: Channels = None,
    normalize: Normalize = None,
    output: _Output = None,
    baseline: _Baseline = None,
    per_image: _PerImage = None,
    worst: _Worst = None,
    picture: _Picture = Path("worst.png"),
    all_scores: _All = False,
    as_json: _AsJson = False,
    quiet: _Quiet = False,
) -> None:
    """Measure predictions, or a model, against ground truth under a named protocol.

    An image without prediction, a prediction without image, and what is damaged is named; the exit code is then 1.
    """
    from upseg.data.sources.folders import read_names
    from upseg.evaluation.run import draw_worst, write_ranking
    from upseg.files import write_picture, write_text

    if worst is not None:
        check_picture_name(picture)
    dataset = _open_truth(truth, split, assignments, channels, normalize)
    names = None if images is None else read_names(images, "names of images")
    rank = per_image is not None or worst is not None
    options: dict[str, Any] = {"images": names, "rank": rank, "depth_scale": depth_scale}
    source = _what_is_measured(predictions, model, device)
    result = _with_progress(protocol, source, dataset, visible=not quiet, **options)
    report = _compared(result.as_json(), baseline)
    document = json.dumps(report, indent=2)
    if output is not None:
        write_text(output, document + "\n")
    if per_image is not None:
        write_ranking(result, per_image)
    if as_json:
        typer.echo(document)
    elif not quiet:
        written = [path for path in (output, per_image) if path is not None]
        _print_result(result, len(names or dataset), written, all_scores=all_scores)
        _print_changes(report)
    _name_what_is_left_out(result)
    if worst is not None and result.ranking:
        write_picture(picture, draw_worst(result, dataset, worst))
        if not (as_json or quiet):
            typer.echo(f"-> {picture}")
    if not result.is_complete:
        raise typer.Exit(1)


def _what_is_measured(predictions: Path | None, model: str | None, device: str) -> Path | Segmenter:
    from upseg.models.registry import load_model

    if (predictions is None) == (model is None):
        raise typer.BadParameter("give either --predictions, with files, or --model")
    return predictions if predictions is not None else load_model(str(model), device)


def _compared(report: dict[str, Any], baseline: Path | None) -> dict[str, Any]:
    """The report, and by how many percent each score is above that of an earlier one."""
    from upseg.formats.metadata import load_json

    if baseline is None:
        return report
    try:
        earlier = load_json(baseline)
        protocol, scores = earlier["protocol"], earlier["scores"]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{baseline}: expected a report that `upseg evaluate -o` wrote, got {error}") from error
    if protocol != report["protocol"]:
        raise DataError(f"{baseline} is a report of {protocol}, which cannot be compared with {report['protocol']}")
    common = {name: (value, scores.get(name)) for name, value in report["scores"].items()}
    changes = {name: 100 * (own / other - 1) for name, (own, other) in common.items() if own is not None and other}
    return {**report, "baseline": {"report": baseline.stem, "change_percent": changes}}


def _print_changes(report: dict[str, Any]) -> None:
    if "baseline" in report:
        changes = report["baseline"]["change_percent"].items()
        over = report["baseline"]["report"]
        typer.echo(f"over {over}: " + ", ".join(f"{name} {value:+.1f} %" for name, value in changes))


def _open_truth(
    truth: str, split: str | None, assignments: list[str] | None, channels: str | None, normalize: str | None
) -> Dataset:
    """The ground truth; its images are decoded only to draw them."""
    from upseg.commands.data import open_for_command

    source, _, place = truth.partition(":")
    if not place:
        raise DataError(f"--truth must be DATASET:PATH, such as bsds500:BSR, got {truth!r}")
    dataset = open_for_command(source, Path(place), split, None, assignments, channels, normalize)
    dataset.decode_images = False
    return dataset


def _with_progress(
    protocol: str, predictions: Path | Segmenter, dataset: Dataset, *, visible: bool, **options: Any
) -> Evaluation:
    """Show a bar on standard error while images are measured, if that is a terminal."""
    from upseg.commands.bars import progress_bar
    from upseg.evaluation.run import evaluate as measure

    with progress_bar("images", visible=visible, total=len(dataset)) as show:
        return measure(protocol, predictions, dataset, progress=show, **options)


def _print_result(result: Evaluation, images: int, written: Sequence[Path], *, all_scores: bool) -> None:
    from rich.table import Column

    shown = [name for name in result.scores if all_scores or name in (result.protocol.quoted or result.scores)]
    if result.scores:
        rows = ((name, f"{result.scores[name]:.4f}") for name in shown)
        print_table(("score", Column("value", justify="right")), rows)
    typer.echo(f"{result.protocol.name}, {result.images} of {images} images: {result.protocol.description}")
    typer.echo(f"rules: {result.protocol.rules}")
    if len(shown) < len(result.scores):
        typer.echo(f"{len(result.scores) - len(shown)} more scores with --all")
    for path in written:
        typer.echo(f"-> {path}")


def _name_what_is_left_out(result: Evaluation) -> None:
    for title, texts in (
        ("images without a prediction", result.missing),
        ("predictions without ground truth", [str(path) for path in result.extra]),
        ("problems", result.problems),
    ):
        print_list(f"{title}, left out of the scores", texts, to_errors=True, all_by="--output or --json")
    for kind, count in sorted(result.left_out.items()):
        typer.echo(f"left out of the ground truth: {count} x {kind}", err=True)
