"""The HTTP API of a folder of images, and of training on what was corrected."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from upseg.app.photos import list_photos, open_photo, segment_photos
from upseg.app.routes import desk_of
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
