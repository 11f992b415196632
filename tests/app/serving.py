"""A server for the tests: in a thread of this process, with sessions that need no model."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import uvicorn
from PIL import Image

from upseg.app.document import RESULT, adopt
from upseg.app.pictures import store_picture
from upseg.app.server import build, guarded, listen
from upseg.app.settings import AppSettings
from upseg.formats import write
from upseg.segmentation import Segmentation


class Served:
    """A server that is running: its address, and what it has at hand."""

    def __init__(self, app, address: str) -> None:
        self.desk, self.address = app.state.desk, address

    def session(self, result: Segmentation, image: np.ndarray, name: str = "photo.png", **facts) -> str:
        """Work that is there already, as the worker process would have written it."""
        session = self.desk.sessions.create(name, **facts)
        Image.fromarray(np.rint(image * 255).astype(np.uint8)).save(session.source, format="PNG")
        write(result, session.folder / RESULT, format="npz")
        store_picture(image, session.folder)
        adopt(session.folder)
        session.update(size=list(result.shape), segments=len(result), model="dynaseg")
        return session.id


@contextmanager
def served(folder: Path, **settings):
    """Serve on any free port until the block ends."""
    chosen = AppSettings(folder=folder, port=0, **settings)
    listener, port = listen(chosen)
    app = build(chosen)
    config = uvicorn.Config(guarded(app, chosen, port), log_level="error", access_log=False, lifespan="on")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    try:
        yield Served(app, f"http://127.0.0.1:{port}")
    finally:
        server.should_exit = True
        thread.join(20)
