"""A data set in two parts that never change: one to train on, one to validate on."""

from __future__ import annotations

import hashlib
from typing import Literal

from upseg.data.dataset import Dataset, Derived
from upseg.errors import DataError

Part = Literal["train", "validation"]


class HashedPart(Derived):
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
        wanted, names = part == "validation", dataset.names
        super().__init__(dataset, [i for i, name in enumerate(names) if is_validation(name, share, salt) == wanted])
        if not self.names:
            raise DataError(f"of {len(names)} images none falls into the part {part!r}; change the share ({share})")


def is_validation(name: str, share: float, salt: str = "") -> bool:
    """Whether the image of a name belongs to the validation part of a given share."""
    digest = hashlib.sha256(f"{salt}/{name}".encode()).digest()
    return int.from_bytes(digest[:8]) < share * 2**64
