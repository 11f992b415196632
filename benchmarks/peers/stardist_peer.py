"""StarDist 2D from nothing, with the settings of its own example for few classes of nuclei, for `nuclei_peers.py`.

Its environment: `pip install stardist tensorflow-cpu "numpy<2" pillow`.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
from csbdeep.utils import normalize
from exchange import options, segment_all, training_images
from stardist.models import Config2D, StarDist2D
from tensorflow import config, keras

HELD = 20
"""Training images by which StarDist chooses its best weights and its two thresholds."""


class UntilTime(keras.callbacks.Callback):
    """Ends training after so many seconds; halves the learning rate at three and four fifths of them."""

    def __init__(self, seconds: float, rate: float) -> None:
        super().__init__()
        self.start, self.seconds, self.rate = time.monotonic(), seconds, rate

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:  # noqa: ARG002
        """Set the rate, or stop."""
        passed = (time.monotonic() - self.start) / self.seconds
        self.model.optimizer.learning_rate = self.rate * (1 if passed < 0.6 else 0.5 if passed < 0.8 else 0.1)
        self.model.stop_training = passed >= 1


def augment(image: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Turned, mirrored, brighter or darker, with noise: the augmentation of StarDist's examples."""
    turns, mirror = np.random.randint(4), np.random.randint(2)  # noqa: NPY002 - seeded below, as StarDist's own are
    image, labels = (np.rot90(a, turns)[:: 1 - 2 * mirror] for a in (image, labels))
    image = image * np.random.uniform(0.6, 2) + np.random.uniform(-0.2, 0.2)  # noqa: NPY002
    noise = 0.02 * np.random.uniform(0, 1) * np.random.normal(0, 1, image.shape)  # noqa: NPY002
    return image + noise, labels


def main() -> None:
    asked = options("StarDist")
    threads = int(os.environ.get("OMP_NUM_THREADS", "1"))
    config.threading.set_intra_op_parallelism_threads(threads)
    config.threading.set_inter_op_parallelism_threads(threads)
    if asked.action == "train":
        train(asked.folder, asked.minutes)
        return
    model = StarDist2D(None, name="model", basedir=str(asked.folder / "stardist"))
    segment_all(asked.folder, "StarDist", lambda image: model.predict_instances(_normal(image))[0])


def train(folder: Path, minutes: float) -> None:
    keras.utils.set_random_seed(0)
    images, labels = training_images(folder)
    images = [_normal(image) for image in images]
    order = np.random.default_rng(0).permutation(len(images))
    held, rest = order[:HELD], order[HELD:]
    settings = Config2D(
        n_channel_in=3, n_rays=32, grid=(2, 2), train_patch_size=(192, 192), train_batch_size=8, train_tensorboard=False
    )
    model = StarDist2D(settings, name="model", basedir=str(folder / "stardist"))
    model.prepare_for_training()
    model.callbacks.append(UntilTime(60 * minutes, settings.train_learning_rate))
    held_out = ([images[k] for k in held], [labels[k] for k in held])
    data = ([images[k] for k in rest], [labels[k] for k in rest])
    model.train(*data, validation_data=held_out, augmenter=augment, epochs=10_000, steps_per_epoch=50)
    model.optimize_thresholds(*held_out)


def _normal(image: np.ndarray) -> np.ndarray:
    return normalize(image.astype(np.float32), 1, 99.8, axis=(0, 1, 2))


if __name__ == "__main__":
    main()
