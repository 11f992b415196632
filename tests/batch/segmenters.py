"""Small, fast methods to try the frame with; `command_line.py` gives them to the command line."""

import hashlib
import os
import signal
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Self

import numpy as np
from safetensors.numpy import load_file

from upseg.errors import ModelError
from upseg.functional.label_maps import connected_components
from upseg.images.reading import ImageLike, read_image
from upseg.models.registry import METHODS, Method
from upseg.predicted_depth import PredictedDepth
from upseg.segmentation import Category, Progress, Segmentation


@dataclass(frozen=True)
class ThresholdSettings:
    levels: int = 4
    delay: float = 0.0
    seed: int = 0
    detail: float = 0.5
    connected: bool = True
    weighting: Literal["equal", "green"] = "equal"
    limits: tuple[float, ...] | None = None
    note: str | None = None

    def __post_init__(self) -> None:
        if self.levels < 1:
            raise ValueError(f"levels must be at least 1, got {self.levels}")

    @classmethod
    def preset(cls, name: str, **values: object) -> Self:
        presets = {"default": {}, "coarse": {"levels": 2}}
        if name not in presets:
            raise ValueError(f"there is no preset {name!r}; the presets are {', '.join(presets)}")
        return replace(cls(**presets[name]), **values)


class ThresholdSegmenter:
    """Cuts grey values into equal levels. Takes images of one colour for orders: see `_obey`."""

    def __init__(self, settings: ThresholdSettings, device: str) -> None:
        self.settings = settings
        self.device = device

    def segment(self, image: ImageLike, progress: Progress | None = None) -> Segmentation:
        pixels = read_image(image)
        _obey(pixels)
        if "UPSEG_TEST_PIDS" in os.environ:
            (Path(os.environ["UPSEG_TEST_PIDS"]) / str(os.getpid())).touch()
        if "UPSEG_TEST_LOG" in os.environ:
            with Path(os.environ["UPSEG_TEST_LOG"]).open("a") as log:
                log.write(f"{hashlib.sha256(pixels.tobytes()).hexdigest()}\n")
        for step in range(4):
            time.sleep(float(os.environ.get("UPSEG_TEST_DELAY", self.settings.delay)) / 4)
            if progress is not None:
                progress(step + 1, 4)
        levels = np.minimum((pixels.mean(axis=2) * self.settings.levels).astype(np.int32), self.settings.levels - 1) + 1
        labels = connected_components(levels) if self.settings.connected else levels
        return Segmentation.from_labels(labels, provenance={"method": "threshold", "seed": self.settings.seed})


def _obey(pixels: np.ndarray) -> None:
    if (pixels == pixels[0, 0]).all():
        colour = tuple(int(value) for value in pixels[0, 0])
        if colour == (1, 0, 1):
            raise RuntimeError("a bug in the method")
        if colour == (1, 1, 0):
            raise MemoryError
        if colour == (0, 1, 1):
            os.kill(os.getpid(), signal.SIGKILL)


class StepSegmenter(ThresholdSegmenter):
    """Has no parameter `progress`."""

    def segment(self, image: ImageLike) -> Segmentation:
        return super().segment(image)


@dataclass(frozen=True)
class DeepSettings(ThresholdSettings):
    predicts_depth: bool = True


class DeepSegmenter(ThresholdSegmenter):
    """Predicts depth too: in metres, ten times as much as the image is grey."""

    def segment_with_depth(
        self, image: ImageLike, progress: Progress | None = None
    ) -> tuple[Segmentation, PredictedDepth]:
        pixels = read_image(image)
        return self.segment(pixels, progress), PredictedDepth(10 * pixels.mean(axis=2), is_metric=True)


@dataclass(frozen=True)
class LearnedSettings:
    threshold: float = 0.5


class LearnedSegmenter:
    """Needs weights: one number, added to each grey value."""

    def __init__(self, settings: LearnedSettings, device: str, weights: Path, categories: tuple[Category, ...]) -> None:
        self.offset = float(load_file(weights)["offset"])
        self.settings = settings
        self.categories = categories

    def segment(self, image: ImageLike) -> Segmentation:
        above = (read_image(image).mean(axis=2) + self.offset > self.settings.threshold).astype(np.int32)
        return Segmentation.from_labels(above, categories={1: self.categories[0]} if self.categories else None)


class BrokenSegmenter:
    """Cannot be loaded."""

    def __init__(self, settings: ThresholdSettings, device: str) -> None:
        raise OSError("a library is missing") if settings.levels == 4 else ModelError("the weights do not fit")


_HERE = "tests.batch.segmenters"
TEST_METHODS = {
    "threshold": Method(
        "cuts grey values", f"{_HERE}:ThresholdSettings", f"{_HERE}:ThresholdSegmenter", reports_progress=True
    ),
    "deep": Method(
        "cuts grey values",
        f"{_HERE}:DeepSettings",
        f"{_HERE}:DeepSegmenter",
        reports_progress=True,
        predicts_depth=True,
    ),
    "steps": Method("cuts grey values", f"{_HERE}:ThresholdSettings", f"{_HERE}:StepSegmenter"),
    "learned": Method("adds an offset", f"{_HERE}:LearnedSettings", f"{_HERE}:LearnedSegmenter", learned=True),
    "broken": Method("fails", f"{_HERE}:ThresholdSettings", f"{_HERE}:BrokenSegmenter"),
}


def register() -> None:
    METHODS.update(TEST_METHODS)
