"""Reports of an evaluation for people: a table of images, and a picture of the worst."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from upseg.data.dataset import Dataset
from upseg.data.picture import draw_samples
from upseg.data.sample import Sample
from upseg.evaluation.json_sets import WholeMasks
from upseg.evaluation.run import Evaluation, ImageScores
from upseg.files import atomic_path
from upseg.segmentation import Segmentation


def write_ranking(evaluation: Evaluation, path: Path) -> None:
    """Write a CSV file with a row for each image, worst first; scores that cannot be computed are empty, and last."""
    names = list(evaluation.scores)
    with atomic_path(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["image", "prediction", *names])
        for row in evaluation.ranking:
            values = [row.scores[name] for name in names]
            table.writerow([row.name, row.prediction, *("" if np.isnan(value) else repr(value) for value in values)])


def draw_worst(evaluation: Evaluation, dataset: Dataset, count: int) -> UInt8[np.ndarray, "h w 3"]:
    """Draw the worst images, two rows for each: ground truth, and prediction with its score.

    Args:
        evaluation: The result, with its ranking.
        dataset: The ground truth.
        count: How many images.

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
