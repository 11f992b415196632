"""Whether a change helps small objects or large ones: IoU by area, and its gain as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np


def mean_ious(areas: Sequence[float], ious: Sequence[float], groups: int) -> tuple[np.ndarray, np.ndarray]:
    """Median area and mean IoU of the objects, in groups of nearly equal number from small to large."""
    area, iou = np.array(areas), np.array(ious)
    parts = np.array_split(np.argsort(area, kind="stable"), groups)
    return np.array([np.median(area[part]) for part in parts]), np.array([iou[part].mean() for part in parts])


def draw_gains(areas: np.ndarray, gains: Mapping[str, np.ndarray], path: Path) -> None:
    """The gain in IoU against the objects' area: mean and range over the seeds.

    Args:
        areas: (G,) in pixels.
        gains: For each curve, by its title, (seeds, G).
        path: Its suffix says what is written.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(
        1, len(gains), figsize=(3.6 * len(gains), 3.4), sharey=True, squeeze=False, layout="constrained"
    )
    for axis, (title, values) in zip(axes[0], gains.items(), strict=True):
        axis.fill_between(areas, values.min(0), values.max(0), alpha=0.25)
        axis.plot(areas, values.mean(0), marker="o")
        axis.axhline(0, color="grey", linewidth=0.8)
        axis.set(xscale="log", xlabel="area of the object in pixels")
        axis.minorticks_off()
        axis.set_xticks(areas[::2], [f"{area:.0f}" for area in areas[::2]])
        axis.set_title(title, fontsize=10)
    axes[0, 0].set_ylabel("gain in IoU")
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
