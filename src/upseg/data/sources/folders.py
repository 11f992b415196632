"""Finding the folders and files of a data set, and saying clearly what is not there."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from jaxtyping import Integer

from upseg.data.dataset import Dataset, OnError
from upseg.data.names import name_key, normal_name
from upseg.data.sample import LazyImage, Sample
from upseg.errors import DataError, ImageError
from upseg.files import is_there
from upseg.images.decoding import decoding_errors, orientation, oriented
from upseg.images.reading import IMAGE_SUFFIXES, read_image
from upseg.segmentation import Category

IMAGES = tuple(sorted(IMAGE_SUFFIXES))
LABELS = (".png", ".tif", ".tiff")
_TIFF_ROWS, _TIFF_COLUMNS = 257, 256
_SIDEWAYS = 5  # the first orientation tag with which rows and columns change places


@dataclass(frozen=True)
class Listing:
    """The files of one kind below a folder.

    Attributes:
        folder: The folder.
        files: For each key, by which files of several kinds belong together, the file below `folder`, with slashes.
    """

    folder: Path
    files: Mapping[str, str]

    def path(self, key: str) -> Path:
        """The file with that key."""
        return self.folder / self.files[key]

    def name(self, key: str) -> str:
        """What an image is called: its file without suffix, below the folder; with it where its key has it."""
        file = self.files[key]
        return key if normal_name(file) == key else normal_name(PurePosixPath(file).with_suffix(""))

    def called_like(self, images: Listing) -> Listing:
        """The same files; those that are called like an image with its suffix (`x.jpg.png`) have the image's key."""
        other = {key: name_key(key) for key in self.files if key not in images.files}
        free = {key: plain for key, plain in other.items() if plain in images.files and plain not in self.files}
        fitting = {key: plain for key, plain in free.items() if normal_name(images.files[plain]) == key}
        return Listing(self.folder, {fitting.get(key, key): file for key, file in self.files.items()})


def find_folder(root: Path, places: Iterable[str], holds: str) -> Path:
    """The first of some places below a folder that is a folder.

    Args:
        root: The folder that the user named.
        places: Paths below it, the official layout first.
        holds: What should be in it, for the message.

    Raises:
        DataError: If none is there; it says where was looked, for what, and what is there instead.
    """
    return _find(root, places, Path.is_dir, f"a folder with {holds}")


def find_file(root: Path, places: Iterable[str], holds: str) -> Path:
    """The first of some places below a folder that is a file; else a `DataError` as from `find_folder`."""
    return _find(root, places, Path.is_file, f"a file with {holds}")


def _find(root: Path, places: Iterable[str], fits: Callable[[Path], bool], what: str) -> Path:
    candidates = [root / place for place in places]
    found = next(filter(fits, candidates), None)
    if found is None:
        looked = " or ".join(str(candidate) for candidate in candidates)
        raise DataError(f"{looked} should be {what}, but there is none; {nearest_contents(candidates[0])}")
    return found


def list_files(
    folder: Path, endings: Sequence[str], holds: str, *, recursive: bool = False, whole_names: bool = False
) -> Listing:
    """All files in a folder that end in a certain way, keyed by what comes before that ending, in order of the keys.

    Args:
        folder: The folder.
        endings: How the names end, in lower case; the first one that fits is cut off to make the key.
        holds: What the files are, for messages.
        recursive: Whether to look in folders below it as well.
        whole_names: Whether files that would have one key (`x.jpg`, `x.png`) have their whole names as keys.

    Raises:
        DataError: If there is no such folder, no such file in it, or two files have one key.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} should be a folder with {holds}, but there is none; {nearest_contents(folder)}")
    found: dict[str, list[str]] = {}
    for name in _walk(folder, recursive=recursive):
        ending = next((e for e in endings if name.lower().endswith(e)), None)
        if ending is not None:
            found.setdefault(normal_name(name[: len(name) - len(ending)] or "."), []).append(name)
    files: dict[str, str] = {}
    for key, names in found.items():
        if len({*map(normal_name, names)}) < len(names) or (len(names) > 1 and not whole_names):
            raise DataError(f"{folder} holds both {names[0]} and {names[1]}; which of the two is meant?")
        for own, name in ((key, names[0]),) if len(names) == 1 else ((normal_name(name), name) for name in names):
            if own in files:
                raise DataError(f"{folder} holds both {files[own]} and {name}; which of the two is meant?")
            files[own] = name
    if not files:
        shown = ", ".join(f"*{ending}" for ending in endings)
        raise DataError(f"{folder} should hold {holds} ({shown}), but holds {_names_in(folder)}")
    return Listing(folder, dict(sorted(files.items())))


def _walk(folder: Path, *, recursive: bool) -> list[str]:
    """The files below a folder as relative paths with slashes, hidden ones left out."""
    if not recursive:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries if not entry.name.startswith(".") and entry.is_file())
    found, visited = [], set()
    for place, folders, names in os.walk(folder, followlinks=True):
        status = Path(place).stat()
        if (status.st_dev, status.st_ino) in visited:  # a link to a folder above
            folders.clear()
            continue
        visited.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        below = Path(place).relative_to(folder)
        found += [(below / name).as_posix() for name in names if not name.startswith(".")]
    return sorted(found)


def shared_keys(first: Listing, second: Listing, on_error: OnError) -> tuple[list[str], list[str]]:
    """The keys that two listings share, and what is wrong: one text for each that lacks partners of the other.

    Raises:
        DataError: If a file has no partner and `on_error` is "raise", or no file has one.
    """
    problems = []
    for one, other in ((first, second), (second, first)):
        lonely = [one.files[key] for key in sorted(one.files.keys() - other.files.keys())]
        if lonely:
            shown = ", ".join(lonely[:5]) + (" ..." if len(lonely) > 5 else "")
            problems.append(f"{len(lonely)} files in {one.folder} have no partner in {other.folder}: {shown}")
    keys = sorted(first.files.keys() & second.files.keys())
    if not keys:
        raise DataError(f"no two file names fit together: {'; '.join(problems)}")
    if problems and on_error == "raise":
        raise DataError(f'{"; ".join(problems)} (on_error="skip" leaves them out)')
    return keys, problems


def choose_split(wanted: str | None, found: Iterable[str], where: Path) -> str:
    """The one of several splits that is meant.

    Args:
        wanted: Its name, also without the year that it ends with; None for the validation split, or the only one.
        found: The splits that are there.
        where: Where they were looked for, for the message.

    Raises:
        DataError: If it is not there, or more than one is meant.
    """
    splits = sorted(set(found))
    if wanted is None:
        preferred = [split for split in splits if split.rstrip("0123456789") in ("val", "validation", "Validation")]
        matching = preferred or splits
    else:
        matching = [split for split in splits if split == wanted] or [
            split for split in splits if split.rstrip("0123456789") == wanted
        ]
    if len(matching) == 1:
        return matching[0]
    if not splits:
        raise DataError(f"no split of the data set is in {where}; {nearest_contents(where / 'split')}")
    what = "no split was named" if wanted is None else f"the split {wanted!r} was asked for"
    raise DataError(f"{what}, and {where} has {', '.join(splits)}: name one of these")


def read_names(path: Path, holds: str) -> list[str]:
    """The lines of a text file that are not empty.

    Raises:
        DataError: If there is no such file, it is no text, or it is empty.
    """
    try:
        names = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except FileNotFoundError as error:
        raise DataError(f"{path} should be a file with {holds}, but there is none; {nearest_contents(path)}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: expected a text file with {holds}, but it cannot be read as one: {error}") from error
    if not names:
        raise DataError(f"{path}: expected {holds}, one in each line, but the file is empty")
    return names


def image_of(path: Path, shape: tuple[int, ...], truth: Path) -> LazyImage:
    """The image to some ground truth; that it is there and has the right size is seen from the file's first bytes.

    Args:
        path: The image file.
        shape: (H, W) that its ground truth has.
        truth: The file of the ground truth, for the message.

    Raises:
        DataError: If the image is missing, is no image, or has another size.
    """
    return paired_image(path, np.broadcast_to(np.uint8(0), shape), truth, is_turned=True)[0]


def paired_image(
    path: Path, labels: Integer[np.ndarray, "h w"], truth: Path, *, is_turned: bool
) -> tuple[LazyImage, Integer[np.ndarray, "h2 w2"]]:
    """An image and its ground truth, both the right way up.

    Where the image has an orientation tag, the ground truth was made either of what the tag shows or of what is stored.
    Ground truth that fits only what is stored is turned with it.

    Args:
        path: The image file.
        labels: Its ground truth.
        truth: The file of the ground truth, for the message.
        is_turned: Whether the ground truth has been turned already, by a tag of its own.

    Raises:
        DataError: As `image_of`.
    """
    shape, (found, tag) = (labels.shape[0], labels.shape[1]), _image_shape(path)
    if found != shape and tag >= _SIDEWAYS and found == shape[::-1] and not is_turned:
        return LazyImage(path, found), oriented(labels, tag)
    if found is not None and found != shape:
        raise DataError(
            f"{truth}: its ground truth is {shape[0]} x {shape[1]} pixels (height x width), but its image {path} is "
            f"{found[0]} x {found[1]}; the two files do not belong together"
        )
    return LazyImage(path, shape), labels


def image_size(path: Path) -> tuple[int, int]:
    """(H, W) of an image the right way up; only of the TIFFs that Pillow does not know all of it is decoded.

    Raises:
        DataError: If the image is missing, or is no image.
    """
    shape = _image_shape(path)[0]
    if shape is None:
        try:
            shape = read_image(path).shape[:2]
        except ImageError as error:
            raise DataError(str(error)) from error
    return shape


def _image_shape(path: Path) -> tuple[tuple[int, int] | None, int]:
    """(H, W) of an image the right way up, None for what only decoding can tell; and its orientation tag."""
    from PIL import Image, UnidentifiedImageError

    try:
        if path.exists() and not path.is_file():
            raise ImageError("this is not a regular file")
        with decoding_errors(), Image.open(path) as image:
            # asking a PNG for an orientation that it does not have would decode all of it
            tag = 1 if image.format == "PNG" and "exif" not in image.info else orientation(image)
            # of TIFF Pillow gives the size of what the tag shows
            tags = getattr(image, "tag_v2", {})
            shape = (int(tags.get(_TIFF_ROWS, image.height)), int(tags.get(_TIFF_COLUMNS, image.width)))
            return (shape if tag < _SIDEWAYS else shape[::-1]), tag
    except UnidentifiedImageError as error:
        if path.suffix.lower() in (".tif", ".tiff"):
            return None, 1
        raise DataError(f"{path}: this is not an image") from error
    except ImageError as error:
        if not path.is_file():
            raise DataError(f"{path}: there is no such image; {nearest_contents(path)}") from error
        raise DataError(f"{path}: {error}") from error


def nearest_contents(path: Path) -> str:
    """What the nearest folder above a missing path holds, for messages."""
    above = next((parent for parent in path.parents if is_there(parent) and parent.is_dir()), None)
    return "and no folder above it either" if above is None else f"{above} holds {_names_in(above)}"


def _names_in(folder: Path) -> str:
    names = sorted(path.name for path in folder.iterdir())
    return f"{', '.join(names[:5])}{' ...' if len(names) > 5 else ''}" if names else "nothing"


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
        super().__init__(categories, on_error, problems, names=[self.images.name(key) for key in self.keys])

    def load(self, index: int) -> Sample:
        """Read one pair."""
        key = self.keys[index]
        return self.load_pair(self.images.path(key), self.truths.path(key), self.names[index])

    @abstractmethod
    def load_pair(self, image: Path, truth: Path, name: str) -> Sample:
        """Read one image's ground truth from its file; `name` is what the sample is called."""
