"""A folder of images to go through: which there are, opening one, segmenting all of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from upseg.app.desk import Desk
from upseg.app.jobs import Job
from upseg.app.sessions import Session
from upseg.batch.inputs import InputImage
from upseg.errors import UpsegError


def list_photos(desk: Desk) -> list[dict[str, Any]]:
    """The images by their numbers, from 0, with their sessions where they have been opened."""
    known = _sessions(desk)
    found = []
    for number, photo in enumerate(desk.settings.photos):
        session = known.get(_key(photo))
        facts = None if session is None else session.as_json()
        found.append({"number": number, "name": str(photo.name), "problem": photo.problem, "session": facts})
    return found


def open_photo(desk: Desk, number: int) -> Session:
    """The session of an image, a new one where there is none.

    Raises:
        UpsegError: If there is no such image, or it cannot be read.
    """
    photos = desk.settings.photos
    if not 0 <= number < len(photos):
        raise UpsegError(f"the folder has {len(photos)} images, counted from 0, but number {number} was asked for")
    photo = photos[number]
    if photo.problem is not None:
        raise UpsegError(f"{photo.name}: {photo.problem}")
    session = _sessions(desk).get(_key(photo))
    if session is None:
        session = desk.sessions.create(str(photo.name), photo.path.absolute(), photo=number)
        desk.look(session)
    return session


def segment_photos(desk: Desk, model: str | Path) -> Job:
    """Begin to segment all images that have not been corrected, and not been segmented with this model."""
    if not desk.settings.photos:
        raise UpsegError("upseg app was started without a folder: upseg app FOLDER")
    if desk.jobs.running("folder") is not None:
        raise UpsegError("the folder is being segmented already")
    return desk.jobs.start("folder", lambda job: _segment_all(desk, model, job))


def _segment_all(desk: Desk, model: str | Path, job: Job) -> dict[str, Any]:
    photos, done, failed = desk.settings.photos, 0, []
    wanted = model.name if isinstance(model, Path) else model
    for number, photo in enumerate(photos):
        job.tell(done=number, total=len(photos), note=f"{photo.name} ({number + 1} of {len(photos)})")
        try:
            session = open_photo(desk, number)
            is_done = session.is_segmented and (session.facts.get("truth") or session.facts.get("model") == wanted)
            if not is_done:
                # its own steps are not those of the folder
                inner = Job("segment", cancelled=job.cancelled)
                desk.segment_now(session, model, inner)
                done += 1
        except UpsegError as error:
            failed.append({"name": str(photo.name), "error": str(error)})
    return {"segmented": done, "failed": failed}


def _sessions(desk: Desk) -> dict[str, Session]:
    return {str(session.facts["source"]): session for session in desk.sessions.all() if session.facts.get("source")}


def _key(photo: InputImage) -> str:
    return str(photo.path.absolute())
