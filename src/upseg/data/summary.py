"""What is in a data set: counts, classes, sizes, and what is wrong with it."""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from upseg.data.dataset import Dataset
from upseg.data.sample import Sample
from upseg.errors import DataError
from upseg.segmentation import Category


@dataclass
class CategoryCount:
    """How often a class occurs.

    Attributes:
        images: In how many images.
        segments: Number of its segments, crowds included.
        crowds: Number of its crowds.
        pixels: Number of its pixels.
    """

    images: int = 0
    segments: int = 0
    crowds: int = 0
    pixels: int = 0


@dataclass
class DatasetSummary:
    """What reading a whole data set has found.

    Attributes:
        samples: Number of samples that could be read.
        problems: What is wrong with the data set and with the samples that could not be read.
        left_out: What annotations have but a label map cannot show, or nobody can use, one text each.
        left_out_kinds: How many of them there are of each kind.
        values: What the numbers of label maps mean; empty where the data set has its own rules.
        notes: What was found at opening that is not wrong.
        without_segments: Number of samples without any segment.
        with_depth: Number of samples with depth.
        segments: Number of segments.
        pixels: Number of pixels.
        labelled: Number of pixels that belong to a segment.
        sizes: How many samples have which (H, W).
        annotators: How many samples have how many annotators.
        categories: Counts by class; None stands for segments without a class.
    """

    samples: int = 0
    problems: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    left_out_kinds: Counter[str] = field(default_factory=Counter)
    values: str = ""
    notes: list[str] = field(default_factory=list)
    without_segments: int = 0
    with_depth: int = 0
    segments: int = 0
    pixels: int = 0
    labelled: int = 0
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    annotators: Counter[int] = field(default_factory=Counter)
    categories: dict[Category | None, CategoryCount] = field(default_factory=dict)

    def add(self, sample: Sample) -> None:
        """Count one sample."""
        self.samples += 1
        self.left_out += [f"{sample.name}: {text}" for text in sample.left_out]
        self.left_out_kinds.update(map(kind_of, sample.left_out))
        self.without_segments += not sample.segments
        self.with_depth += sample.depth is not None
        self.segments += len(sample.segments)
        self.pixels += sample.segment_map.size
        self.labelled += sum(segment.area for segment in sample.segments)
        self.sizes[sample.shape] += 1
        self.annotators[len(sample.annotations)] += 1
        for category in {segment.category for segment in sample.segments}:
            self.categories.setdefault(category, CategoryCount()).images += 1
        for segment in sample.segments:
            count = self.categories[segment.category]
            count.segments += 1
            count.crowds += segment.is_crowd
            count.pixels += segment.area

    def median_size(self) -> tuple[int, int]:
        """(H, W), each the median over the samples; (0, 0) without any."""
        shapes = np.array([shape for shape, count in self.sizes.items() for _ in range(count)], np.int64).reshape(-1, 2)
        return (int(np.median(shapes[:, 0])), int(np.median(shapes[:, 1]))) if len(shapes) else (0, 0)

    def as_json(self) -> dict[str, Any]:
        """The same as what JSON can hold."""
        heights = [height for height, _ in self.sizes] or [0]
        widths = [width for _, width in self.sizes] or [0]
        return {
            "samples": self.samples,
            "segments": self.segments,
            "labelled_share": self.labelled / self.pixels if self.pixels else 0.0,
            "samples_without_segments": self.without_segments,
            "samples_with_depth": self.with_depth,
            "annotators": {str(count): samples for count, samples in sorted(self.annotators.items())},
            "height": {"smallest": min(heights), "median": self.median_size()[0], "largest": max(heights)},
            "width": {"smallest": min(widths), "median": self.median_size()[1], "largest": max(widths)},
            "categories": [
                {
                    "id": None if category is None else category.id,
                    "name": None if category is None else category.name,
                    "is_thing": category is None or category.is_thing,
                    **asdict(count),
                }
                for category, count in self.categories.items()
            ],
            "values": self.values or None,
            "notes": self.notes,
            "left_out_kinds": dict(sorted(self.left_out_kinds.items())),
            "left_out": self.left_out,
            "problems": self.problems,
        }


def summarise(dataset: Dataset, progress: Callable[[int, int], None] | None = None) -> DatasetSummary:
    """Read every sample and count.

    Args:
        dataset: What to read; with `on_error="skip"` damaged samples are listed, with "raise" the first one ends it.
        progress: Called after each sample with the numbers of samples done and in all.

    Raises:
        DataError: If a sample is damaged and the data set's `on_error` is "raise".

    Example:
        >>> from upseg.data import ShapeScenes
        >>> summary = summarise(ShapeScenes(4, size=(32, 48)))
        >>> summary.samples, summary.median_size()
        (4, (32, 48))
    """
    try:
        categories = dataset.categories
    except DataError:  # of which every sample will say what is wrong
        if dataset.on_error == "raise":
            raise
        categories = ()
    summary = DatasetSummary(categories={category: CategoryCount() for category in categories})
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="skipped", category=UserWarning)  # they are in the summary
        for index in range(len(dataset)):
            sample = dataset.read(index)
            if sample is not None:
                summary.add(sample)
            if progress is not None:
                progress(index + 1, len(dataset))
    summary.notes = list(dataset.notes)
    summary.values = "" if dataset.values is None else str(dataset.values)
    summary.problems = [*dataset.problems, *_nothing_in(summary, has_objects=dataset.has_objects)]
    return summary


def kind_of(left_out: str) -> str:
    """What is wrong with something that was left out, whichever it is: `annotation 7 is only a box` without the 7."""
    return re.sub(r"^(\w+) \S+ ", r"\1 ", left_out)


def _nothing_in(summary: DatasetSummary, *, has_objects: bool) -> list[str]:
    """What is wrong if there is nothing to learn or to measure."""
    crowds = sum(count.crowds for count in summary.categories.values())
    if summary.samples and summary.segments == 0 and not summary.with_depth:
        return [f"none of the {summary.samples} samples has a segment: there is nothing to learn, and nothing to find"]
    if has_objects and summary.segments and crowds == summary.segments:
        return [f"all {crowds} segments are crowds (iscrowd 1): nothing is learned of them, and no metric counts them"]
    return []
