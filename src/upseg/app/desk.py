"""What the server has at hand, and what it does with it: images become sessions, sessions become segments."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
from jaxtyping import UInt8

from upseg.app.changes import Runs
from upseg.app.features import draw_features, likeness, regroup
from upseg.app.jobs import Job, Jobs
from upseg.app.sessions import Session, Sessions
from upseg.app.settings import AppSettings
from upseg.app.tasks import Opened, export, look_at, segment
from upseg.app.workers import Task, Workers
from upseg.errors import UpsegError
from upseg.images.options import ReadingOptions
from upseg.models.folders import packaged_models, read_config
from upseg.models.registry import METHODS, Method, find_model

SAMPLES = ("coffee", "chelsea", "astronaut", "rocket", "coins", "immunohistochemistry")
"""Photos that come with scikit-image."""


class Desk:
    """All that requests share."""

    def __init__(self, settings: AppSettings) -> None:
        self.settings = settings
        folder = settings.folder
        self.sessions = Sessions(folder / "sessions", max_stored=settings.max_stored, days=settings.days)
        self.jobs, self.workers = Jobs(), Workers(settings.device)
        self.exports = folder / "exports"
        shutil.rmtree(self.exports, ignore_errors=True)  # what a killed server left
        self.exports.mkdir(parents=True)
        self.sessions.tidy()

    def close(self) -> None:
        """Stop everything."""
        self.jobs.stop()
        self.workers.stop()

    def models(self) -> list[dict[str, Any]]:
        """What images can be segmented with, the server's own first."""
        return [
            {"name": name, "description": about, "levels": method.has_hierarchy, "features": method.embeds}
            for name, (method, about) in self._known().items()
        ]

    def _known(self) -> dict[str, tuple[Method, str]]:
        """Models by name, without importing their methods: how each is made, and one line about it."""
        found = {name: (method, method.description) for name, method in METHODS.items() if not method.learned}
        for name, folder in {**packaged_models(), **self.trained()}.items():
            config = read_config(folder)
            if config.only_splits:
                continue  # the page has no class masks to give
            found[name] = METHODS[config.method], config.description or METHODS[config.method].description
        own = self.settings.model
        if own not in found:
            folder = Path(own)
            told = read_config(folder) if folder.is_dir() else None
            method = METHODS[told.method] if told else find_model(own).implementation
            found[own] = method, (told.description if told else "") or method.description
        return {own: found.pop(own), **found}

    def trained(self) -> dict[str, Path]:
        """The models that were trained on this page, by name."""
        found = sorted((self.settings.folder / "models").glob("*/config.json"))
        return {path.parent.name: path.parent for path in found}

    def model(self, name: str | None) -> str | Path:
        """One of `models` as `upseg.load_model` takes it, or the server's own; no other: a name could be a path.

        Raises:
            UpsegError: If it is none of them.
        """
        name = self.settings.model if name is None else name
        if name not in (known := self._known()):
            raise UpsegError(f"there is no model {name!r:.80} here; there are {', '.join(known)}")
        return self.trained().get(name, name)

    def look(self, session: Session) -> None:
        """Read a session's image, so that it can be shown; the session goes if it cannot be read.

        Raises:
            UpsegError: If it cannot be read.
        """
        try:
            size = self.workers.images.run(look_at, self._opened(session))
        except UpsegError as error:
            reason = str(error).replace(str(session.source), session.name)
            self.sessions.delete(session.id)
            raise UpsegError(reason) from None
        session.update(size=size)
        self.sessions.tidy()

    def sample(self, name: str) -> Session:
        """A session of one of the photos that come with scikit-image.

        Raises:
            UpsegError: If there is no such photo.
        """
        if name not in SAMPLES:
            raise UpsegError(f"there is no sample {name!r:.80}; there are {', '.join(SAMPLES)}")
        from PIL import Image
        from skimage import data

        session = self.sessions.create(f"{name}.png")
        Image.fromarray(getattr(data, name)()).save(session.folder / "image", format="PNG")
        self.look(session)
        return session

    def segment(self, session: Session, model: str | Path) -> Job:
        """Begin to segment a session's image."""
        return self.jobs.start(
            "segment", lambda job: self.segment_now(session, model, job), session=session.id, name=session.name
        )

    def segment_now(self, session: Session, model: str | Path, job: Job) -> dict[str, Any]:
        """Segment a session's image in the process of a model, and wait for it.

        Raises:
            UpsegError: If it cannot be segmented.
            Cancelled: If the job is.
        """
        return self._document_anew(session, model, job, segment)

    def regroup(self, session: Session, model: str | Path, bandwidth: float) -> Job:
        """Begin to group the features of a session's image again, with another bandwidth in degrees."""
        return self.jobs.start(
            "regroup", lambda job: self._document_anew(session, model, job, regroup, bandwidth), session=session.id
        )

    def draw_features(self, session: Session, model: str | Path) -> Job:
        """Begin to draw the features of a session's image."""
        worker, image = self.workers.of_model(model), self._opened(session)
        return self.jobs.start(
            "features",
            lambda job: worker.run(draw_features, image, on_step=job.step, cancelled=job.cancelled),
            session=session.id,
        )

    def likeness(self, session: Session, model: str | Path, row: int, column: int) -> UInt8[np.ndarray, "h w"]:
        """How like a pixel of a session's image all others are, 0 to 255, at the size of the features."""
        worker = self.workers.of_model(model)
        found: UInt8[np.ndarray, "h w"] = worker.run(likeness, self._opened(session), row, column)
        return found

    def _opened(self, session: Session) -> Opened:
        reading = ReadingOptions(max_pixels=self.settings.max_pixels)
        return Opened(session.folder, session.source, session.name, reading)

    def _document_anew(self, session: Session, model: str | Path, job: Job, task: Task, *more: Any) -> dict[str, Any]:
        """Let a process of a model make a session's document anew."""
        worker = self.workers.of_model(model)
        count = worker.run(task, self._opened(session), *more, on_step=job.step, cancelled=job.cancelled)
        with session.lock:
            session.forget_document()
            session.update(model=model.name if isinstance(model, Path) else model, segments=count, truth=False)
        return {"session": session.id, "segments": count}

    def export(self, session: Session, form: str, runs: Runs | None = None) -> Path:
        """Write a session's segments in a format; the file is the caller's to remove, with its folder.

        Raises:
            UpsegError: If it cannot be written.
        """
        output = Path(mkdtemp(dir=self.exports))
        try:
            with session.lock:
                session.document()
            name: str = self.workers.images.run(export, session.folder, output, session.stem, form, runs)
        except BaseException:
            shutil.rmtree(output, ignore_errors=True)
            raise
        return output / name


def remove_export(path: Path) -> None:
    """Remove what `Desk.export` wrote."""
    with suppress(OSError):
        shutil.rmtree(path.parent)
