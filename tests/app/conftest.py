"""A document on disk, without any model, and a page that shows one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.app.browser import Page, a_browser
from tests.app.serving import served
from tests.app.squares import TREE
from tests.app.squares import levels as squares
from tests.app.squares import photo as halves
from upseg.app.document import RESULT, Document, adopt
from upseg.app.pictures import store_picture
from upseg.formats import write
from upseg.hierarchy import Hierarchy
from upseg.segmentation import Segmentation

ATOMS = np.repeat(np.repeat(np.arange(1, 7, dtype=np.int32).reshape(2, 3), 20, axis=0), 20, axis=1)
"""Six squares of 20 by 20 pixels in two rows."""


def with_levels(detail: float = 0.5) -> Segmentation:
    """A result with a hierarchy: at detail 0.5 the two rows' first three and their last are segments."""
    return Segmentation.from_hierarchy(
        Hierarchy(ATOMS, TREE, scale=1.0), detail, {"method": "dynaseg", "settings": {"detail": detail}}
    )


def photo(shape: tuple[int, int] = (40, 60)) -> np.ndarray:
    """A picture with an edge down its middle."""
    image = np.full((*shape, 3), 0.2, np.float32)
    image[:, shape[1] // 2 :] = 0.8
    return image


@pytest.fixture
def make_document(tmp_path) -> Callable[..., Document]:
    """Writes the files of a result, as the worker does, and opens them."""

    def make(result: Segmentation | None = None, image: np.ndarray | None = None, folder: Path = tmp_path) -> Document:
        result = with_levels() if result is None else result
        folder.mkdir(exist_ok=True)
        write(result, folder / RESULT, format="npz")
        store_picture(photo(result.shape) if image is None else image, folder)
        adopt(folder)
        return Document(folder)

    return make


@pytest.fixture
def document(make_document) -> Document:
    return make_document()


@pytest.fixture(scope="module")
def browser():
    with a_browser() as running:
        yield running


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with served(tmp_path_factory.mktemp("app")) as running:
        yield running


@pytest.fixture
def open_page(browser, server):
    """Opens a result on a page; at the end nothing may have gone wrong in the browser, nor come from elsewhere."""
    opened = []

    def begin(result=None, image=None, **options) -> Page:
        result = squares() if result is None else result
        session = server.session(result, halves(result.shape) if image is None else image)
        opened.append(Page(browser, server.address, session, **options))
        return opened[-1]

    yield begin
    for page in opened:
        page.close()
        assert page.wrong == []
        assert all(url.startswith((server.address, "about:", "blob:")) for url in page.asked)
