"""A data set in two parts that never change: one to train on, one to validate on."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Literal

from upseg.data.dataset import Dataset, Derived
from upseg.data.mixing import apportion
from upseg.errors import DataError

Part = Literal["train", "validation"]
_SMALL = 50  # images


class HashedPart(Derived):
    """One of two parts of a data set, chosen by a hash of each image's name.

    An image stays in its part whatever else is added to the data set or taken from it, on every machine. That cannot be
    had for a small set, of which both parts may be left empty: of fewer than 50 images just the share goes to
    validation, at least one image, from each folder in proportion to what is in it.

    Args:
        dataset: The whole.
        part: `train` or `validation`.
        share: Of the images that go to validation, about; in (0, 1).
        salt: Another text gives another split.

    Raises:
        DataError: If there are fewer than two images, or a part of a large set would be empty.
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
        if len(names) < 2:
            raise DataError(f"to train and to validate, at least 2 images are needed, the data set has {len(names)}")
        chosen = (
            _few(names, share, salt) if len(names) < _SMALL else {n for n in names if is_validation(n, share, salt)}
        )
        super().__init__(dataset, [index for index, name in enumerate(names) if (name in chosen) == wanted])
        if not self.names:
            raise DataError(f"of {len(names)} images none falls into the part {part!r}; change the share ({share})")


def is_validation(name: str, share: float, salt: str = "") -> bool:
    """Whether the image of a name belongs to the validation part of a given share."""
    return _number(name, salt) < share * 2**64


def _number(name: str, salt: str) -> int:
    """A number in [0, 2^64) that depends on the name alone."""
    return int.from_bytes(hashlib.sha256(f"{salt}/{name}".encode()).digest()[:8])


def _few(names: Sequence[str], share: float, salt: str) -> set[str]:
    """The validation part of a small set: of each folder its share, those images whose hashes are smallest."""
    folders: dict[str, list[str]] = {}
    for name in sorted(names, key=lambda name: _number(name, salt)):
        folders.setdefault(str(PurePosixPath(name).parent), []).append(name)
    groups = [folders[folder] for folder in sorted(folders)]
    total = min(max(1, round(share * len(names))), len(names) - 1)
    counts = apportion([float(len(group)) for group in groups], total)
    return {name for group, count in zip(groups, counts, strict=True) for name in group[:count]}
