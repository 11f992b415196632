"""Images in blocks: the answer of one piece, whatever the blocks are, and what was stopped goes on."""

from pathlib import Path

import numpy as np
import pytest

from tests.methods.entity.extensions.cells.test_slides import Array
from upseg.errors import ModelError
from upseg.functional.resizing import scaled_size
from upseg.images.rescaling import RescaledRegions
from upseg.methods.dynaseg import DynaSegSegmenter, DynaSegSettings
from upseg.methods.dynaseg.extensions import large
from upseg.methods.dynaseg.extensions.atoms import colour_gradient, enlarge
from upseg.segmentation import Segmentation

SHAPE = 301, 452
FITTED = {"grouping": "labels", "connected": False, "steps": 2, "clusters": 8}
SIZE = scaled_size(*SHAPE, (6000 / (SHAPE[0] * SHAPE[1])) ** 0.5)


def scene(seed: int = 0) -> np.ndarray:
    """Plain shapes of all sizes and forms on a ground that changes slowly, with noise."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]].astype(np.float32)
    image = np.stack([rows / 900, columns / 900, np.full(SHAPE, 0.3, np.float32)], axis=-1)
    for _ in range(40):
        r, c, turn = rng.uniform(0, SHAPE[0]), rng.uniform(0, SHAPE[1]), rng.uniform(0, np.pi)
        along = (rows - r) * np.cos(turn) + (columns - c) * np.sin(turn)
        across = (columns - c) * np.cos(turn) - (rows - r) * np.sin(turn)
        image[(along / rng.uniform(5, 60)) ** 2 + (across / rng.uniform(2, 25)) ** 2 < 1] = rng.uniform(0, 1, 3)
    return (image + rng.normal(0, 0.01, image.shape)).clip(0, 1).astype(np.float32)


def drawn(image: np.ndarray, regions: np.ndarray, folder: Path, side: int) -> np.ndarray:
    folder.mkdir()
    blocks = large.DrawnBlocks(Array(image), regions, folder, side)
    return np.concatenate([blocks.labels_at(slice(top, min(top + 70, SHAPE[0]))) for top in range(0, SHAPE[0], 70)])


def in_blocks(image: np.ndarray, folder: Path, **settings: object) -> Segmentation:
    segmenter = DynaSegSegmenter(DynaSegSettings(**settings))  # type: ignore[arg-type]
    told: list[tuple[int, int]] = []
    found = segmenter.segment_in_blocks(Array(image), folder, "key", 10**12, lambda *done: told.append(done))
    assert told == [(n, told[-1][1]) for n in range(1, told[-1][1] + 1)]
    assert found.scores is None
    labels = np.concatenate([found.labels_at(rows) for rows in found.bands()])
    result = Segmentation.from_labels(labels, provenance=found.provenance)
    assert np.array_equal(result.labels, labels)  # canonical already
    return result


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("upseg.methods.dynaseg.segmenter.block_side", lambda *_: 64)
    monkeypatch.setattr(large, "_READ", 100)
    monkeypatch.setattr("upseg.segmentation.banded._BAND_PIXELS", 20_000)


def random_regions(count: int, seed: int = 0) -> np.ndarray:
    """Nearest of some points, in a metric that makes thin regions too."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    r, c = rng.uniform(0, SIZE[0], count), rng.uniform(0, SIZE[1], count)
    stretch = rng.choice([0.2, 1, 5], count)
    distances = ((rows[..., None] - r) ** 2 * stretch + (columns[..., None] - c) ** 2 / stretch).argmin(-1)
    return (np.unique(distances, return_inverse=True)[1].reshape(SIZE) + 1).astype(np.int32)


@pytest.mark.parametrize("count", [1, 2, 60, 600])
@pytest.mark.parametrize("side", [64, 150])
def test_blocks_draw_what_one_piece_draws(tmp_path: Path, count: int, side: int) -> None:
    image, regions = scene(), random_regions(count)
    whole = enlarge(regions, colour_gradient(image))
    assert np.array_equal(drawn(image, regions, tmp_path / "blocks", side), whole)


@pytest.mark.parametrize(("options", "most"), [({}, 1e-3), ({"detail": 0.9}, 1e-3), (FITTED, 0.02)])
def test_it_is_the_answer_of_one_piece_but_for_rounding(
    tmp_path: Path, options: dict[str, object], most: float
) -> None:
    image = scene()
    settings = {"compare_by": "colour", "working_pixels": 6000, **options}
    whole = DynaSegSegmenter(DynaSegSettings(**settings)).segment(image)  # type: ignore[arg-type]
    found = in_blocks(image, tmp_path / "work", **settings)
    assert len(found) == len(whole) > 3
    assert (found.labels != whole.labels).mean() < most
    assert found.provenance == whole.provenance


def test_images_that_are_not_reduced_have_the_very_same_answer(tmp_path: Path) -> None:
    image = scene()
    whole = DynaSegSegmenter(DynaSegSettings(compare_by="colour")).segment(image)
    assert in_blocks(image, tmp_path / "work", compare_by="colour") == whole


def test_an_image_is_reduced_in_parts(tmp_path: Path) -> None:
    image = scene()
    found = large.reduced_image(Array(image), SIZE, tmp_path / "work")
    everything = RescaledRegions(Array(image), SIZE).read(slice(0, SIZE[0]), slice(0, SIZE[1]))
    assert np.array_equal(found, everything.clip(0, 1))
    assert len(list((tmp_path / "work").iterdir())) > 4


def test_what_was_stopped_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image, settings = scene(), {"compare_by": "colour", "working_pixels": 6000}
    expected = in_blocks(image, tmp_path / "complete", **settings)
    work, drawings, original = tmp_path / "work", [], large.DrawnBlocks._drawn

    def stopping(self: large.DrawnBlocks, core: tuple[slice, slice]) -> np.ndarray:
        drawings.append(core)
        if len(drawings) == 5:
            raise KeyboardInterrupt
        return original(self, core)

    monkeypatch.setattr(large.DrawnBlocks, "_drawn", stopping)
    with pytest.raises(KeyboardInterrupt):
        in_blocks(image, work, **settings)
    monkeypatch.setattr(DynaSegSegmenter, "_regions", lambda *_: pytest.fail("merged again"))
    assert in_blocks(image, work, **settings) == expected
    assert drawings.count(drawings[4]) == 2
    assert len(drawings) == len(set(map(str, drawings))) + 1


def test_too_little_memory_is_refused_and_more_makes_larger_blocks() -> None:
    photo, reduced = (20_000, 20_000), (1000, 1000)
    small, larger = (large.block_side(memory, photo, reduced, 0) for memory in (25 * 10**8, 4 * 10**9))
    assert 256 <= small <= larger <= 3072
    assert larger % 256 == 0
    for size, channels in ((reduced, 1000), ((4000, 4000), 0)):
        with pytest.raises(ModelError, match=r"at least \d+\.\d GB; give more, or another working_pixels"):
            large.block_side(4 * 10**9, photo, size, channels)
    with pytest.raises(ModelError, match="at least"):
        large.block_side(6 * 10**8, photo, (10, 10), 0)
