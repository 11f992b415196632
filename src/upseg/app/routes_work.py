"""The HTTP API of a folder of images, and of training on what was corrected."""

from __future__ import annotations

from typing import Any

import numpy as np
from fastapi import APIRouter, Request, Response

from upseg.app.edits import grow
from upseg.app.photos import list_photos, open_photo, segment_photos
from upseg.app.routes import desk_of, told
from upseg.app.training import LEAST_IMAGES, corrected, start_training, trainable

router = APIRouter(prefix="/api")


@router.get("/photos")
def photos(request: Request) -> list[dict[str, Any]]:
    """The images of the folder that `upseg app` was started with."""
    return list_photos(desk_of(request))


@router.post("/photos/{number}", status_code=201)
def open_one(request: Request, number: int) -> dict[str, Any]:
    """Open one of them, by its number from 0."""
    return open_photo(desk_of(request), number).as_json()


@router.post("/photos/all/segment", status_code=202)
def segment_all(request: Request, model: str | None = None) -> dict[str, Any]:
    """Begin to segment all that were not corrected. The answer is a job."""
    desk = desk_of(request)
    return segment_photos(desk, desk.model(model)).as_json()


@router.post("/sessions/{session_id}/regroup", status_code=202)
def regroup(request: Request, session_id: str, bandwidth: float, model: str | None = None) -> dict[str, Any]:
    """Begin to group an image's features again, with another bandwidth in degrees. The answer is a job."""
    desk = desk_of(request)
    return desk.regroup(desk.sessions.get(session_id), desk.model(model), bandwidth).as_json()


@router.post("/sessions/{session_id}/features", status_code=202)
def features(request: Request, session_id: str, model: str | None = None) -> dict[str, Any]:
    """Begin to draw an image's features; they are a layer of its tiles then. The answer is a job."""
    desk = desk_of(request)
    return desk.draw_features(desk.sessions.get(session_id), desk.model(model)).as_json()


@router.get("/sessions/{session_id}/likeness")
def likeness(request: Request, session_id: str, row: int, column: int, model: str | None = None) -> Response:
    """How like one pixel all others are: two little-endian int32, height and width, then a byte for each pixel."""
    desk = desk_of(request)
    found = desk.likeness(desk.sessions.get(session_id), desk.model(model), row, column)
    size = np.array(found.shape, "<i4").tobytes()
    return Response(
        size + found.tobytes(), media_type="application/octet-stream", headers={"Cache-Control": "no-store"}
    )


@router.post("/sessions/{session_id}/grow")
def grow_region(
    request: Request, session_id: str, row: int, column: int, least: float, model: str | None = None
) -> dict[str, Any]:
    """Make a segment of the pixels around one that are like it; `least` is how like, in [0, 1]."""
    desk = desk_of(request)
    session = desk.sessions.get(session_id)
    found = desk.likeness(session, desk.model(model), row, column)
    with session.lock:
        document = session.document()
        grow(document, found, (row, column), least)
        return told(session, document, document.done[-1], forward=True)


@router.get("/training")
def training(request: Request) -> dict[str, Any]:
    """What a training could start from, how much there is to learn from, and that which is running."""
    desk = desk_of(request)
    running = desk.jobs.running("train")
    facts = {"models": trainable(desk), "images": len(corrected(desk)), "least": LEAST_IMAGES}
    return {**facts, "job": running and running.as_json()}


@router.post("/training", status_code=202)
def train(request: Request, base: str, epochs: int = 5) -> dict[str, Any]:
    """Begin to train on what was corrected. The answer is a job; its result has the curve, and the model's name."""
    return start_training(desk_of(request), base, epochs).as_json()
