"""How Sphinx builds the documentation; `make docs` runs it."""

import re
import sys
from pathlib import Path

DOCS = Path(__file__).parent
sys.path[:0] = [str(DOCS), str(DOCS.parent / "src")]

from tables import all_tables  # noqa: E402 - found through the path above

import upseg  # noqa: E402 - likewise

project = "upseg"
author = "the upseg authors"
copyright = "the upseg authors"
release = version = upseg.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
default_role = "code"  # docstrings set code in single backticks
html_theme = "furo"
html_title = f"upseg {release}"
html_show_copyright = False

myst_enable_extensions = ["substitution"]
myst_heading_anchors = 3
myst_substitutions = all_tables()

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True

_CODE_OR_MARKUP = re.compile(r"(`[^`]*`)|[|*]")


def _keep_formulas(_app, _what, _name, _object, _options, lines: list[str]) -> None:
    """Docstrings are plain text with code in backticks: |A| and a * b are formulas in them, not markup."""
    lines[:] = [_CODE_OR_MARKUP.sub(lambda match: match[1] or f"\\{match[0]}", line) for line in lines]


def setup(app) -> None:
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", _keep_formulas, priority=400)  # before napoleon, which adds markup
