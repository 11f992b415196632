"""From what people type (files, folders, globs) to images, and from images to the files that hold their results."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import MappingProxyType

from upseg.batch.stores import Stamp, Uri, listing, place_of
from upseg.data.names import normal_name
from upseg.errors import ImageError, UpsegError
from upseg.files import printable
from upseg.formats import FORMATS, output_suffixes
from upseg.images.ome_zarr import ZARR_SUFFIX
from upseg.images.reading import IMAGE_SUFFIXES


@dataclass(frozen=True, slots=True)
class InputKind:
    """What is looked for among the inputs.

    Attributes:
        noun: What messages call one of them.
        verb: What is to be done with it.
        suffixes: What counts as one when a folder is searched, in lower case.
        zarr: Whether folders called `.zarr` are such inputs.
    """

    noun: str = "image"
    verb: str = "segment"
    suffixes: frozenset[str] = IMAGE_SUFFIXES
    zarr: bool = False

    def takes(self, path: Path) -> bool:
        """Whether a path that is there counts as one."""
        return self.takes_folder(path) if path.is_dir() else path.suffix.lower() in self.suffixes

    def takes_folder(self, path: Path) -> bool:
        """Whether a folder is one by itself, as an image in OME-Zarr is."""
        return self.zarr and path.suffix.lower() == ZARR_SUFFIX

    @property
    def role(self) -> str:
        """What messages call one of them that must not be replaced."""
        return f"{'an' if self.noun[0] in 'aeiou' else 'a'} {self.noun} to {self.verb}"


IMAGES = InputKind(zarr=True)


@dataclass(frozen=True, slots=True)
class InputImage:
    """One image to segment.

    Attributes:
        path: Where to read it, as near as can be to what was typed.
        name: Its place below the folder that all inputs share: what results are named after.
        problem: Why there is nothing to read; None where there seems to be.
        stamp: What its store says of it; None of local files.
    """

    path: Path
    name: PurePosixPath
    problem: str | None = None
    stamp: Stamp | None = None

    @property
    def key(self) -> PurePosixPath:
        """The name without the suffix of an image: what files that belong together share."""
        return self.name.with_suffix("") if self.name.suffix.lower() in (*IMAGE_SUFFIXES, ZARR_SUFFIX) else self.name


@dataclass(frozen=True, slots=True)
class OutputPlan:
    """Where the results of one image go, relative to the folder of results.

    Attributes:
        stem: Folder and name without a format's suffix.
        files: Every file of every format.
    """

    stem: PurePosixPath
    files: tuple[PurePosixPath, ...]

    @classmethod
    def of(cls, stem: PurePosixPath, formats: Sequence[str]) -> OutputPlan:
        """The files of some formats."""
        suffixes = (suffix for name in formats for suffix in output_suffixes(name))
        return cls(stem, tuple(stem.with_name(stem.name + suffix) for suffix in suffixes))


@dataclass(frozen=True, slots=True)
class _Found:
    """A path, its true place (folders resolved, the last part not), and why it cannot be used, if so."""

    path: Path
    place: Path
    problem: str | None = None
    stamp: Stamp | None = None


@dataclass(frozen=True, slots=True)
class _Expansion:
    """What one argument stands for, and the folder that its names count from; None where it does not exist."""

    anchor: Path | None
    found: list[_Found]


def find_images(
    arguments: Sequence[str | os.PathLike[str]],
    output: Path,
    is_result: Callable[[str], bool],
    kind: InputKind = IMAGES,
    *,
    stores: bool = False,
) -> list[InputImage]:
    """Expand files, folders and globs into the images they mean, each once, sorted by name.

    Folders are searched with everything below them for the suffixes of the kind; links to folders are not
    followed, hidden files and folders are left out, and so is `output` where it lies inside. A glob (`*`, `?`, `[...]`,
    `**`) stands for what matches it; `**` follows no links to folders. A file named outright may be called anything.
    Names count from the folder itself where it is the only argument, else from the deepest folder that holds all that
    was asked for.

    Args:
        arguments: Paths or globs.
        output: The folder that results go to; it need not exist.
        is_result: Whether a path relative to `output` (with slashes) is the result of an earlier run: such files are
            no input.
        kind: What is looked for.
        stores: Whether URIs may be among the arguments.

    Returns:
        The images, and what was asked for but is not there, with the problem.

    Raises:
        ImageError: If there is no image at all.
    """
    if not stores and (there := [name for name in arguments if isinstance(place_of(name), Uri)]):
        raise ImageError(f"{printable(there[0])}: this does not read from stores; copy what is there to a disk")
    target = output.resolve()
    expansions = [_expand(os.fspath(argument), target, is_result, kind) for argument in arguments]
    found = {item.place: item for expansion in expansions for item in expansion.found}
    problems = [item.problem for item in found.values() if item.problem is not None]
    if len(problems) == len(found):
        raise ImageError("; ".join(problems) or f"no {kind.noun} to {kind.verb} was named")
    try:
        root = Path(os.path.commonpath([expansion.anchor for expansion in expansions if expansion.anchor is not None]))
    except ValueError as error:  # two drives of Windows, a local folder and a store
        raise ImageError(
            f"the {kind.noun}s are on several drives or stores; give those of each by themselves"
        ) from error
    images = []
    for item in found.values():
        name = item.place.name if item.problem else _below(item.place, root)
        images.append(InputImage(item.path, PurePosixPath(name), item.problem, item.stamp))
    return sorted(images, key=lambda image: image.name.parts)


def plan_outputs(
    images: Sequence[InputImage],
    formats: Sequence[str],
    output: Path,
    arguments: Sequence[str | os.PathLike[str]],
    *,
    kind: InputKind = IMAGES,
    reserved: PurePosixPath | None = None,
    protected: Mapping[Path, str] = MappingProxyType({}),
) -> dict[InputImage, OutputPlan]:
    """Choose the files that hold each image's results.

    A result is called like its image with another suffix (`a.jpg`, `a.png`). Images that would get the same file keep
    their whole name (`a.jpg`, `a.jpg.png`).

    Args:
        images: As `find_images` returns them.
        formats: Names in `upseg.formats.FORMATS`.
        output: The folder that results go to.
        arguments: What was given to `find_images`.
        kind: Of the images.
        reserved: A file, relative to `output`, that is no image's result but the whole run's.
        protected: Further files that must not be replaced, and what messages call them.

    Returns:
        The plan of each image, in their order; one with a problem has no files.

    Raises:
        UpsegError: If a result would replace an image, would be written outside `output`, or would be found as an image
            by the next run.
    """
    plans = [OutputPlan.of(image.key, () if image.problem else formats) for image in images]
    while clashing := _clashing(plans, _key, reserved):
        whole_names = {index: OutputPlan.of(images[index].name, formats) for index in clashing}
        if all(plans[index] == plan for index, plan in whole_names.items()):
            break
        plans = [whole_names.get(index, plan) for index, plan in enumerate(plans)]
    if clashing := _clashing(plans, str, reserved):
        shown = " and ".join(printable(images[index].path) for index in clashing[:2])
        raise UpsegError(f"the results of {shown} would get the same names; write them into different folders")
    files = [file for plan in plans for file in plan.files] + ([] if reserved is None else [reserved])
    own = (image.path for image in images if image.problem is None)
    _check_places(files, output, {**dict.fromkeys(own, kind.role), **protected})
    check_not_searched(files, output, arguments, kind)
    return dict(zip(images, plans, strict=True))


def earlier_results(image: InputImage, plan: OutputPlan) -> list[str]:
    """What results of this image may be called from when other images were beside it, relative to the output."""
    stems = [PurePosixPath(stem) for stem in (image.key, image.name) if PurePosixPath(stem) != plan.stem]
    return [str(file) for stem in stems for file in OutputPlan.of(stem, tuple(FORMATS)).files]


def check_not_searched(
    files: Sequence[PurePosixPath], output: Path, arguments: Sequence[str | os.PathLike[str]], kind: InputKind
) -> None:
    """Refuse results where the next run would find them as inputs.

    Args:
        files: The results, relative to `output`.
        output: The folder that results go to.
        arguments: What was given to `find_images`.
        kind: What was looked for.

    Raises:
        UpsegError: If one lies in a folder that is searched, other than `output` itself or what is in it.
    """
    target = output.resolve()
    folders = {place_of(argument): place_of(argument).resolve() for argument in arguments if _is_folder(argument)}
    searched = {folder: place for folder, place in folders.items() if place not in target.parents}
    for _, parent in _with_parents(files, target):
        folder = next((folder for folder, place in searched.items() if parent.is_relative_to(place)), None)
        if folder is not None:
            raise UpsegError(
                f"results would lie among the {kind.noun}s of {printable(folder)}, where the next run would take them "
                f"for {kind.noun}s; write somewhere else with -o, for instance into {printable(folder / 'segments')}"
            )


def _expand(argument: str, target: Path, is_result: Callable[[str], bool], kind: InputKind) -> _Expansion:
    path = place_of(argument)
    if isinstance(path, Uri):
        return _expand_uri(path, target, is_result, kind)
    try:
        is_folder, exists = path.is_dir(), path.exists() or path.is_symlink()
        _place(path)
    except (OSError, ValueError) as error:  # a name too long or with a NUL, a folder without permission
        problem = f"{printable(path)}: it cannot be looked at ({getattr(error, 'strerror', None) or error})"
        return _Expansion(None, [_Found(path, path, problem)])
    if is_folder and not kind.takes_folder(path):
        anchor, none = path.resolve(), f"no {kind.noun} in this folder"
        found = list(_walk(path, anchor, target, kind))
    elif exists or not glob.has_magic(argument):
        anchor, found, none = _place(path).parent, [_Found(path, _place(path))] if exists else [], "no such file"
    else:
        anchor, found, none = *_match(argument, target, kind), f"no {kind.noun} matches this pattern"
    inside = {item.place: item.place.is_relative_to(target) for item in found}
    found = [item for item in found if not (inside[item.place] and is_result(_below(item.place, target)))]
    if found:
        return _Expansion(anchor, found)
    suffixes = f" (looked for {', '.join(sorted(kind.suffixes))})" if is_folder else ""
    missing = _Found(path, anchor / (path.name or "."), f"{printable(path)}: {none}{suffixes}")
    return _Expansion(anchor if is_folder else None, [missing])


def _expand_uri(uri: Uri, target: Path, is_result: Callable[[str], bool], kind: InputKind) -> _Expansion:
    """As `_expand`, in a store: hidden files, and the results where they lie inside, are left out there too."""
    literal = next((index for index, part in enumerate(uri.parts) if glob.has_magic(part)), len(uri.parts))
    anchor, files = Uri(*uri.parts[:literal]), listing(uri)
    if list(files) == [uri]:
        return _Expansion(anchor.parent, [_Found(uri, uri, stamp=files[uri])])
    apart = target != anchor and target not in anchor.parents
    found = [
        _Found(file, file, stamp=stamp)
        for file, stamp in files.items()
        if kind.takes(file) and not any(part.startswith(".") for part in file.relative_to(anchor).parts)
        if not (file.is_relative_to(target) and (apart or is_result(_below(file, target))))
    ]
    if found:
        return _Expansion(anchor, found)
    return _Expansion(anchor, [_Found(uri, anchor / uri.name, f"{uri}: no {kind.noun} there")])


def _match(pattern: str, target: Path, kind: InputKind) -> tuple[Path, list[_Found]]:
    parts = Path(pattern).parts
    literal = Path(*parts[: next(index for index, part in enumerate(parts) if glob.has_magic(part))])
    anchor = literal.resolve()
    matches = list(dict.fromkeys(_glob(Path(pattern))))
    files = [path for path in matches if kind.takes(path)]
    places = {path: _place(path) for path in files}
    # what a link to a folder leads to is called by the way that leads there
    found = [
        _Found(path, place if place.is_relative_to(anchor) else anchor / path.relative_to(literal))
        for path, place in places.items()
    ]
    for folder in (path for path in matches if path.is_dir() and not kind.takes_folder(path)):
        found += _walk(folder, _place(folder), target, kind)
    separate = target != anchor and target not in anchor.parents
    return anchor, [item for item in found if not (separate and item.place.is_relative_to(target))]


def _glob(pattern: Path) -> Iterator[Path]:
    """What matches a pattern; `**` stands for folders, but not for what links to folders lead to, or hidden ones."""
    if "**" not in pattern.parts:
        yield from map(Path, glob.glob(str(pattern)))  # noqa: PTH207 - patterns may be absolute
        return
    index = pattern.parts.index("**")
    head, tail = Path(*pattern.parts[:index]), pattern.parts[index + 1 :]
    for start in map(Path, glob.glob(str(head))):  # noqa: PTH207
        for current, folders, files in os.walk(start):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            if tail:
                yield from _glob(Path(glob.escape(current), *tail))
            else:
                yield from (Path(current, name) for name in files if not name.startswith("."))


def _walk(folder: Path, place: Path, target: Path, kind: InputKind) -> Iterator[_Found]:
    problems: list[OSError] = []
    for current, folders, files in os.walk(folder, onerror=problems.append):
        here = place / Path(current).relative_to(folder)
        folders[:] = sorted(name for name in folders if not name.startswith(".") and here / name != target)
        for name in [name for name in folders if kind.takes_folder(Path(current, name))]:
            folders.remove(name)
            yield _Found(Path(current) / name, here / name)
        for name in sorted(files):
            if Path(name).suffix.lower() in kind.suffixes and not name.startswith("."):
                yield _Found(Path(current) / name, here / name)
    for problem in problems:
        path = Path(os.fsdecode(problem.filename))
        yield _Found(path, _place(path), f"{printable(path)}: the folder cannot be read ({problem.strerror})")


def _place(path: Path) -> Path:
    """The path with its folder resolved and its own name kept, so that results are called like links, not targets."""
    return path.resolve() if path.name in ("", "..") else path.parent.resolve() / path.name


def _clashing(
    plans: Sequence[OutputPlan], key: Callable[[PurePosixPath], str], reserved: PurePosixPath | None
) -> list[int]:
    """The numbers of the plans that share a file with another, or have the reserved one."""
    counts = Counter(key(file) for plan in plans for file in plan.files)
    counts.update([] if reserved is None else [key(reserved)])
    return [index for index, plan in enumerate(plans) if any(counts[key(file)] > 1 for file in plan.files)]


def _key(file: PurePosixPath) -> str:
    """The same for names that some file systems cannot tell apart."""
    return normal_name(file).casefold()


def _below(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()


def _check_places(files: Sequence[PurePosixPath], output: Path, inputs: Mapping[Path, str]) -> None:
    """Refuse results outside the folder of results, and in place of what is read."""
    target = output.resolve()
    roles = {_identity(path): role for path, role in inputs.items()}
    roles.pop(None, None)
    for file, parent in _with_parents(files, target):
        if not parent.is_relative_to(target):
            raise UpsegError(
                f"{printable(output / file)} lies outside {printable(output)}, because a folder in between is a link; "
                "remove the link, or write somewhere else with -o"
            )
        if (identity := _identity(target / file)) in roles:
            raise UpsegError(f"{printable(output / file)} is {roles[identity]}; write somewhere else with -o")


def _with_parents(files: Sequence[PurePosixPath], target: Path) -> Iterator[tuple[PurePosixPath, Path]]:
    """Each file and the true place of its folder."""
    real_parents: dict[PurePosixPath, Path] = {}
    for file in files:
        if file.parent not in real_parents:
            real_parents[file.parent] = (target / file.parent).resolve()
        yield file, real_parents[file.parent]


def _is_folder(argument: str | os.PathLike[str]) -> bool:
    try:
        return isinstance(place_of(argument), Uri) or Path(argument).is_dir()
    except (OSError, ValueError):  # it cannot be looked at
        return False


def _identity(path: Path) -> tuple[int, int] | Uri | None:
    """What tells one existing file from another, whatever its name; in stores a file has one name."""
    if isinstance(path, Uri):
        return path
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino
