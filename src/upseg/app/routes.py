"""The HTTP API of images and their segments."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, BackgroundTasks, HTTPException, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse, StreamingResponse
from pydantic import BaseModel, Field

from upseg.app.changes import Change
from upseg.app.desk import SAMPLES, Desk, remove_export
from upseg.app.document import Document
from upseg.app.edits import cut, erase, fill_holes, join, name, paint, rub_out, set_detail
from upseg.app.jobs import Job, events
from upseg.app.pictures import TILE, label_tile, level_count, picture_tile
from upseg.app.sessions import Session
from upseg.app.tasks import CUTOUT, EVERYTHING
from upseg.errors import UpsegError
from upseg.formats import FORMATS, segment_colours

router = APIRouter(prefix="/api")
_RUNS = list[list[int]]
_STROKE = list[tuple[float, float]]
PALETTE = 35
"""Colours before they repeat."""
_DAY = "private, max-age=86400, immutable"
_LAYERS = {"picture", "depth", "features"}


def desk_of(request: Request) -> Desk:
    """What the server has at hand."""
    desk: Desk = request.app.state.desk
    return desk


def session_of(request: Request, session_id: str) -> Session:
    """A session by its id."""
    return desk_of(request).sessions.get(session_id)


class Edit(BaseModel):
    """One correction.

    What each kind takes: `detail` a value; `join`, `erase` and `fill` pieces; `name` groups of pieces, one for each
    segment, and a category or null; `cut` pieces and strokes; `paint` a stroke, a radius and the pieces of the segment
    that grows (none for a new segment); `rub` a stroke and a radius. Pieces are runs `[first, count]`, points are
    `[row, column]` in pixels.
    """

    kind: str
    detail: float = 0.5
    pieces: _RUNS = Field(default_factory=list)
    groups: list[_RUNS] = Field(default_factory=list)
    category: str | None = None
    strokes: list[_STROKE] = Field(default_factory=list)
    radius: float = 0.0


class Chosen(BaseModel):
    """What is to be taken away: a format, and the pieces that become the one segment."""

    format: str = CUTOUT
    pieces: _RUNS = Field(default_factory=list)


@router.get("/about")
def about(request: Request) -> dict[str, Any]:
    """Models, formats, sample photos, and the bounds of what is taken."""
    desk = desk_of(request)
    formats = [{"name": f.name, "suffix": f.suffix, "description": f.description} for f in FORMATS.values()]
    bounds = {"bytes": desk.settings.max_bytes, "pixels": desk.settings.max_pixels}
    return {
        "models": desk.models(),
        "formats": [*formats, {"name": EVERYTHING, "suffix": ".zip", "description": "the usual ones in a zip"}],
        "samples": list(SAMPLES),
        "palette": segment_colours(PALETTE).tolist(),
        "bounds": bounds,
        "photos": len(desk.settings.photos),
    }


@router.post("/sessions", status_code=201)
async def open_image(request: Request, file_name: Annotated[str, Query(alias="name", max_length=500)] = "image") -> Any:
    """Open an image: its bytes are the body."""
    return (await _received(request, file_name)).as_json()


@router.post("/segment")
async def segment_image(
    request: Request,
    background: BackgroundTasks,
    model: str | None = None,
    form: Annotated[str, Query(alias="format")] = "png",
    detail: float | None = None,
    file_name: Annotated[str, Query(alias="name", max_length=500)] = "image",
) -> FileResponse:
    """Segment one image, the body, and answer with the file of a format; nothing of it is kept."""
    desk = desk_of(request)
    chosen = await run_in_threadpool(desk.model, model)
    session = await _received(request, file_name)
    try:
        return await run_in_threadpool(_segmented_file, desk, session, chosen, form, detail, background)
    finally:
        await run_in_threadpool(desk.sessions.delete, session.id)


def _segmented_file(
    desk: Desk, session: Session, model: Any, form: str, detail: float | None, background: BackgroundTasks
) -> FileResponse:
    desk.segment_now(session, model, Job("segment"))
    if detail is not None:
        with session.lock:
            set_detail(session.document(), detail)
    return _download(desk.export(session, form), background)


async def _received(request: Request, file_name: str) -> Session:
    desk = desk_of(request)
    slots = request.app.state.uploads
    if slots.locked():
        raise HTTPException(503, "too many uploads at a time; try again in a moment", {"Retry-After": "2"})
    async with slots:
        session = await run_in_threadpool(desk.sessions.create, file_name)
        try:
            with (session.folder / "image").open("wb") as file:
                async for part in request.stream():
                    await run_in_threadpool(file.write, part)
        except BaseException:
            await run_in_threadpool(desk.sessions.delete, session.id)
            raise
    await run_in_threadpool(desk.look, session)
    return session


@router.post("/samples/{sample}", status_code=201)
def open_sample(request: Request, sample: str) -> dict[str, Any]:
    """Open one of the sample photos."""
    return desk_of(request).sample(sample).as_json()


@router.get("/sessions")
def list_sessions(request: Request) -> list[dict[str, Any]]:
    """Work of before, the last first."""
    return [session.as_json() for session in desk_of(request).sessions.all()[:200]]


@router.get("/sessions/{session_id}")
def show_session(request: Request, session_id: str) -> dict[str, Any]:
    """A session, and where it is segmented the state of its document."""
    session = session_of(request, session_id)
    size = session.facts.get("size", [0, 0])
    facts = {**session.as_json(), "tile": TILE, "levels": level_count((size[0], size[1]))}
    facts["layers"] = sorted(layer for layer in _LAYERS if (session.folder / f"{layer}-0.npy").is_file())
    if session.is_segmented:
        with session.lock:
            facts["document"] = session.document().state()
    return facts


@router.delete("/sessions/{session_id}", status_code=204)
def delete_session(request: Request, session_id: str) -> None:
    """Remove a session and all its files."""
    desk_of(request).sessions.delete(session_id)


@router.get("/sessions/{session_id}/thumbnail.jpg")
def thumbnail(request: Request, session_id: str) -> FileResponse:
    """The image, small."""
    return FileResponse(session_of(request, session_id).folder / "picture.jpg", headers={"Cache-Control": _DAY})


@router.get("/sessions/{session_id}/tiles/{layer}/{level}/{row}/{column}.jpg")
def image_tile(request: Request, session_id: str, layer: str, level: int, row: int, column: int) -> Response:
    """A tile of the image, of its depth or of its features."""
    if layer not in _LAYERS or min(level, row, column) < 0:
        raise HTTPException(404, "there is no such tile")
    tile = picture_tile(session_of(request, session_id).folder, level, row, column, layer)
    if tile is None:
        raise HTTPException(404, "there is no such tile")
    return Response(tile, media_type="image/jpeg", headers={"Cache-Control": _DAY})


@router.get("/sessions/{session_id}/pieces/{level}/{row}/{column}")
def pieces_tile(request: Request, session_id: str, level: int, row: int, column: int) -> Response:
    """A tile of the map of pieces: little-endian int32, row by row."""
    session = session_of(request, session_id)
    with session.lock:
        pieces = session.document().pieces
    if min(level, row, column) < 0 or level > level_count((pieces.shape[0], pieces.shape[1])):
        raise HTTPException(404, "there is no such tile")
    tile = label_tile(pieces, level, row, column)
    if tile is None:
        raise HTTPException(404, "there is no such tile")
    headers = {"Content-Encoding": "deflate", "Cache-Control": "no-store"}
    return Response(tile, media_type="application/octet-stream", headers=headers)


@router.get("/sessions/{session_id}/arrays/{array}")
def document_array(request: Request, session_id: str, array: str) -> Response:
    """`areas`, `boxes` (four each), `merges` (two each), `pairs` (two each) as int32, `heights` as float64."""
    session = session_of(request, session_id)
    with session.lock:
        document = session.document()
        tables: dict[str, Any] = {"areas": document.areas, "boxes": document.boxes, **document.arrays}
        if array not in tables:
            raise HTTPException(404, f"the arrays are {', '.join(tables)}")
        values = np.asarray(tables[array], "<f8" if array == "heights" else "<i4").tobytes()
    return Response(values, media_type="application/octet-stream", headers={"Cache-Control": "no-store"})


@router.post("/sessions/{session_id}/segment", status_code=202)
def segment_session(request: Request, session_id: str, model: str | None = None) -> dict[str, Any]:
    """Begin to segment an image; what was corrected before is replaced. The answer is a job."""
    desk = desk_of(request)
    chosen = desk.model(model)
    return desk.segment(desk.sessions.get(session_id), chosen).as_json()


@router.post("/sessions/{session_id}/edits")
def correct(request: Request, session_id: str, edit: Edit) -> dict[str, Any]:
    """Correct something; the answer is what changed."""
    session = session_of(request, session_id)
    with session.lock:
        document = session.document()
        before = len(document.done)
        _apply(document, edit)
        change = document.done[-1] if len(document.done) > before else None
        return told(session, document, change, forward=True)


def _apply(document: Document, edit: Edit) -> None:
    stroke = edit.strokes[0] if edit.strokes else []
    match edit.kind:
        case "detail":
            set_detail(document, edit.detail)
        case "join":
            join(document, edit.pieces)
        case "erase":
            erase(document, edit.pieces)
        case "name":
            name(document, edit.groups, edit.category)
        case "cut":
            cut(document, edit.pieces, edit.strokes)
        case "fill":
            fill_holes(document, edit.pieces)
        case "paint":
            paint(document, stroke, edit.radius, edit.pieces)
        case "rub":
            rub_out(document, stroke, edit.radius)
        case _:
            raise UpsegError(f"there is no correction {edit.kind!r:.40}")


@router.post("/sessions/{session_id}/undo")
def undo(request: Request, session_id: str) -> dict[str, Any]:
    """Take the last correction back."""
    session = session_of(request, session_id)
    with session.lock:
        document = session.document()
        return told(session, document, document.undo(), forward=False)


@router.post("/sessions/{session_id}/redo")
def redo(request: Request, session_id: str) -> dict[str, Any]:
    """Do again what was taken back."""
    session = session_of(request, session_id)
    with session.lock:
        document = session.document()
        return told(session, document, document.redo(), forward=True)


def told(session: Session, document: Document, change: Change | None, *, forward: bool) -> dict[str, Any]:
    """What the page has to know after a change: the new values of all that it touched."""
    if change is not None and change.kind != "detail" and session.facts.get("truth") != document.is_corrected:
        session.update(truth=document.is_corrected)
    facts: dict[str, Any] = {**document.position(), "pieces": len(document.areas) - 1, "truth": session.facts["truth"]}
    if change is None:
        return facts
    pieces = sorted({piece for piece, _ in change.areas} & set(range(len(document.areas))))
    columns = [[piece, document.areas[piece], *document.boxes[piece]] for piece in pieces]
    pins = change.pins if forward else change.pins_before
    return {**facts, "kind": change.kind, "pins": pins, "columns": columns, "box": change.box}


@router.put("/sessions/{session_id}/truth")
def count_as_truth(request: Request, session_id: str, truth: bool) -> dict[str, Any]:
    """Say whether an image is corrected, and so counts as ground truth for training."""
    session = session_of(request, session_id)
    session.update(truth=truth)
    return session.as_json()


@router.get("/sessions/{session_id}/export")
def export_session(
    request: Request, session_id: str, background: BackgroundTasks, form: Annotated[str, Query(alias="format")] = "png"
) -> FileResponse:
    """The segments as a file of any format; a zip where the format makes several files."""
    desk = desk_of(request)
    return _download(desk.export(desk.sessions.get(session_id), form), background)


@router.post("/sessions/{session_id}/export")
def export_chosen(request: Request, session_id: str, chosen: Chosen, background: BackgroundTasks) -> FileResponse:
    """Some pieces as one segment: cut out with a transparent background, or in any format."""
    desk = desk_of(request)
    return _download(desk.export(desk.sessions.get(session_id), chosen.format, chosen.pieces), background)


def _download(path: Path, background: BackgroundTasks) -> FileResponse:
    background.add_task(remove_export, path)
    return FileResponse(path, filename=path.name, headers={"Cache-Control": "no-store"}, background=background)


@router.get("/jobs")
def list_jobs(request: Request) -> list[dict[str, Any]]:
    """What is being done, and what was done last."""
    return [job.as_json() for job in desk_of(request).jobs.all()]


def job_of(request: Request, job_id: str) -> Job:
    """A job by its id."""
    job = desk_of(request).jobs.get(job_id)
    if job is None:
        raise HTTPException(404, "there is no such job")
    return job


@router.get("/jobs/{job_id}")
def show_job(request: Request, job_id: str) -> dict[str, Any]:
    """How a job stands."""
    return job_of(request, job_id).as_json()


@router.get("/jobs/{job_id}/events")
async def follow_job(request: Request, job_id: str) -> StreamingResponse:
    """How a job goes, as server-sent events until it is over."""
    found: AsyncIterator[bytes] = events(job_of(request, job_id))
    return StreamingResponse(found, media_type="text/event-stream", headers={"Cache-Control": "no-store"})


@router.delete("/jobs/{job_id}", status_code=202)
def cancel_job(request: Request, job_id: str) -> dict[str, Any]:
    """Stop a job."""
    job = job_of(request, job_id)
    job.cancelled.set()
    return job.as_json()
