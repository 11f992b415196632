"""`upseg compare`: where segmentations of the same images agree."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from upseg.commands.options import AsJson, Device, Quiet
from upseg.errors import UpsegError

if TYPE_CHECKING:
    from upseg.comparison import Agreement
    from upseg.segmentation import Segmentation

_MOST_NAMED = 5  # images that some folder lacks
_COLUMNS = ("image", "first", "second", "variation_of_information", "adjusted_rand", "matched", "mean_iou")


@dataclass(frozen=True)
class _Source:
    """One thing that is compared.

    Attributes:
        name: What tables call it.
        files: Its result files by the name of the image; None for a model. A file that was named itself stands
            under the name "", and belongs to any image.
        segment: Segments an image; None for files.
        annotation: The name of an image and one annotator's segmentation of it.
    """

    name: str
    files: Mapping[str, Path] | None = None
    segment: Callable[[Path], Segmentation] | None = None
    annotation: tuple[str, Segmentation] | None = None

    def get(self, key: str, image: Path | None) -> Segmentation:
        from upseg.segmentation import Segmentation

        if self.annotation is not None:
            return self.annotation[1]
        if self.segment is not None and image is not None:
            return self.segment(image)
        files = self.files or {}
        return Segmentation.load(files[""] if "" in files else files[key])


def compare(
    sources: Annotated[
        list[str], typer.Argument(metavar="A B ...", help="Result files, folders of them, or models to segment with.")
    ],
    image: Annotated[
        Path | None, typer.Option("--image", "-i", help="The image, or the folder of images; models need it.")
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the pictures and tables.")] = Path(
        "upseg-compare"
    ),
    device: Device = "auto",
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Show where segmentations of one image agree, those of several methods or of several annotators.

    Writes a picture of the borders, from dark violet (one has them) to yellow (all have), and two tables: each two
    segmentations, and their segments that are the same with their IoU. Of folders, files of the same name belong
    together.
    """
    from upseg.comparison import compare as compare_segmentations
    from upseg.formats.csv_table import write_rows

    found = _sources(sources, image, device)
    if len(found) < 2:
        raise UpsegError(f"there must be at least two segmentations to compare, got {len(found)}")
    pairs: list[list[Any]] = []
    matches: list[list[Any]] = []
    borders: dict[str, float] = {}
    for key, photo in _images(found, image):
        try:
            agreement = compare_segmentations({source.name: source.get(key, photo) for source in found})
        except ValueError as error:
            raise UpsegError(f"{key}: {error}") from error
        borders[key] = agreement.border_agreement
        _draw(agreement, photo, output / f"{key}.agreement.png")
        pairs += _pair_rows(key, agreement)
        matches += _match_rows(key, agreement)
    write_rows(output / "agreement.csv", _COLUMNS, pairs)
    write_rows(output / "matches.csv", ("image", "first", "second", "first_id", "second_id", "iou"), matches)
    if as_json:
        document = {
            "output": str(output),
            "border_agreement": borders,
            "pairs": [dict(zip(_COLUMNS, row, strict=True)) for row in pairs],
        }
        typer.echo(json.dumps(document, indent=2))
    elif not quiet:
        _print_table(pairs, borders, output)


def _sources(texts: Sequence[str], image: Path | None, device: str) -> list[_Source]:
    named = zip(texts, _names(texts), strict=True)
    return [source for text, name in named for source in _source(text, name, image, device)]


def _names(texts: Sequence[str]) -> list[str]:
    """The shortest ends of the paths that tell them apart."""
    parts = [Path(text).parts for text in texts]
    for length in range(1, max(map(len, parts)) + 1):
        names = ["/".join(part[-length:]) for part in parts]
        if len(set(names)) == len(names):
            return names
    raise UpsegError("each of the segmentations must be named once")


def _source(text: str, name: str, image: Path | None, device: str) -> list[_Source]:
    """One source, or of an annotation file of BSDS500 one for each annotator."""
    from upseg.models.folders import CONFIG_NAME, model_folder
    from upseg.models.registry import load_model

    path = Path(text)
    if path.suffix == ".mat" and path.is_file():
        return _annotators(path)
    if path.is_file():
        return [_Source(name, {"": path})]
    if path.is_dir() and not (model_folder(path) / CONFIG_NAME).is_file():
        return [_Source(name, _result_files(path))]
    if image is None:
        raise UpsegError(
            f"{text} is no file or folder of results; to segment with a model, name the image with --image"
        )
    return [_Source(name, segment=load_model(text, device).segment)]


def _annotators(path: Path) -> list[_Source]:
    from upseg.data.sources.bsds500 import read_annotations
    from upseg.segmentation import Segmentation

    maps = [Segmentation.from_labels(labels) for labels in read_annotations(path)]
    return [
        _Source(f"{path.stem} {number}", annotation=(path.stem, segmentation))
        for number, segmentation in enumerate(maps, start=1)
    ]


def _result_files(folder: Path) -> dict[str, Path]:
    """The first result file of each image in a folder, whatever its format."""
    from upseg.formats import readable_suffix

    files: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.name.startswith(".") and readable_suffix(path):
            files.setdefault(path.relative_to(folder).with_name(_key(path)).as_posix(), path)
    if not files:
        raise UpsegError(f"{folder} holds no result that can be read")
    return files


def _key(path: Path) -> str:
    from upseg.formats import readable_suffix

    return path.name.removesuffix(readable_suffix(path) or path.suffix)


def _images(sources: Sequence[_Source], image: Path | None) -> Iterator[tuple[str, Path | None]]:
    """The names of the images that all sources have, and the images where they are known."""
    from upseg.images.reading import IMAGE_SUFFIXES

    held = [source.files for source in sources if source.files and "" not in source.files]
    single = [source.files[""] for source in sources if source.files and "" in source.files]
    drawn = [source.annotation[0] for source in sources if source.annotation is not None]
    photos: dict[str, Path] = {}
    if image is not None and image.is_dir():
        found = [path for path in sorted(image.rglob("*")) if path.suffix.lower() in IMAGE_SUFFIXES]
        photos = {path.relative_to(image).with_suffix("").as_posix(): path for path in found}
    if not held and not photos:
        names = [*drawn, *(_key(path) for path in single), *([] if image is None else [image.stem])]
        yield names[0], image
        return
    keys = [set(files) for files in held] + ([set(photos)] if photos else [])
    common = sorted(set.intersection(*keys))
    if not common:
        raise UpsegError("the folders have no image in common: files of one image must have the same name in each")
    if image is not None and not photos:
        raise UpsegError(f"{image} is one image, but the segmentations are of several; give their folder")
    _say_left_out(set.union(*keys) - set(common))
    for key in common:
        yield key, photos.get(key)


def _say_left_out(names: set[str]) -> None:
    """Name the images that some of the folders lack."""
    if names:
        first = ", ".join(sorted(names)[:_MOST_NAMED]) + (" ..." if len(names) > _MOST_NAMED else "")
        typer.echo(f"upseg: left out, because not in every folder: {len(names)} ({first})", err=True)


def _draw(agreement: Agreement, photo: Path | None, path: Path) -> None:
    from upseg.files import write_picture
    from upseg.images.reading import read_image

    try:
        drawn = agreement.picture(None if photo is None else read_image(photo))
    except ValueError as error:
        raise UpsegError(f"{photo}: {error}") from error
    write_picture(path, drawn)


def _pair_rows(key: str, agreement: Agreement) -> list[list[Any]]:
    return [
        [
            key,
            pair.first,
            pair.second,
            round(pair.variation_of_information, 4),
            round(pair.adjusted_rand, 4),
            len(pair.ious),
            round(float(pair.ious.mean()), 4) if len(pair.ious) else None,
        ]
        for pair in agreement.pairs
    ]


def _match_rows(key: str, agreement: Agreement) -> list[list[Any]]:
    return [
        [key, pair.first, pair.second, first, second, round(iou, 4)]
        for pair in agreement.pairs
        for (first, second), iou in zip(pair.matches.tolist(), pair.ious.tolist(), strict=True)
    ]


def _print_table(pairs: Sequence[Sequence[Any]], borders: Mapping[str, float], output: Path) -> None:
    """The mean over the images of each two."""
    import numpy as np

    names = list(dict.fromkeys((row[1], row[2]) for row in pairs))
    width = max(len(f"{first} - {second}") for first, second in names)
    typer.echo(f"{'':{width}}  VI (bits)  adjusted Rand  matched  mean IoU")
    for first, second in names:
        rows = [row for row in pairs if (row[1], row[2]) == (first, second)]
        distance, rand, matched = (float(np.mean([row[column] for row in rows])) for column in (3, 4, 5))
        ious = [row[6] for row in rows if row[6] is not None]
        mean = f"{np.mean(ious):8.2f}" if ious else f"{'-':>8}"
        label = f"{first} - {second}"
        typer.echo(f"{label:{width}}  {distance:9.2f}  {rand:13.2f}  {matched:7.1f}  {mean}")
    known = [value for value in borders.values() if not np.isnan(value)]
    images = f"{len(borders)} image{'s' if len(borders) > 1 else ''}"
    share = f"; {np.mean(known):.0%} of the segmentations have a border where any has one" if known else ""
    typer.echo(f"{images}{share}; pictures and tables in {output}")
