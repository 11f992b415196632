"""What is compared: each method as a function from an image to one label map for each setting of a sweep."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy import ndimage
from skimage.color import rgb2lab
from skimage.segmentation import felzenszwalb

from harness.neural_baselines import iic_maps, slic_cnn_maps
from upseg.functional.label_maps import connected_components
from upseg.methods.dynaseg import DynaSegSegmenter, DynaSegSettings

Settings = Mapping[str, Any]
LabelMaps = list[np.ndarray]
Segment = Callable[[np.ndarray, Settings, Sequence[Settings]], LabelMaps]

LEAST_SAMPLES_IN_BIN = 4
"""Bins of fewer pixels seed no mean shift: a third less time, the same modes that matter."""


@dataclass(frozen=True)
class Method:
    """One row of a table, or several from one sweep. Everything but the name decides what is computed.

    Attributes:
        name: What the table calls it.
        family: A key of `FAMILIES`.
        settings: Common to the sweep; anything JSON can hold.
        sweep: What changes, one mapping for each label map.
    """

    name: str
    family: str
    settings: Settings = field(default_factory=dict)
    sweep: tuple[Settings, ...] = ({},)

    def label_maps(self, image: np.ndarray) -> LabelMaps:
        """One (H, W) map for each setting of the sweep, of an (H, W, 3) image in [0, 1]."""
        return FAMILIES[self.family](image, self.settings, self.sweep)


def grid(values: Mapping[str, Sequence[float]]) -> tuple[Settings, ...]:
    """A sweep over all combinations of the values of some settings."""
    return tuple(dict(zip(values, point, strict=True)) for point in itertools.product(*values.values()))


def kmeans_maps(image: np.ndarray, settings: Settings, sweep: Sequence[Settings]) -> LabelMaps:
    """scikit-learn's K-means on the RGB values (one start by k-means++). Settings: clusters."""
    from sklearn.cluster import KMeans

    colours = image.reshape(-1, 3)
    maps = []
    for changes in sweep:
        clusters = {**settings, **changes}["clusters"]
        labels = KMeans(clusters, n_init=1, random_state=0).fit_predict(colours)
        maps.append((labels + 1).reshape(image.shape[:2]))
    return maps


def felzenszwalb_maps(image: np.ndarray, settings: Settings, sweep: Sequence[Settings]) -> LabelMaps:
    """scikit-image's graph-based segmentation. Settings: scale, sigma, min_size."""
    return [felzenszwalb(image, **{**settings, **changes}) + 1 for changes in sweep]


def mean_shift_maps(image: np.ndarray, settings: Settings, sweep: Sequence[Settings]) -> LabelMaps:
    """scikit-learn's mean shift on (L, a, b, row, column).

    The modes are found on every `reduction`-th row and column, which makes it feasible; every pixel of the image then
    goes to its nearest mode. Connected parts smaller than `min_size` go to the nearest larger part, as mean shift
    segmentation does it (Comaniciu and Meer, 2002, Sec. 4.2). Settings: spatial (pixels) and colour (CIELAB)
    bandwidth, reduction, min_size.
    """
    from sklearn.cluster import MeanShift

    height, width = image.shape[:2]
    places = np.moveaxis(np.mgrid[:height, :width], 0, -1)
    colours = rgb2lab(image)
    maps = []
    for changes in sweep:
        chosen = {**settings, **changes}
        features = np.concatenate([colours / chosen["colour"], places / chosen["spatial"]], axis=-1)
        step = slice(chosen["reduction"] // 2, None, chosen["reduction"])
        found = MeanShift(bandwidth=1, bin_seeding=True, min_bin_freq=LEAST_SAMPLES_IN_BIN)
        found.fit(features[step, step].reshape(-1, 5))
        labels = found.predict(features.reshape(-1, 5)).reshape(height, width) + 1
        maps.append(absorb_small(connected_components(labels), chosen["min_size"]))
    return maps


def absorb_small(regions: np.ndarray, min_size: int) -> np.ndarray:
    """Give the pixels of regions smaller than `min_size` to the nearest region that is not."""
    areas = np.bincount(regions.ravel())
    small = areas[regions] < min(min_size, areas.max())
    nearest = ndimage.distance_transform_edt(small, return_distances=False, return_indices=True)
    return np.asarray(regions[tuple(nearest)])


def dynaseg_label_maps(image: np.ndarray, settings: Settings, sweep: Sequence[Settings]) -> LabelMaps:
    """DynaSeg's label map as the paper takes it. Settings: those of `DynaSegSettings`, and the device."""
    maps = []
    for changes in sweep:
        chosen = {"device": "cpu", **settings, **changes}
        segmenter = DynaSegSegmenter(device=chosen.pop("device"), settings=DynaSegSettings(**chosen))
        maps.append(segmenter.segment(image).labels.copy())
    return maps


def dynaseg_levels(image: np.ndarray, settings: Settings, sweep: Sequence[Settings]) -> LabelMaps:
    """DynaSeg's hierarchy, built once and cut at each `detail`. Settings: those of `DynaSegSettings`."""
    hierarchy = DynaSegSegmenter(DynaSegSettings(**settings)).hierarchy(image)
    return [hierarchy.at(changes["detail"]) for changes in sweep]


FAMILIES: Mapping[str, Segment] = {
    "kmeans": kmeans_maps,
    "felzenszwalb": felzenszwalb_maps,
    "mean-shift": mean_shift_maps,
    "dynaseg-labels": dynaseg_label_maps,
    "dynaseg-levels": dynaseg_levels,
    "slic-cnn": slic_cnn_maps,
    "iic": iic_maps,
}
