"""Small random region maps for the tests of graph, hierarchy and grouping."""

from __future__ import annotations

import numpy as np
import torch

from tests.reference.dynaseg_grouping import Scene, connected_parts
from upseg.methods.dynaseg.extensions import region_graph
from upseg.methods.dynaseg.extensions.features import PhotoMaps
from upseg.methods.dynaseg.extensions.region_graph import RegionGraph, build_region_graph


def random_regions(height: int, width: int, count: int, seed: int) -> np.ndarray:
    """(H, W) int32: the 4-connected parts of the cells of `count` random points, at least one."""
    generator = np.random.default_rng(seed)
    points = generator.random((count, 2)) * [height, width]
    rows, columns = np.mgrid[:height, :width]
    distances = (rows[..., None] - points[:, 0]) ** 2 + (columns[..., None] - points[:, 1]) ** 2
    return connected_parts(distances.argmin(-1))


def graph_of(regions: np.ndarray, scene: Scene) -> RegionGraph:
    return build_region_graph(regions, scene.colours, torch.from_numpy(scene.response)[None], maps_of(scene))


def maps_of(scene: Scene) -> PhotoMaps:
    features = tuple(torch.from_numpy(maps)[None] for maps in scene.features)
    return PhotoMaps(features, torch.from_numpy(scene.boundary)[None, None])


def random_scene(regions: np.ndarray, seed: int, clusters: int = 5) -> Scene:
    """A colour and a response for each region, and noise in both; feature maps and a boundary that are noise."""
    generator = np.random.default_rng(seed)
    count = int(regions.max())
    low, high = np.array(region_graph.COLOUR_RANGE).T
    colours = generator.uniform(low, high, (count, 3))[regions - 1] + generator.normal(0, 0.2, (*regions.shape, 3))
    response = generator.normal(size=(count, clusters))[regions - 1] + generator.normal(
        0, 0.6, (*regions.shape, clusters)
    )
    return Scene(
        colours.astype(np.float32),
        np.ascontiguousarray(response.transpose(2, 0, 1).astype(np.float32)),
        region_graph.REACHES,
        region_graph.COLOUR_BINS,
        region_graph.COLOUR_RANGE,
        [generator.normal(size=(count, *regions.shape)).astype(np.float32) for count in (4, 2, 3, 5)],
        region_graph.FEATURE_REACHES,
        generator.random(regions.shape).astype(np.float32),
    )
