"""The server: the API, the page's files, and what every request must pass."""

from __future__ import annotations

import asyncio
import logging
import socket
import webbrowser
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import FileResponse, JSONResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.requests import ClientDisconnect

from upseg import __version__
from upseg.app.desk import Desk
from upseg.app.guard import Guard, Refused
from upseg.app.routes import router
from upseg.app.routes_work import router as work_router
from upseg.app.sessions import NoSession
from upseg.app.settings import AppSettings
from upseg.errors import UpsegError
from upseg.files import printable

_LOGGER = logging.getLogger(__name__)
STATIC = Path(__file__).parent / "static"
_NO_CACHE = {"Cache-Control": "no-cache"}


class Files(StaticFiles):
    """The page's files; the browser asks each time whether one is new."""

    def file_response(self, *arguments: Any, **keywords: Any) -> Any:
        """A file, to be kept as long as it is the same."""
        response = super().file_response(*arguments, **keywords)
        response.headers.update(_NO_CACHE)
        return response


def build(settings: AppSettings) -> FastAPI:
    """The application, without the guard that `serve` puts around it."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.uploads = asyncio.Semaphore(settings.uploads)
        yield
        app.state.desk.close()

    app = FastAPI(
        title="upseg",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json",
        lifespan=lifespan,
    )
    app.state.desk = Desk(settings)
    app.include_router(router)
    app.include_router(work_router)

    @app.exception_handler(UpsegError)
    async def refuse(request: Request, error: UpsegError) -> JSONResponse:  # noqa: ARG001
        return JSONResponse({"detail": str(error)}, 404 if isinstance(error, NoSession) else 422)

    @app.exception_handler(Refused)
    async def refuse_body(request: Request, refusal: Refused) -> JSONResponse:  # noqa: ARG001
        # the guard raises it while a body is read
        return JSONResponse({"detail": refusal.reason}, refusal.status, {"Connection": "close"})

    @app.exception_handler(ClientDisconnect)
    async def let_go(request: Request, gone: ClientDisconnect) -> Response:  # noqa: ARG001
        return Response(status_code=400)  # nobody is there to read it

    @app.exception_handler(ValueError)
    async def refuse_value(request: Request, error: ValueError) -> JSONResponse:  # noqa: ARG001
        return JSONResponse({"detail": str(error)}, 422)

    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(STATIC / "index.html", headers=_NO_CACHE)

    @app.get("/docs", include_in_schema=False)
    async def docs() -> FileResponse:
        return FileResponse(STATIC / "docs.html", headers=_NO_CACHE)

    app.mount("/static", Files(directory=STATIC), name="static")
    return app


def guarded(app: FastAPI, settings: AppSettings, port: int) -> Guard:
    """The application behind its guard."""
    names = {"127.0.0.1", "localhost", "[::1]"} | {f"[{settings.host}]" if ":" in settings.host else settings.host}
    if settings.host in ("0.0.0.0", "::"):  # noqa: S104 - asked for, and with a token
        names |= {name for name in (socket.gethostname().lower(), *_own_addresses()) if name}
    hosts = {f"{name.lower()}:{port}" for name in names}
    return Guard(app, hosts=hosts, token=settings.token, max_bytes=settings.max_bytes, patience=settings.patience)


def _own_addresses() -> list[str]:
    try:
        found = socket.getaddrinfo(socket.gethostname(), None)
    except OSError:
        return []
    return sorted({str(entry[4][0]) for entry in found})


def listen(settings: AppSettings) -> tuple[socket.socket, int]:
    """A socket that listens where the settings say, and its port.

    Raises:
        UpsegError: If the address cannot be listened on.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
        listener.listen(socket.SOMAXCONN)  # who opens the page at once waits until it is served
    except OSError as error:
        listener.close()
        raise UpsegError(
            f"{settings.host}:{settings.port} cannot be listened on ({error.strerror or error}); "
            "choose another with --port, or --port 0 for any"
        ) from error
    return listener, int(listener.getsockname()[1])


def serve(settings: AppSettings, told: Callable[[str], None], *, open_browser: bool = False) -> None:
    """Serve the page until Ctrl-C.

    Args:
        settings: How.
        told: Told the address and where work is kept, in lines for people.
        open_browser: Whether to open the address.

    Raises:
        UpsegError: If the address cannot be listened on.
    """
    listener, port = listen(settings)
    shown = f"[{settings.host}]" if ":" in settings.host else settings.host
    address = f"http://{shown}:{port}/"
    app = guarded(build(settings), settings, port)
    # no log of requests: an address may hold the token
    config = uvicorn.Config(app, log_level="warning", access_log=False, server_header=False)
    told(f"upseg app: {address}{'?token=...' if settings.token else ''}")
    told(f"work is kept in {printable(settings.folder)}; Ctrl-C stops")
    if open_browser:
        webbrowser.open(address + (f"?token={settings.token}" if settings.token else ""))
    uvicorn.Server(config).run(sockets=[listener])
