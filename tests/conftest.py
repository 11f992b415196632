"""Every array that a public function takes or gives is checked against its annotated shape while the tests run."""

from __future__ import annotations

from jaxtyping import install_import_hook

install_import_hook("upseg", "beartype.beartype")
