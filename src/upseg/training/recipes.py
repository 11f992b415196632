"""The recipes that come with the package: `configs/METHOD/NAME.yaml`."""

from __future__ import annotations

import difflib
from pathlib import Path

from upseg.errors import UpsegError
from upseg.files import printable

_PACKAGE = Path(__file__).parents[1]
_CHECKOUT = _PACKAGE.parents[1]


def recipes() -> dict[str, Path]:
    """The file of each recipe by name, such as `entity/smoke`, in order."""
    folder = _folder()
    return {path.relative_to(folder).with_suffix("").as_posix(): path for path in sorted(folder.glob("*/*.yaml"))}


def describe(recipe: Path) -> str:
    """What a recipe says about itself: the comment that it begins with, up to the first full stop or empty line."""
    lines: list[str] = []
    for line in recipe.read_text(encoding="utf-8").splitlines():
        text = line.lstrip("#").strip()
        if not line.startswith("#") or not text:
            break
        lines.append(text)
    return " ".join(lines).partition(". ")[0].removesuffix(".")


def find_recipe(name: str) -> Path:
    """The file that is meant: a path, or the name of a recipe that comes with the package.

    Args:
        name: A file that exists has precedence over a recipe.

    Raises:
        UpsegError: If there is neither.
    """
    try:
        if Path(name).is_file():
            return Path(name)
    except (OSError, ValueError) as error:  # a name too long, or with a NUL
        raise UpsegError(f"{printable(name)}: cannot be looked at ({error})") from error
    known = recipes()
    if name in known:
        return known[name]
    close = difflib.get_close_matches(name, known, 1)
    hint = f" (did you mean {close[0]}?)" if close else ""
    listed = ", ".join(known) or "none"
    raise UpsegError(f"there is no file and no recipe {name!r}{hint}; the recipes are {listed}")


def name_of(path: Path) -> str:
    """What a run of this configuration is called: the recipe's name, or that of the file without its suffix."""
    known = {file.resolve(): name for name, file in recipes().items()}
    return known.get(path.resolve(), path.stem)


def _folder() -> Path:
    """Inside the installed package, or at the top of the checkout that the package is imported from."""
    installed = _PACKAGE / "configs"
    return installed if installed.is_dir() else _CHECKOUT / "configs"
