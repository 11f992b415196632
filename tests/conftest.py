"""Every array that a public function takes or gives is checked against its annotated shape while the tests run."""

from __future__ import annotations

from collections.abc import Iterator

import jaxtyping
import pytest

jaxtyping.install_import_hook("upseg", "beartype.beartype")


@pytest.fixture
def unchecked_shapes() -> Iterator[None]:
    """Switch off the shape checks that only the tests have, to reach the errors that users see."""
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", before)
