"""Images without any ground truth, for methods that learn without it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from upseg.data.dataset import Dataset, OnError
from upseg.data.sample import Sample
from upseg.data.sources.folders import IMAGES, list_files
from upseg.errors import DataError, ImageError


class PhotoFolder(Dataset):
    """All images of a folder and of those below it; every pixel is unlabelled.

    Raises:
        DataError: If there is no such folder, or no image in it.

    Example:
        >>> from upseg.data import ShapeScenes
        >>> _ = ShapeScenes(1)[0].to_segmentation().save("photos/a.png")
        >>> PhotoFolder("photos").names
        ['a']
    """

    def __init__(self, root: str | Path, on_error: OnError = "raise") -> None:
        self._images = list_files(Path(root).expanduser(), IMAGES, "images", recursive=True)
        self._keys = list(self._images.files)
        super().__init__((), on_error, names=[self._images.name(key) for key in self._keys])

    def load(self, index: int) -> Sample:
        """Read one image."""
        key = self._keys[index]
        try:
            image = self.reading.read(self._images.path(key))
        except ImageError as error:
            raise DataError(str(error)) from error
        return Sample.from_labels(image, np.zeros(image.shape[:2], np.int32), name=self.names[index])
