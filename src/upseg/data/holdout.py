"""A data set in two parts that never change: one to train on, one to validate on."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Literal

from upseg.data.dataset import Dataset
from upseg.data.sample import Sample
from upseg.errors import DataError

Part = Literal["train", "validation"]


class HashedPart(Dataset):
    """One of two parts of a data set, chosen by a hash of each image's name.

    An image stays in its part whatever else is added to the data set or taken from it, on every machine.

    Args:
        dataset: The whole.
        part: `train` or `validation`.
        share: Of the images that go to validation, about; in (0, 1).
        salt: Another text gives another split.

    Raises:
        DataError: If the part would be empty.
        ValueError: If the share or the part is not one.

    Example:
        >>> from upseg.data import ShapeScenes
        >>> [len(HashedPart(ShapeScenes(100), part)) for part in ("train", "validation")]
        [84, 16]
    """

    def __init__(self, dataset: Dataset, part: Part, share: float = 0.2, salt: str = "") -> None:
        if not 0 < share < 1 or part not in ("train", "validation"):
            raise ValueError(f"expected a share in (0, 1) and the part train or validation, got {share} and {part!r}")
        super().__init__(dataset.categories, dataset.on_error, dataset.problems)
        self.decode_images = dataset.decode_images
        self._whole = dataset
        names = dataset.names
        wanted = part == "validation"
        self._indices = [i for i, name in enumerate(names) if is_validation(name, share, salt) == wanted]
        if not self._indices:
            raise DataError(f"of {len(names)} images none falls into the part {part!r}; change the share ({share})")
        self._names = [names[index] for index in self._indices]

    @property
    def names(self) -> Sequence[str]:
        """The names of this part's images."""
        return self._names

    def load(self, index: int) -> Sample:
        """Read a sample of this part."""
        return self._whole.load(self._indices[index])


def is_validation(name: str, share: float, salt: str = "") -> bool:
    """Whether the image of a name belongs to the validation part of a given share."""
    digest = hashlib.sha256(f"{salt}/{name}".encode()).digest()
    return int.from_bytes(digest[:8]) < share * 2**64
