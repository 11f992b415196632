"""Fixtures of the metric tests: real data for published figures, and calls without shape checks."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import jaxtyping
import pytest


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder that the environment variable UPSEG_DATA names."""
    value = os.environ.get("UPSEG_DATA")
    if not value:
        pytest.skip("UPSEG_DATA names no folder with real data")
    return Path(value)


@pytest.fixture
def unchecked_shapes() -> Iterator[None]:
    """Switch off the shape checks that only the tests have, to reach the errors that users see."""
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", before)
