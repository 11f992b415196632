"""Measure a folder of predictions: image by image, and over all of them; reports for people: a CSV file, a picture."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from upseg.data.dataset import Dataset
from upseg.data.picture import draw_samples
from upseg.data.sample import Sample
from upseg.data.sources.coco_json import CocoJson
from upseg.data.sources.sa1b import SA1B
from upseg.data.summary import kind_of
from upseg.errors import DataError, FormatError
from upseg.evaluation.json_sets import InFile, WholeMasks
from upseg.evaluation.predictions import (
    DEPTH_SUFFIXES,
    SEGMENTATION_SUFFIXES,
    Matching,
    match_json,
    match_model,
    match_predictions,
    reader_of,
)
from upseg.evaluation.protocols import PROTOCOLS, Protocol
from upseg.formats.csv_table import write_rows
from upseg.metrics.accumulator import Accumulator
from upseg.segmentation import Segmentation, Segmenter

Reader = Callable[[Path], Any]


@dataclass(frozen=True, slots=True)
class ImageScores:
    """How one image fared.

    Attributes:
        name: The sample's name.
        index: Its number in the data set.
        prediction: The file of the prediction, or what stands for it.
        scores: The protocol's scores of this image alone; nan where it has nothing that they could be computed from.
    """

    name: str
    index: int
    prediction: Path | InFile
    scores: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The result of an evaluation.

    Attributes:
        protocol: What was measured.
        reader: What reads a prediction.
        images: Number of images that the scores are of.
        scores: The protocol's scores over all of these images.
        per_class: A row for each class, where the protocol has classes.
        ranking: The images, worst first; empty if it was not asked for.
        missing: Names of images without prediction, which the scores leave out.
        extra: Predictions without ground truth.
        problems: Ground truth or predictions that could not be used, each with its reason; the scores leave them out.
        left_out: How much of each kind the annotations have that a label map cannot show, or nobody can use.
    """

    protocol: Protocol
    reader: Reader
    images: int
    scores: Mapping[str, float]
    per_class: list[dict[str, Any]]
    ranking: list[ImageScores] = field(default_factory=list)
    missing: tuple[str, ...] = ()
    extra: tuple[Path | InFile, ...] = ()
    problems: tuple[str, ...] = ()
    left_out: Mapping[str, int] = field(default_factory=dict)

    @property
    def is_complete(self) -> bool:
        """Whether every image has its prediction and the reverse, and all of them could be used."""
        return not (self.missing or self.extra or self.problems)

    def as_json(self) -> dict[str, Any]:
        """The result as JSON holds it; null for scores that cannot be computed."""
        return {
            "protocol": self.protocol.name,
            "rules": self.protocol.rules,
            "images": self.images,
            "scores": _without_nan(self.scores),
            "per_class": [_without_nan(row) for row in self.per_class],
            "missing": list(self.missing),
            "extra": [str(path) for path in self.extra],
            "problems": list(self.problems),
            "left_out": dict(self.left_out),
        }


def evaluate(
    protocol: str,
    predictions: Path | Segmenter,
    dataset: Dataset,
    *,
    images: Iterable[str] | None = None,
    rank: bool = False,
    depth_scale: float = 1000.0,
    progress: Callable[[int, int], object] | None = None,
) -> Evaluation:
    """Measure predictions against the ground truth of a data set.

    Args:
        protocol: A name in `PROTOCOLS`.
        predictions: A folder with files in any format that upseg writes, called like the data set's images (see
            `match_predictions`); for depth as `read_depth` takes them. Or one JSON file for all images: a list of COCO
            results, COCO panoptic or COCO instances (see `predictions_in`), whose masks count whole where the protocol
            looks at masks. Or a loaded model, which then segments the images.
        dataset: The ground truth, whole: `Dataset.subset` hides COCO's overlapping masks, `images` does not.
        images: Names of the images to measure; None for all. Predictions of other images of the data set are of no
            interest then.
        rank: Whether to score each image alone, too.
        depth_scale: The integer that stands for one metre in files of predicted depth.
        progress: Called after each image with how many are done and how many there are.

    Raises:
        DataError: If there is no such protocol, the data set lacks what it needs, or no prediction belongs to it.
    """
    chosen = _checked(protocol, dataset, depth_scale)
    matching = _matching(chosen, predictions, dataset)
    if images is not None:
        matching = matching.only(dataset.subset(images).names)
    reader = reader_of(depth_scale if chosen.needs_depth else None, dataset.values)
    totals = chosen.accumulators(dataset.categories)
    ranking: list[ImageScores] = []
    problems, left_out = list(dataset.problems), Counter[str]()
    measured = 0
    indices = {name: index for index, name in enumerate(dataset.names)}
    for done, (name, path) in enumerate(matching.files.items(), start=1):
        try:
            one = _measure(chosen, dataset, indices[name], path, reader, left_out)
        except (DataError, FormatError) as error:
            problems.append(str(error))
        else:
            measured += 1
            for total, own in zip(totals, one, strict=True):
                total.merge(own)
            if rank:
                ranking.append(ImageScores(name, indices[name], path, chosen.scores(one)))
        if progress is not None:
            progress(done, len(matching.files))
    scores = dict(chosen.scores(totals)) if measured else {}
    if measured and math.isnan(scores[chosen.score]):
        problems.append(
            f"{chosen.score} cannot be computed: in {measured} images {chosen.name} finds nothing to count (all is "
            "void, crowd, or of classes that it leaves out)"
        )
    per_class = [
        {"id": category.id, "name": category.name, "is_thing": category.is_thing, **of_class}
        for total in totals
        for category, of_class in total.per_class().items()
    ]
    ranking.sort(key=partial(_badness, protocol=chosen))
    around = matching.missing, matching.extra, tuple(problems), left_out
    return Evaluation(chosen, reader, measured, scores, per_class, ranking, *around)


def _checked(name: str, dataset: Dataset, depth_scale: float) -> Protocol:
    """The protocol of that name, if the data set has what it needs and the scale is one."""
    if name not in PROTOCOLS:
        raise DataError(f"there is no protocol {name!r}; there are {', '.join(PROTOCOLS)}")
    if "classes" in PROTOCOLS[name].truth and not dataset.categories:
        raise DataError(f"{name} needs ground truth with classes, but the data set has none; try entity or cells")
    if not depth_scale > 0:
        raise DataError(f"the depth scale must be more than 0, got {depth_scale}")
    return PROTOCOLS[name]


def _matching(protocol: Protocol, predictions: Path | Segmenter, dataset: Dataset) -> Matching:
    """Which prediction belongs to which image of the data set."""
    if not isinstance(predictions, Path):
        if protocol.needs_depth:
            raise DataError(f"{protocol.name} measures depth; write it with `upseg segment --depth` first")
        return match_model(predictions, type(predictions).__name__, dataset)
    if predictions.is_file() and not protocol.needs_depth:
        return match_json(predictions, dataset)
    suffixes = DEPTH_SUFFIXES if protocol.needs_depth else SEGMENTATION_SUFFIXES
    return match_predictions(predictions, dataset.names, suffixes)


def _measure(
    protocol: Protocol,
    dataset: Dataset,
    index: int,
    path: Path | InFile,
    reader: Reader,
    left_out: Counter[str],
) -> tuple[Accumulator, ...]:
    """The totals of one image alone; an image that fails halfway leaves nothing behind."""
    sample = dataset[index]
    prediction = reader(path) if isinstance(path, Path) else path.read()
    if isinstance(prediction, WholeMasks):
        prediction = prediction if protocol.as_annotated else prediction.painted(sample.shape)
    elif prediction.shape != sample.shape:
        raise DataError(
            f"{path}: expected {sample.shape[0]} x {sample.shape[1]} pixels (height x width) as in the ground truth of "
            f"{sample.name}, got {prediction.shape[0]} x {prediction.shape[1]}; give it the image's size"
        )
    one = protocol.accumulators(dataset.categories)
    options: dict[str, Any] = {}
    if protocol.as_annotated and isinstance(dataset, CocoJson):
        image, rows, _ = dataset.annotations(index)
        # an image that was turned has other rows and columns than the masks
        options = {"annotations": rows} if (image["height"], image["width"]) == sample.shape else {}
    if protocol.name == "entity" and isinstance(dataset, SA1B):
        options = {"whole_masks": dataset.whole_masks(index)}
    left_out.update(map(kind_of, sample.left_out))
    try:
        protocol.update(one, index, sample, prediction, **options)
    except ValueError as error:
        raise DataError(f"{path} does not fit the ground truth of {sample.name}: {error}") from error
    return one


def _badness(image: ImageScores, protocol: Protocol) -> tuple[bool, float]:
    """What images are ranked by, worst first; those without a score come last."""
    score = image.scores[protocol.score]
    return (True, 0.0) if math.isnan(score) else (False, score if protocol.higher_is_better else -score)


def _without_nan(table: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in table.items()
    }


def write_ranking(evaluation: Evaluation, path: Path) -> None:
    """Write a CSV file with a row for each image, worst first; scores that cannot be computed are empty, and last."""
    names = list(evaluation.scores)
    rows = [
        [row.name, row.prediction, *(None if np.isnan(row.scores[name]) else row.scores[name] for name in names)]
        for row in evaluation.ranking
    ]
    write_rows(path, ["image", "prediction", *names], rows)


def draw_worst(evaluation: Evaluation, dataset: Dataset, count: int) -> UInt8[np.ndarray, "h w 3"]:
    """Draw so many of the worst images, two rows for each: ground truth, and prediction with its score.

    Raises:
        ValueError: If no image is ranked.
        DataError: If an image cannot be decoded.
    """
    return draw_samples([row for image in evaluation.ranking[:count] for row in _rows(evaluation, dataset, image)])


def _rows(evaluation: Evaluation, dataset: Dataset, image: ImageScores) -> Sequence[Sample]:
    """Ground truth and prediction as two samples of one image."""
    truth, source = dataset[image.index], image.prediction
    prediction = evaluation.reader(source) if isinstance(source, Path) else source.read()
    if isinstance(prediction, WholeMasks):
        prediction = prediction.painted(truth.shape)
    score = evaluation.protocol.score
    caption = f"prediction: {score} {image.scores[score]:.3f}"
    if isinstance(prediction, Segmentation):
        categories = {segment.id: segment.category for segment in prediction if segment.category is not None}
        return truth, Sample.from_labels(truth.image, prediction.labels, categories=categories, name=caption)
    return truth, Sample(truth.image, np.zeros(truth.shape, np.int32), (), prediction, name=caption)
