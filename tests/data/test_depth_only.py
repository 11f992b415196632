"""A data set of which only the depth is left."""

import numpy as np
import pytest

from tests.data.samples import Numbered
from upseg.data.depth_only import DepthOnly
from upseg.data.shapes import ShapeScenes
from upseg.errors import DataError


def test_depth_and_image_stay_and_segments_go() -> None:
    scenes = ShapeScenes(2, (16, 20))
    found, whole = DepthOnly(scenes)[1], scenes[1]
    np.testing.assert_array_equal(found.depth, whole.depth)
    np.testing.assert_array_equal(found.image, whole.image)
    assert found.segments == found.other_maps == ()
    assert not found.segment_map.any()
    assert whole.segments
    assert found.name == whole.name
    assert DepthOnly(scenes).categories == ()
    assert list(DepthOnly(scenes).names) == list(scenes.names)
    assert len(DepthOnly(scenes)) == 2


def test_a_sample_without_depth_is_refused() -> None:
    with pytest.raises(DataError, match="a0: expected a sample with depth"):
        DepthOnly(Numbered("a", 2))[0]
