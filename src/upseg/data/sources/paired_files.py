"""Data sets in which each image has one file of ground truth that is called like it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path

from upseg.data.dataset import Dataset, OnError
from upseg.data.sample import Sample
from upseg.data.sources.folders import Listing, shared_keys
from upseg.segmentation import Category


class PairedFiles(Dataset):
    """Images and files of ground truth with shared keys.

    Args:
        images: The images.
        truths: The files of ground truth.
        categories: All classes.
        on_error: What to do with files without a partner, and with damaged samples.

    Raises:
        DataError: If a file has no partner and `on_error` is "raise", or none has.
    """

    def __init__(
        self, images: Listing, truths: Listing, categories: Iterable[Category] = (), on_error: OnError = "raise"
    ) -> None:
        self.images, self.truths = images, truths.called_like(images)
        self.keys, problems = shared_keys(self.images, self.truths, on_error)
        super().__init__(categories, on_error, problems)

    @property
    def names(self) -> Sequence[str]:
        """The images' files without suffix, below their folder."""
        return [self.images.name(key) for key in self.keys]

    def __len__(self) -> int:
        return len(self.keys)

    def load(self, index: int) -> Sample:
        """Read one pair."""
        key = self.keys[index]
        return self.load_pair(self.images.path(key), self.truths.path(key), self.images.name(key))

    @abstractmethod
    def load_pair(self, image: Path, truth: Path, name: str) -> Sample:
        """Read one image's ground truth.

        Args:
            image: The image file.
            truth: The file of its ground truth.
            name: What the sample is called.
        """
