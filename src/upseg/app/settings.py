"""What `upseg app` is told, and the bounds that hold for everything that comes in."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from upseg.batch.inputs import InputImage
from upseg.errors import UpsegError
from upseg.images.reading import DEFAULT_MAX_PIXELS

LEAST_TOKEN = 16
"""Characters that a token has at least: it is all that stands between a network and the page."""
_TOKEN = re.compile(rf"[A-Za-z0-9._~-]{{{LEAST_TOKEN},}}")
_LARGEST_PORT = 65535


@dataclass(frozen=True)
class AppSettings:
    """How the page is served.

    Attributes:
        folder: Where work is kept; made if need be.
        host: The address to listen on; one that other machines reach needs a token.
        port: The port; 0 for any that is free.
        token: What a browser or script must show; None on this machine alone.
        model: What images are segmented with unless the page says otherwise.
        device: As `upseg.load_model` takes it.
        photos: The images of a folder to go through; empty for none.
        max_bytes: The largest file that is taken.
        max_pixels: The largest image.
        max_stored: Bytes that all work may take; the oldest goes first.
        days: After how many days without use work is removed.
        patience: Seconds that a client may take from one piece of an upload to the next.
        uploads: How many uploads are taken at a time.

    Raises:
        UpsegError: If other machines could reach the page without a token, the token is too short, or a number is out
            of range.
    """

    folder: Path
    host: str = "127.0.0.1"
    port: int = 8765
    token: str | None = None
    model: str = "dynaseg"
    device: str = "auto"
    photos: tuple[InputImage, ...] = ()
    max_bytes: int = 1 << 29
    max_pixels: int = DEFAULT_MAX_PIXELS
    max_stored: int = 20 << 30
    days: float = 30.0
    patience: float = 20.0
    uploads: int = 8

    def __post_init__(self) -> None:
        if not 0 <= self.port <= _LARGEST_PORT:
            raise UpsegError(f"the port must be between 0 and {_LARGEST_PORT}, got {self.port}")
        if self.token is not None and not _TOKEN.fullmatch(self.token):
            raise UpsegError(
                f"the token must have at least {LEAST_TOKEN} characters, letters, digits and -._~ alone, so that it "
                "fits into an address and a cookie"
            )
        if not is_loopback(self.host) and self.token is None:
            raise UpsegError(
                f"on {self.host} other machines could open the page: give --token (at least {LEAST_TOKEN} characters; "
                "the environment's UPSEG_TOKEN hides it from the list of processes), or leave --host out"
            )


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address.

    Example:
        >>> is_loopback("127.0.0.1"), is_loopback("0.0.0.0")
        (True, False)
    """
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def default_folder() -> Path:
    """Where work is kept unless somebody says otherwise: below what the system calls state."""
    state = os.environ.get("XDG_STATE_HOME")
    return (Path(state) if state else Path.home() / ".local" / "state") / "upseg" / "app"
