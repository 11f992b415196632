"""The silhouette floor: clear clusters are counted, scores agree with all pixels, degenerate images are defined."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import Float
from sklearn.cluster import KMeans
from sklearn.metrics import silhouette_score

from upseg.methods.dynaseg.floor import silhouette_floor


def blobs(count: int, *, height: int = 40, width: int = 30, noise: float = 0.01, seed: int = 0) -> np.ndarray:
    """An image of `count` colours that lie far apart on a lattice, with a little noise."""
    generator = np.random.default_rng(seed)
    lattice = np.stack(np.meshgrid(*[[0.1, 0.5, 0.9]] * 3), axis=-1).reshape(-1, 3)
    centres = generator.permutation(lattice)[:count]
    image = centres[generator.integers(0, count, (height, width))]
    return np.clip(image + generator.normal(0, noise, image.shape), 0, 1).astype(np.float32)


def coloured(count: int, height: int = 6, width: int = 6) -> np.ndarray:
    """An image of exactly `count` colours."""
    values = np.arange(height * width) % count / 40
    return np.repeat(values.reshape(height, width, 1), 3, axis=2).astype(np.float32)


@pytest.mark.parametrize("count", [3, 4, 5, 7])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_clear_colours_are_counted(count: int, seed: int) -> None:
    assert silhouette_floor(blobs(count), seed=seed) == count


def test_is_the_best_silhouette_of_all_pixels() -> None:
    image = blobs(6, height=15, width=20, noise=0.08)
    pixels = image.reshape(-1, 3).astype(np.float64)
    scores = {
        k: silhouette_score(pixels, KMeans(k, n_init=1, random_state=4).fit_predict(np.rint(pixels * 65535)))
        for k in range(3, 27)
    }
    assert silhouette_floor(image, samples=300, seed=4) == max(scores, key=scores.__getitem__)


def test_only_candidates_are_tried() -> None:
    assert silhouette_floor(blobs(5), candidates=[2, 9, 7]) in {2, 7, 9}
    assert silhouette_floor(blobs(5), candidates=[5]) == 5


def test_another_seed_may_give_another_floor() -> None:
    image = np.random.default_rng(0).random((30, 30, 3))
    assert len({silhouette_floor(image, samples=40, seed=seed, candidates=range(3, 9)) for seed in range(12)}) > 1


def test_the_same_seed_gives_the_same_floor() -> None:
    image = np.random.default_rng(0).random((60, 60, 3))
    assert len({silhouette_floor(image, samples=200, seed=9) for _ in range(3)}) == 1


def test_where_the_pixels_are_does_not_matter() -> None:
    image = blobs(5, height=12, width=10, noise=0.05)
    assert silhouette_floor(image, samples=120) == silhouette_floor(image.reshape(10, 12, 3), samples=120)


@pytest.mark.parametrize("count", [1, 2])
def test_fewer_colours_than_candidates(count: int) -> None:
    assert silhouette_floor(coloured(count)) == count


@pytest.mark.parametrize("count", [3, 5])
def test_a_cluster_for_each_colour_is_perfect(count: int) -> None:
    assert silhouette_floor(coloured(count)) == count


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (np.zeros((1, 1, 3)), 1),
        (np.full((50, 50, 3), 0.5), 1),
        (np.full((50, 50, 3), 0.2) + np.random.default_rng(0).normal(0, 1e-9, (50, 50, 3)), 1),  # rounding noise
        (np.linspace(0, 1, 6).reshape(1, 2, 3), 2),
        (np.linspace(0, 1, 9).reshape(3, 1, 3), 3),  # three pixels, three colours: no silhouette of three clusters
    ],
)
def test_degenerate_images(image: np.ndarray, expected: int) -> None:
    assert silhouette_floor(image) == expected


@settings(max_examples=15, deadline=None)
@given(height=st.integers(1, 6), width=st.integers(1, 6), channels=st.sampled_from([1, 3, 4]), seed=st.integers(0, 99))
def test_any_image_has_a_floor(height: int, width: int, channels: int, seed: int) -> None:
    steps = np.random.default_rng(seed).integers(0, 3, (height, width, channels))
    image: Float[np.ndarray, "h w c"] = steps / 2
    floor = silhouette_floor(image, candidates=range(3, 8), seed=seed)
    assert 1 <= floor <= 7
    assert floor <= len(np.unique(image.reshape(-1, channels), axis=0))


def test_errors() -> None:
    image = np.zeros((4, 4, 3))
    with pytest.raises(ValueError, match=r"at least 2, got \[1, 2\]"):
        silhouette_floor(image, candidates=[1, 2])
    with pytest.raises(ValueError, match=r"at least 2, got \[\]"):
        silhouette_floor(image, candidates=[])
    with pytest.raises(ValueError, match="samples must be at least 3, got 2"):
        silhouette_floor(image, samples=2)
    with pytest.raises(ValueError, match=r"no pixels: its shape is \(0, 4, 3\)"):
        silhouette_floor(image[:0])
    image[0, 0, 0] = np.nan
    with pytest.raises(ValueError, match="finite"):
        silhouette_floor(image)
