"""What all data sets have in common: samples by number, and one way to deal with damaged ones."""

from __future__ import annotations

import operator
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, SupportsIndex

from upseg.data.names import Names
from upseg.data.sample import Sample
from upseg.errors import DataError
from upseg.images.label_maps import LabelValues
from upseg.images.options import ReadingOptions
from upseg.segmentation import Category

OnError = Literal["raise", "skip"]
"""What to do with a damaged sample: raise a `DataError`, or leave it out with a warning and count it."""


class Dataset(ABC):
    """Images with ground truth, read from files one at a time.

    Indexing reads one sample and raises a `DataError` if it is damaged. Iterating and `read` do what `on_error` says.
    A data set can be pickled and read in any number of processes at once.

    Readers of files take the folder `root`, the name of a `split` (what None stands for they say) and `on_error`, and
    raise a `DataError` that says where they looked if something is missing.

    Args:
        categories: All classes that segments can have; none where the data set has none, or does not list them.
        on_error: What iterating and `read` do with a damaged sample, and readers with files that lack a partner.
        problems: What was wrong when it was opened.
        names: What it calls each image: its file without suffix, below the folder of the images.

    Attributes:
        decode_images: Whether reading a sample also decodes its image, so that a damaged one is found at once; if not,
            it is decoded when somebody looks at it, which saves time where only the ground truth is wanted.
        reading: How images are read: which channels, how they are normalised.
        values: What the numbers of its label maps mean; None where the data set has its own rules.
        has_objects: Whether things are told apart; if not, as in class masks, they are crowds without anything wrong.
        notes: What was found at opening that is not wrong, but that one may want to know.

    Example:
        >>> from upseg.data import ShapeScenes
        >>> dataset = ShapeScenes(3, size=(32, 48))
        >>> [sample.shape for sample in dataset.subset(["shapes-0-2", "shapes-0-0"])]
        [(32, 48), (32, 48)]
    """

    values: LabelValues | None = None
    has_objects: bool = True
    notes: tuple[str, ...] = ()

    def __init__(
        self,
        categories: Iterable[Category] = (),
        on_error: OnError = "raise",
        problems: Iterable[str] = (),
        *,
        names: Sequence[str] = (),
    ) -> None:
        if on_error not in ("raise", "skip"):
            raise DataError(f"on_error must be 'raise' or 'skip', got {on_error!r}")
        self._categories, self._names = tuple(categories), names
        self.on_error = on_error
        self.decode_images = True
        self.reading = ReadingOptions()
        self._found_at_opening = tuple(problems)
        self._damaged: dict[int, str] = {}

    @property
    def categories(self) -> tuple[Category, ...]:
        """All classes that segments can have; empty where the data set has none, or does not list them."""
        return self._categories

    @property
    def names(self) -> Sequence[str]:
        """What the data set calls each image."""
        return self._names

    @abstractmethod
    def load(self, index: int) -> Sample:
        """Read sample 0..len - 1, leaving the image for later where that is possible.

        Raises:
            DataError: If a file of it is missing or damaged; the message names the file.
        """

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: SupportsIndex) -> Sample:
        number = operator.index(index)
        if not -len(self) <= number < len(self):
            raise IndexError(f"the data set has {len(self)} samples, there is no number {number}")
        sample = self.load(number % len(self)).read_with(self.reading)
        if self.decode_images:
            _ = sample.image
        return sample

    def read(self, index: SupportsIndex) -> Sample | None:
        """Read one sample; with `on_error="skip"` a damaged one gives None, a warning, and an entry in `problems`.

        Raises:
            DataError: If the sample is damaged and `on_error` is "raise".
        """
        try:
            return self[index]
        except DataError as error:
            if self.on_error == "raise":
                raise
            self._damaged[operator.index(index) % len(self)] = str(error)
            warnings.warn(f"skipped: {error}", stacklevel=2)
            return None

    def __iter__(self) -> Iterator[Sample]:
        skipped = 0
        for index in range(len(self)):
            sample = self.read(index)
            if sample is None:
                skipped += 1
            else:
                yield sample
        if skipped:
            warnings.warn(f"skipped {skipped} of {len(self)} samples; `problems` lists them", stacklevel=2)

    @property
    def problems(self) -> list[str]:
        """What was wrong when the data set was opened, and what was wrong with each sample skipped so far."""
        return [*self._found_at_opening, *(self._damaged[index] for index in sorted(self._damaged))]

    def subset(self, names: Iterable[str]) -> Dataset:
        """Only the samples with these names, in this order.

        Args:
            names: Names as in `names`, or just their last parts; a file suffix is of no interest.

        Raises:
            DataError: If a name is not there, or more than one sample has it.
        """
        return Derived(self, [self._position(name) for name in names])

    def _position(self, name: str) -> int:
        if not hasattr(self, "_known"):
            self._known = Names(self.names)
            self._positions = {known: position for position, known in enumerate(self.names)}
        if len(found := self._known.find(name)) == 1:
            return self._positions[found[0]]
        raise DataError(
            f"there {'is no sample' if not found else f'are {len(found)} samples'} named {name!r}; "
            f"names are such as {', '.join(self.names[:3])}"
        )


class Derived(Dataset):
    """Some samples of another data set, or all of them; subclasses change what `load` gives.

    Args:
        whole: The other data set, whose classes are this one's.
        indices: Which of its samples, in this order; None for all.
    """

    def __init__(self, whole: Dataset, indices: Sequence[int] | None = None) -> None:
        self._indices = range(len(whole)) if indices is None else indices
        names = whole.names
        super().__init__((), whole.on_error, whole.problems, names=[names[index] for index in self._indices])
        self.decode_images, self.reading = whole.decode_images, whole.reading
        self.values, self.has_objects, self.notes = whole.values, whole.has_objects, whole.notes
        self._whole = whole

    @property
    def categories(self) -> tuple[Category, ...]:
        """Those of the other data set."""
        return self._whole.categories

    def load(self, index: int) -> Sample:
        """Read the other data set's sample."""
        return self._whole.load(self._indices[index])
