"""The whole transform: objects get the canonical size, whatever size they had."""

import numpy as np
import pytest

from upseg.data.microscopy.transform import MicroscopyAugmentation, median_diameter
from upseg.data.sample import Sample


def disks(radius: int, side: int = 240) -> Sample:
    """A grid of bright disks."""
    rows, columns = np.mgrid[:side, :side]
    step = 3 * radius
    near = (rows % step - step // 2) ** 2 + (columns % step - step // 2) ** 2 <= radius**2
    labels = np.where(near, (rows // step) * 100 + columns // step + 1, 0).astype(np.int32)
    image = np.where(near, np.float32(0.7), np.float32(0.2))[..., None].repeat(3, 2)
    return Sample.from_labels(image, labels, name="disks")


def test_the_median_diameter_is_that_of_a_disk() -> None:
    assert median_diameter(disks(10).segment_map) == pytest.approx(20, rel=0.03)
    assert median_diameter(np.zeros((4, 4), np.int32)) == 0


@pytest.mark.parametrize("radius", [5, 10, 30])
def test_objects_get_the_canonical_size(radius: int) -> None:
    transform = MicroscopyAugmentation(128, diameter=16.0, spread=0.0, scale=(1.0, 1.0), enlarged=9.0, on_object=1.0)
    found = transform(disks(radius), seed=4)
    assert found.shape == (128, 128)
    assert found.image.shape == (128, 128, 3)
    # mirrors cut disks and make them grow together, but most are whole
    assert median_diameter(found.segment_map) == pytest.approx(16, rel=0.25)


def test_sizes_spread_within_the_range_and_images_are_not_enlarged_beyond_the_limit() -> None:
    wide = MicroscopyAugmentation(96, diameter=16.0, spread=5.0, scale=(0.5, 2.0))
    sizes = [median_diameter(wide(disks(10), seed).segment_map) for seed in range(12)]
    assert min(sizes) < 11 < 24 < max(sizes)
    limited = MicroscopyAugmentation(96, diameter=40.0, spread=0.0, scale=(1.0, 1.0), enlarged=1.0)
    assert median_diameter(limited(disks(5), 0).segment_map) < 13


def test_the_seed_decides_and_the_sample_is_left_alone() -> None:
    sample, transform = disks(8), MicroscopyAugmentation(64)
    before = sample.image.copy()
    first, again, other = transform(sample, 1), transform(sample, 1), transform(sample, 2)
    np.testing.assert_array_equal(first.image, again.image)
    np.testing.assert_array_equal(first.segment_map, again.segment_map)
    assert (first.image != other.image).any()
    np.testing.assert_array_equal(sample.image, before)


def test_an_image_without_objects_is_no_obstacle() -> None:
    empty = Sample.from_labels(np.full((30, 40, 3), 0.5, np.float32), np.zeros((30, 40), np.int32))
    found = MicroscopyAugmentation(64)(empty, 3)
    assert (found.shape, found.segments) == ((64, 64), ())


@pytest.mark.parametrize(
    "wrong",
    [{"size": 0}, {"diameter": 0.0}, {"spread": -1.0}, {"scale": (2.0, 1.0)}, {"on_object": 1.1}, {"colours": -0.1}],
)
def test_settings_outside_their_range_are_refused(wrong) -> None:
    with pytest.raises(ValueError, match="must be"):
        MicroscopyAugmentation(**wrong)
