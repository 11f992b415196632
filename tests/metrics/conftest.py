"""Real data for published figures."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder that the environment variable UPSEG_DATA names."""
    value = os.environ.get("UPSEG_DATA")
    if not value:
        pytest.skip("UPSEG_DATA names no folder with real data")
    return Path(value)
