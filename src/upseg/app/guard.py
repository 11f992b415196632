"""What every request must pass: who it is for, where it comes from, the token, and how much it brings."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

COOKIE = "upseg-token"
UPLOAD_PATHS = ("/api/sessions", "/api/segment")
"""What takes whole images; all other requests are small."""
SMALL_BODY = 16 << 20
"""Bytes of any other request: a selection of a hundred thousand pieces is not larger."""
_POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
SECURITY_HEADERS = (
    (b"content-security-policy", _POLICY),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), microphone=(), geolocation=()"),
)


class Refused(Exception):  # noqa: N818 - a refusal is an answer, not a fault
    """A request that is not served: its status and why."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason


class Guard:
    """ASGI middleware around everything that is served.

    Args:
        app: What serves requests.
        hosts: What `Host` may say, `name:port`: any other name leads here by DNS rebinding.
        token: What must be shown; None for nothing.
        max_bytes: Of an upload.
        patience: Seconds from one piece of a body to the next.
    """

    def __init__(
        self, app: Any, *, hosts: Iterable[str], token: str | None, max_bytes: int, patience: float = 20.0
    ) -> None:
        self.app, self.hosts, self.token = app, frozenset(hosts), token
        self.max_bytes, self.patience = max_bytes, patience

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, or refuse it."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        shielded = _with_headers(send)
        headers = {key.decode("latin-1"): value.decode("latin-1") for key, value in scope["headers"]}
        try:
            self._check_origin(scope, headers)
            if self.token is not None and not self._shows_token(headers):
                if self._brings_token(scope):
                    await _answer(shielded, 303, b"", [(b"location", b"/"), self._cookie()])
                    return
                raise Refused(401, "open the address with ?token=..., or send the token as a bearer")
            await self.app(scope, self._bounded(scope, headers, receive), shielded)
        except Refused as refusal:
            text = b'{"detail":"%s"}' % refusal.reason.encode()
            await _answer(shielded, refusal.status, text, [(b"content-type", b"application/json")])

    def _check_origin(self, scope: Scope, headers: dict[str, str]) -> None:
        """Other names and other sites have no business here.

        Raises:
            Refused: If the request came by either.
        """
        host = headers.get("host", "").lower()
        if host not in self.hosts:
            raise Refused(403, "this is not the address that the page is served at")
        origin = headers.get("origin")
        if origin is not None and origin.lower() not in (f"http://{host}", f"https://{host}"):
            raise Refused(403, "requests of other sites are refused")
        is_visit = scope["method"] == "GET" and headers.get("sec-fetch-mode") == "navigate"
        if headers.get("sec-fetch-site") in ("cross-site", "same-site") and not (is_visit and scope["path"] == "/"):
            raise Refused(403, "requests of other sites are refused")

    def _shows_token(self, headers: dict[str, str]) -> bool:
        kind, _, shown = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer" and self._is_token(shown.strip()):
            return True
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            return False
        return cookie is not None and self._is_token(cookie.value)

    def _brings_token(self, scope: Scope) -> bool:
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])
        return scope["method"] == "GET" and scope["path"] == "/" and self._is_token(given[0])

    def _is_token(self, shown: str) -> bool:
        return hmac.compare_digest(shown.encode(), (self.token or "").encode())

    def _cookie(self) -> tuple[bytes, bytes]:
        return b"set-cookie", f"{COOKIE}={self.token}; HttpOnly; SameSite=Strict; Path=/".encode()

    def _bounded(self, scope: Scope, headers: dict[str, str], receive: Receive) -> Receive:
        """The same body, as long as it is not too large and does not stop coming.

        Raises:
            Refused: By its announcement, before anything is read.
        """
        most = self.max_bytes if scope["method"] == "POST" and scope["path"] in UPLOAD_PATHS else SMALL_BODY
        announced = headers.get("content-length", "0")
        if not announced.isdecimal() or int(announced) > most:
            raise Refused(413, f"the request may have {most:,} bytes at most")
        taken, whole = 0, False

        async def receive_bounded() -> Message:
            nonlocal taken, whole
            if whole:
                return await receive()  # waits for the client to go away
            try:
                message = await asyncio.wait_for(receive(), self.patience)
            except TimeoutError:
                raise Refused(408, "the upload stopped") from None
            taken += len(message.get("body", b""))
            whole = message["type"] == "http.request" and not message.get("more_body", False)
            if taken > most:
                raise Refused(413, f"the request may have {most:,} bytes at most")
            return message

        return receive_bounded


def _with_headers(send: Send) -> Send:
    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), *SECURITY_HEADERS]
        await send(message)

    return send_with_headers


async def _answer(send: Send, status: int, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": body})
