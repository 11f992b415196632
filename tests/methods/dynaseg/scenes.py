"""Three drawn scenes with exact ground truth, for what the method must find."""

from __future__ import annotations

import numpy as np

HEIGHT, WIDTH = 96, 128
ROWS, COLUMNS = np.mgrid[:HEIGHT, :WIDTH]


def painted(truth: np.ndarray, palette: object, noise: float, texture: object = 0.0) -> np.ndarray:
    """(H, W, 3) float32: a colour for each region, a texture on top, and noise."""
    image = np.array(palette)[truth - 1] + np.random.default_rng(0).normal(0, noise, (HEIGHT, WIDTH, 3)) + texture
    return np.clip(image, 0, 1).astype(np.float32)


def flat_regions() -> tuple[np.ndarray, np.ndarray]:
    """A slanted horizon, a disc and a rectangle in flat colours with noise."""
    truth = np.where(ROWS + COLUMNS / 4 > 52, 2, 1).astype(np.int32)
    truth[(ROWS - 38) ** 2 + (COLUMNS - 40) ** 2 < 22**2] = 3
    truth[42:83, 78:112] = 4
    palette = [[0.55, 0.7, 0.9], [0.3, 0.5, 0.2], [0.85, 0.3, 0.2], [0.9, 0.85, 0.4]]
    return painted(truth, palette, noise=0.04), truth


def disc_on_texture() -> tuple[np.ndarray, np.ndarray]:
    """A plain disc on a ground of light and dark squares of three pixels, whose contrast is a third of the disc's."""
    truth = np.where((ROWS - 50.3) ** 2 + (COLUMNS - 60.7) ** 2 < 27**2, 2, 1).astype(np.int32)
    squares = 0.12 * np.sign(np.sin(COLUMNS * 1.1) * np.sin(ROWS * 1.3)) * (truth == 1)
    return painted(truth, [[0.35, 0.5, 0.25], [0.8, 0.6, 0.3]], noise=0.02, texture=squares[..., None]), truth


def touching_rectangles() -> tuple[np.ndarray, np.ndarray]:
    """Twelve squares of different colours, side by side."""
    truth = (1 + (ROWS // 32) * 4 + COLUMNS // 32).astype(np.int32)
    colours = [[red, green, blue] for red in (0.15, 0.5, 0.85) for green in (0.15, 0.5, 0.85) for blue in (0.2, 0.8)]
    return painted(truth, np.random.default_rng(4).permutation(colours)[:12], noise=0.04), truth
