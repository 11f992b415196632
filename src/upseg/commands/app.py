"""`upseg app`: the page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from upseg.commands.options import Device, MaxPixels, Verbose, check_installed, start_logging


def app(
    photos: Annotated[
        list[str] | None, typer.Argument(help="Images, folders (searched throughout) and globs to go through.")
    ] = None,
    model: Annotated[
        str,
        typer.Option("--model", "-m", help="A name from `upseg models`, a model folder, or owner/name of a hub model."),
    ] = "dynaseg",
    host: Annotated[
        str, typer.Option(help="The address to listen on; one that others reach needs --token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port; 0 for any that is free.")] = 8765,
    token: Annotated[
        str | None,
        typer.Option(envvar="UPSEG_TOKEN", help="What a browser or script must show, 16 characters at least."),
    ] = None,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    sessions: Annotated[
        Path | None, typer.Option("--sessions", help="Where work is kept; without it ~/.local/state/upseg/app.")
    ] = None,
    device: Device = "auto",
    max_pixels: MaxPixels = None,
    max_upload: Annotated[
        int, typer.Option("--max-upload", min=1, help="The largest file that is taken, in megabytes.")
    ] = 512,
    max_stored: Annotated[int, typer.Option("--max-stored", min=1, help="What all work may take, in gigabytes.")] = 20,
    days: Annotated[float, typer.Option(min=0.01, help="After how many days without use work is removed.")] = 30.0,
    verbose: Verbose = False,
) -> None:
    """Open the page: segment a photo, point at what is wanted, correct it, take it away.

    The page is served on this machine alone, loads nothing from elsewhere, and keeps work as one goes.
    """
    check_installed("the page", "app", "fastapi", "uvicorn")
    from upseg.app.server import serve
    from upseg.app.settings import AppSettings, default_folder
    from upseg.batch.inputs import find_images
    from upseg.images.reading import DEFAULT_MAX_PIXELS

    start_logging(verbose=verbose)
    folder = (sessions or default_folder()).expanduser().absolute()
    found = find_images(photos, folder, lambda _: False) if photos else []
    settings = AppSettings(
        folder=folder,
        host=host,
        port=port,
        token=token,
        model=model,
        device=device,
        photos=tuple(found),
        max_pixels=max_pixels or DEFAULT_MAX_PIXELS,
        max_bytes=max_upload * 1_000_000,
        max_stored=max_stored * 1_000_000_000,
        days=days,
    )
    serve(settings, typer.echo, open_browser=open_page)
