"""`upseg compare`: where segmentations of the same images agree."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from upseg.commands.options import AsJson, Channels, Device, Normalize, Quiet, channel_numbers
from upseg.errors import UpsegError

if TYPE_CHECKING:
    from upseg.comparison import Agreement
    from upseg.images.options import ReadingOptions
    from upseg.segmentation import Segmentation

_MOST_NAMED = 5  # images that some folder lacks
ANNOTATIONS = ".mat"
"""Of BSDS500: several people's segmentations of one image."""
_COLUMNS = ("image", "first", "second", "variation_of_information", "adjusted_rand", "matched", "mean_iou")

_Sources = Annotated[
    list[str],
    typer.Argument(
        metavar="A B ...", help="Result files, folders of them, models to segment with, or BSDS500's annotations."
    ),
]
_Image = Annotated[
    Path | None, typer.Option("--image", "-i", help="The image, or the folder of images; models need it.")
]
_Output = Annotated[Path, typer.Option("--output", "-o", help="Folder for the pictures and tables.")]


@dataclass(frozen=True)
class _Source:
    """One thing that is compared.

    Attributes:
        name: What tables call it.
        files: Its result files by the name of the image; None for a model. A file that was named itself stands
            under the name "", and belongs to any image.
        segment: Segments an image; None for files.
    """

    name: str
    files: Mapping[str, Path] | None = None
    segment: Callable[[Path], Segmentation] | None = None

    def get(self, key: str, image: Path | None) -> dict[str, Segmentation]:
        """Its segmentation of an image, by its name; of a file of BSDS500 one for each annotator, numbered."""
        from upseg.data.sources.bsds500 import read_annotations
        from upseg.segmentation import Segmentation

        if self.segment is not None and image is not None:
            return {self.name: self.segment(image)}
        files = self.files or {}
        path = files[""] if "" in files else files[key]
        if path.suffix != ANNOTATIONS:
            return {self.name: Segmentation.load(path)}
        annotated = enumerate(read_annotations(path), start=1)
        return {f"{self.name} {number}": Segmentation.from_labels(labels) for number, labels in annotated}


def compare(
    sources: _Sources,
    image: _Image = None,
    output: _Output = Path("upseg-compare"),
    channels: Channels = None,
    normalize: Normalize = None,
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
    from upseg.images.options import ReadingOptions

    reading = ReadingOptions(channel_numbers(channels), normalize=normalize)
    found = [_source(text, name, image, device, reading) for text, name in zip(sources, _names(sources), strict=True)]
    pairs: list[list[Any]] = []
    matches: list[list[Any]] = []
    borders: dict[str, float] = {}
    for key, photo in _images(found, image):
        compared = {name: one for source in found for name, one in source.get(key, photo).items()}
        if len(compared) < 2:
            raise UpsegError(f"there must be at least two segmentations to compare, got {len(compared)}")
        try:
            agreement = compare_segmentations(compared)
        except ValueError as error:
            raise UpsegError(f"{key}: {error}") from error
        borders[key] = agreement.border_agreement
        _draw(agreement, photo, reading, output / f"{key}.agreement.png")
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


def _names(texts: Sequence[str]) -> list[str]:
    """The shortest ends of the paths that tell them apart."""
    parts = [Path(text).parts for text in texts]
    for length in range(1, max(map(len, parts)) + 1):
        names = ["/".join(part[-length:]) for part in parts]
        if len(set(names)) == len(names):
            return names
    raise UpsegError("each of the segmentations must be named once")


def _source(text: str, name: str, image: Path | None, device: str, reading: ReadingOptions) -> _Source:
    from upseg.models.folders import CONFIG_NAME, model_folder
    from upseg.models.registry import find_model

    path = Path(text)
    if path.is_file():
        return _Source(name.removesuffix(ANNOTATIONS), {"": path})
    if path.is_dir() and not (model_folder(path) / CONFIG_NAME).is_file():
        return _Source(name, _result_files(path))
    if image is None:
        raise UpsegError(
            f"{text} is no file or folder of results; to segment with a model, name the image with --image"
        )
    model = find_model(text)
    segmenter, own = model.load(device), reading.over(model.reading)
    return _Source(name, segment=lambda photo: segmenter.segment(own.read(photo)))


def _result_files(folder: Path) -> dict[str, Path]:
    """The first result or annotation file of each image in a folder, whatever its format."""
    from upseg.formats import readable_suffix

    files: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        is_read = readable_suffix(path) or path.suffix == ANNOTATIONS
        if path.is_file() and not path.name.startswith(".") and is_read:
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
    photos: dict[str, Path] = {}
    if image is not None and image.is_dir():
        found = [path for path in sorted(image.rglob("*")) if path.suffix.lower() in IMAGE_SUFFIXES]
        photos = {path.relative_to(image).with_suffix("").as_posix(): path for path in found}
    if not held and not photos:
        names = [*(_key(path) for path in single), *([] if image is None else [image.stem])]
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


def _draw(agreement: Agreement, photo: Path | None, reading: ReadingOptions, path: Path) -> None:
    from PIL import Image

    from upseg.files import atomic_path

    try:
        drawn = agreement.picture(None if photo is None else reading.read(photo))
    except ValueError as error:
        raise UpsegError(f"{photo}: {error}") from error
    with atomic_path(path) as partial:
        Image.fromarray(drawn).save(partial, format="PNG")


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
