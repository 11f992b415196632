"""MATLAB files up to version 7.2, in which several data sets keep their annotations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from upseg.data.sources.label_images import truth_file


def read_matlab(path: Path, variable: str, holds: str) -> Any:
    """One variable of a MATLAB file, as scipy gives it.

    Args:
        path: The file.
        variable: The variable.
        holds: What the file should be, for the message.

    Raises:
        DataError: If the file is missing, damaged, or does not have the variable.
    """
    with truth_file(path, holds):
        try:
            with path.open("rb") as file:
                content = loadmat(file, variable_names=[variable])
        except (MatReadError, NotImplementedError) as error:
            raise ValueError(str(error) or "the file is damaged") from error
        if variable not in content:
            raise ValueError(f"it has no variable {variable!r}")
        return content[variable]
