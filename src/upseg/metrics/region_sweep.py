"""Covering, probabilistic Rand index and variation of information over a sweep of one setting: ODS and OIS."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64

from upseg.functional.contingency import overlaps
from upseg.functional.label_maps import LabelMap, Mask
from upseg.metrics.accumulator import Accumulator
from upseg.metrics.rand_index import probabilistic_rand_index
from upseg.metrics.variation_of_information import variation_of_information


class RegionSweep(Accumulator):
    """The region half of the BSDS500 benchmark: each image segmented once for each setting of a parameter.

    Covering is pooled over the annotators and images by area, as the benchmark's code does (each annotator of an image
    weighs the same where they label every pixel); the other two are means over images of means over annotators.
    With one setting ODS and OIS are the plain value.

    Source: Arbeláez et al., Contour Detection and Hierarchical Image Segmentation, PAMI 2011, Sec. 3.2 and 5.2.

    Args:
        settings: Number of settings in the sweep, at least 1.

    Example:
        >>> metric = RegionSweep(settings=2)
        >>> metric.update([np.array([[1, 1, 2, 2]])], [np.array([[1, 1, 1, 1]]), np.array([[1, 1, 2, 2]])])
        >>> metric.compute()["covering_ods"]
        1.0
    """

    def __init__(self, settings: int = 1) -> None:
        if settings < 1:
            raise ValueError(f"a sweep needs at least one setting, got {settings}")
        super().__init__(
            {
                "images": np.zeros((), np.int64),
                "area": np.zeros((), np.int64),
                "covered": np.zeros(settings),
                "covered_best_setting": np.zeros(()),
                "covered_best_region": np.zeros(()),
                "rand": np.zeros(settings),
                "rand_best": np.zeros(()),
                "information": np.zeros(settings),
                "information_best": np.zeros(()),
            }
        )

    def update(self, truths: Sequence[LabelMap], predictions: Sequence[LabelMap], valid: Mask | None = None) -> None:
        """Add one image.

        Args:
            truths: One (H, W) map for each annotator, 0 unlabelled.
            predictions: One (H, W) map for each setting, 0 void.
            valid: Pixels to look at; all of them where it is None.

        Raises:
            ValueError: If there is no annotator or labelled pixel, or not one prediction for each setting.
        """
        settings = len(self.sums["covered"])
        if len(predictions) != settings:
            raise ValueError(f"expected one prediction for each of the {settings} settings, got {len(predictions)}")
        if not truths or not any(np.any(truth) for truth in truths):
            raise ValueError("an image needs at least one annotator's map with labelled pixels")
        area, covered = _covered_areas(truths, predictions, valid)
        rand = np.array([probabilistic_rand_index(truths, prediction, valid) for prediction in predictions])
        information = np.array(
            [np.mean([variation_of_information(truth, found, valid) for truth in truths]) for found in predictions]
        )
        by_setting = covered.sum(axis=1)
        self.add(
            images=1,
            area=area,
            covered=by_setting,
            covered_best_setting=by_setting.max(),
            covered_best_region=covered.max(axis=0).sum(),
            rand=rand,
            rand_best=rand.max(),
            information=information,
            information_best=information.min(),
        )

    def compute(self) -> dict[str, float]:
        """Each measure at the optimal scale of the data set (`_ods`, one setting for all) and of each image (`_ois`).

        `covering` and `probabilistic_rand_index` (higher is better), `variation_of_information` (bits, lower is), and
        `covering_best` (each region covered by the best of all settings).
        """
        sums = self.sums
        area, images = (float(sums[name]) if sums["images"] else np.nan for name in ("area", "images"))
        values = {
            "covering_ods": sums["covered"].max() / area,
            "covering_ois": sums["covered_best_setting"] / area,
            "probabilistic_rand_index_ods": sums["rand"].max() / images,
            "probabilistic_rand_index_ois": sums["rand_best"] / images,
            "variation_of_information_ods": sums["information"].min() / images,
            "variation_of_information_ois": sums["information_best"] / images,
            "covering_best": sums["covered_best_region"] / area,
        }
        return {name: float(value) for name, value in values.items()}


def _covered_areas(
    truths: Sequence[LabelMap], predictions: Sequence[LabelMap], valid: Mask | None
) -> tuple[int, Float64[np.ndarray, "settings regions"]]:
    """The labelled area of all annotators' maps, and for each setting and region its area times its best IoU."""
    table = [[overlaps(truth, prediction, valid) for truth in truths] for prediction in predictions]
    area = sum(int(found.row_areas[1:].sum()) for found in table[0])
    covered = [
        np.concatenate([found.row_areas[1:] * found.best_cells()[0] for found in annotators]) for annotators in table
    ]
    return area, np.stack(covered)
