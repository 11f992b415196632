"""Ground truth to what the losses of `panoptic` learn from, at the size of the network's maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float32, Float64, Int32, Int64, Integer
from scipy import ndimage
from torch import Tensor

from upseg.data.sample import IGNORE, Sample
from upseg.functional.label_maps import border_pixels
from upseg.methods.panoptic.encodings import normalise
from upseg.methods.panoptic.equations import edge_distance_weights
from upseg.methods.panoptic.network import output_size
from upseg.segmentation import Category

SAMPLED_HEADS = ("semantic", "instance")
"""The heads whose loss can be weighted by edge distance sampling."""


class PanopticTargets:
    """Computes the targets of a sample; a `DataLoader` calls it in its workers.

    Maps are reduced to the size of the network's output by taking the pixel of the image that lies at each output
    pixel's centre: nothing is mixed across a border. Centres of mass are those of the whole map, before it is reduced.

    Args:
        categories: The classes in the order of the semantic head's channels; a recipe leaves them out, and those of the
            training data are taken.
        patch: Side of the backbone's patches, in pixels of the image.
        upsampling: Side of what a patch becomes in the network's maps, in pixels of them.
        grid: Rows and columns of the grid of centres that the settings have: they say how far the coordinates stay off
            -1 and 1.
        edge_sampling: The heads that edge distance sampling weights, of `SAMPLED_HEADS`; in the others every pixel with
            a label counts 1.
        minimum_weight: w_min of Eq. 5: the weight of pixels far from every boundary, in [0, 1].
        reach: D of Eq. 5, in pixels of the network's maps.
        void_weight: What a pixel outside of all instances counts in the instance head, in [0, 1], next to one inside.
            The paper's is 1; with less a network from scratch finds centres before it learns where there are none.
        semantic_boundaries: The boundaries that count for the semantic head: those of `instances`, as for the instance
            head, or of all `segments`, so that stuff is also learned where there is no thing near.
        inverse_depth: Whether `depth` is 1 / the sample's: relative depth is learned as disparity, and most data sets
            have metres.

    Raises:
        ValueError: If a number is outside its range, or `edge_sampling` or `semantic_boundaries` is not as listed.
    """

    def __init__(
        self,
        categories: Sequence[Category] = (),
        patch: int = 14,
        upsampling: int = 8,
        grid: tuple[int, int] = (80, 80),
        edge_sampling: Sequence[str] = SAMPLED_HEADS,
        minimum_weight: float = 0.0,
        reach: float = 20.0,
        void_weight: float = 1.0,
        semantic_boundaries: Literal["instances", "segments"] = "instances",
        inverse_depth: bool = False,
    ) -> None:
        if min(patch, upsampling) < 1 or min(grid) < 2:
            raise ValueError(
                "patch and upsampling must be at least 1, rows and columns of the grid at least 2, "
                f"got {patch}, {upsampling} and {tuple(grid)}"
            )
        if not set(edge_sampling) <= set(SAMPLED_HEADS) or isinstance(edge_sampling, str):
            raise ValueError(
                f"edge_sampling must be a list of {', '.join(SAMPLED_HEADS)} or empty, got {edge_sampling}"
            )
        if not (0 <= minimum_weight <= 1 and 0 < reach < float("inf")):
            raise ValueError(f"minimum_weight must be in [0, 1] and reach above 0, got {minimum_weight} and {reach}")
        if semantic_boundaries not in ("instances", "segments"):
            raise ValueError(f"semantic_boundaries must be 'instances' or 'segments', got {semantic_boundaries!r}")
        self.categories = tuple(categories)
        self.patch, self.upsampling = patch, upsampling
        self.grid = tuple(grid)
        self.edge_sampling = frozenset(edge_sampling)
        if not 0 <= void_weight <= 1:
            raise ValueError(f"void_weight must be in [0, 1], got {void_weight}")
        self.minimum_weight, self.reach, self.void_weight = minimum_weight, reach, void_weight
        self.semantic_boundaries = semantic_boundaries
        self.inverse_depth = inverse_depth

    def __call__(self, sample: Sample) -> Mapping[str, Tensor]:
        """Compute the targets of one sample of H x W pixels.

        Returns:
            All (h, w), the size of the network's maps of the image:

            `centre`: (2, h, w) float32, the coordinates u (row) and v (column) of the centre of mass of each pixel's
            instance, as `encodings.normalise` gives them; 0 outside of instances.
            `inside`: bool, whether a pixel belongs to an instance.
            `instances`: int64, k >= 1 the thing with id k of the sample, 0 stuff or unlabelled, -1 crowd. A sample
            without any segment says nothing about instances: it has -1 everywhere.
            `semantic`: int64, the class's position in `categories`, -1 where it has none. Without categories there is
            neither this nor its weight.
            `instance_weight`, `semantic_weight`: float32 in [0, 1], Eq. 5, the former times `void_weight` outside of
            instances; 0 where the map above has -1.
            `depth`: float32, as the sample has it or its inverse; 0 where it is not known, or not a positive number.
        """
        rows, columns = self._sampled_pixels(sample.shape)
        instances = _labelled_instances(sample)
        reduced = instances[rows, columns]
        instance_weight, semantic_weight = self._weights(reduced, sample.segment_map[rows, columns])
        depth = np.zeros(reduced.shape, np.float32) if sample.depth is None else sample.depth[rows, columns]
        depth = np.where(np.isfinite(depth) & (depth > 0), depth, np.float32(0))
        if self.inverse_depth:
            depth = np.divide(1, depth, out=np.zeros_like(depth), where=depth > 0)
        targets = {
            "centre": torch.from_numpy(self._centres(instances)[:, np.maximum(reduced, 0)]),
            "inside": torch.from_numpy(reduced > 0),
            "instances": torch.from_numpy(reduced).long(),
            "instance_weight": instance_weight * self._counts(reduced),
            "depth": torch.from_numpy(depth),
        }
        if self.categories:
            semantic = torch.from_numpy(sample.semantic_map(self.categories)[rows, columns])
            targets |= {"semantic": semantic.long(), "semantic_weight": semantic_weight * (semantic != IGNORE)}
        return targets

    def _sampled_pixels(self, size: tuple[int, int]) -> tuple[Int64[np.ndarray, "h 1"], Int64[np.ndarray, "1 w"]]:
        """The row and the column of the image in which the centre of each output pixel lies.

        The last ones can lie in the padding, by less than a pixel of the output: they get the image's last row or
        column, which is what the image is padded with.
        """
        rows, columns = (
            np.minimum((2 * np.arange(length) + 1) * self.patch // (2 * self.upsampling), side - 1)
            for length, side in zip(output_size(size, self.patch, self.upsampling), size, strict=True)
        )
        return rows[:, None], columns[None]

    def _centres(self, instances: Int32[np.ndarray, "h w"]) -> Float32[np.ndarray, "2 k1"]:
        """The coordinates u and v by instance id; 0 for the ids 0 and those that do not occur."""
        places = centres_of_mass(instances)
        coordinates = np.stack(
            [
                normalise(places[axis], side, cells)
                for axis, (side, cells) in enumerate(zip(instances.shape, self.grid, strict=True))
            ]
        )
        return np.asarray(np.nan_to_num(coordinates, nan=0.0).astype(np.float32))

    def _weights(
        self, instances: Int32[np.ndarray, "h w"], segments: Int32[np.ndarray, "h w"]
    ) -> tuple[Float32[Tensor, "h w"], Float32[Tensor, "h w"]]:
        """Of the instance and of the semantic head: Eq. 5, or 1 where it is switched off."""
        ones = torch.ones(instances.shape)
        near_instances = self._edge_weights(instances) if self.edge_sampling else ones
        of_semantic = near_instances if self.semantic_boundaries == "instances" else self._edge_weights(segments)
        return (
            near_instances if "instance" in self.edge_sampling else ones,
            of_semantic if "semantic" in self.edge_sampling else ones,
        )

    def _counts(self, instances: Int32[np.ndarray, "h w"]) -> Float32[Tensor, "h w"]:
        """What each pixel counts in the instance head, wherever its boundaries are."""
        counts = torch.tensor([0.0, self.void_weight, 1.0])  # of what nobody labelled, of void, of instances
        return counts[torch.from_numpy(np.sign(instances) + 1).long()]

    def _edge_weights(self, labels: Int32[np.ndarray, "h w"]) -> Float32[Tensor, "h w"]:
        """Eq. 5."""
        return edge_distance_weights(torch.from_numpy(boundary_distances(labels)), self.minimum_weight, self.reach)


def _labelled_instances(sample: Sample) -> Int32[np.ndarray, "h w"]:
    """The instance map; `IGNORE` throughout where nobody labelled anything, as in data sets of depth alone."""
    return sample.instance_map() if sample.segments else np.full(sample.shape, IGNORE, np.int32)


def centres_of_mass(labels: Integer[np.ndarray, "h w"]) -> Float64[np.ndarray, "2 k1"]:
    """The mean row and column of the pixels of each label.

    Args:
        labels: (H, W) ids; those below 1 are of no interest.

    Returns:
        (2, K + 1), K the largest id: in pixels, 0 the centre of the first row or column; NaN where no pixel has the id,
        and for 0.
    """
    height, width = labels.shape
    flat = np.maximum(labels, 0).ravel()
    areas = np.bincount(flat, minlength=1).astype(np.float64)
    areas[0] = 0
    places = (np.repeat(np.arange(height), width), np.tile(np.arange(width), height))
    sums = np.stack([np.bincount(flat, place, minlength=1) for place in places])
    return np.asarray(np.divide(sums, areas, out=np.full(sums.shape, np.nan), where=areas > 0))


def boundary_distances(labels: Integer[np.ndarray, "h w"]) -> Float32[np.ndarray, "h w"]:
    """How far each pixel is from the nearest boundary, on either side of it.

    Paper: the d of Eq. 5, Sec. 3.3.2.

    Args:
        labels: (H, W) any numbers; where neighbours differ there is a boundary. The edge of the image is none.

    Returns:
        In pixels, from the centre of a pixel to that of the nearest one with another label above, below, left or right
        of it: 0 for such pixels themselves. Infinite where there is no boundary.
    """
    border = border_pixels(labels)
    if not border.any():
        return np.full(labels.shape, np.inf, np.float32)
    return np.asarray(ndimage.distance_transform_edt(~border).astype(np.float32))
