"""Read a request's body, with a cap on its size and on the time it may take."""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.api.watch import Client
from gateway.domain import HeaderMap
from gateway.errors import BodyTooLarge, InvalidRequest, RequestTimeout, UnsupportedMediaType

_JSON = b"application/json"
_IDENTITY = b"identity"
_WITHOUT_BODY = frozenset({"GET", "HEAD", "OPTIONS"})
_MAX_PUBLIC_BYTES = 16_384
"""Of a body that comes without a credential: a login code is the longest that there is."""


class ClientGone(Exception):
    """The client closed its connection; there is nobody left to answer."""


def body_at_hand(headers: HeaderMap, client: Client | None, limit_bytes: int) -> bytes | None:
    """Return the whole body where it has come with its head, as small ones do.

    Raises BodyTooLarge, and UnsupportedMediaType for one that is compressed.
    """
    _check_head(headers, limit_bytes)
    here = client.whole_body() if client else None
    if here is not None and len(here) > limit_bytes:
        raise _too_large(limit_bytes)
    return here


async def read_body(headers: HeaderMap, receive: Receive, limit_bytes: int, timeout_seconds: float) -> bytes:
    """Return the whole body.

    Raises BodyTooLarge (unread, where the length is given), UnsupportedMediaType for one that is compressed,
    RequestTimeout, ClientGone.
    """
    _check_head(headers, limit_bytes)
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(timeout_seconds):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientGone
                part = message.get("body", b"")
                size += len(part)
                if size > limit_bytes:
                    raise _too_large(limit_bytes)
                parts.append(part)
                if not message.get("more_body", False):
                    return parts[0] if len(parts) == 1 else b"".join(parts)
    except TimeoutError:
        raise RequestTimeout(f"The body took longer than {timeout_seconds:g} s.", retry_after_ms=1000) from None


def require_json(headers: HeaderMap) -> None:
    """Raise UnsupportedMediaType unless the body is said to be JSON; a missing Content-Type is forgiven."""
    kind = headers.get(b"content-type", _JSON)
    if kind == _JSON:
        return
    kind = kind.split(b";", 1)[0].strip().lower()
    if kind != _JSON and not kind.endswith(b"+json"):
        raise UnsupportedMediaType("The Content-Type must be application/json.")


def _check_head(headers: HeaderMap, limit_bytes: int) -> None:
    """Raise for a body that is not to be read. A compressed one could be of any size, whatever its length says."""
    coding = headers.get(b"content-encoding")
    if coding and coding.strip().lower() != _IDENTITY:
        refused = UnsupportedMediaType("The Content-Encoding must be identity: send the body as it is.")
        refused.headers = [(b"accept-encoding", _IDENTITY)]
        raise refused
    length = headers.get(b"content-length", b"0")
    if not length.isdigit():
        raise InvalidRequest("The Content-Length is not a number.")
    if int(length) > limit_bytes:
        raise _too_large(limit_bytes)


def _too_large(limit_bytes: int) -> BodyTooLarge:
    return BodyTooLarge(f"The body may have at most {limit_bytes} bytes.")


class BoundedBodyMiddleware:
    """Reads the body before the framework does, which would take any size and wait for ever."""

    def __init__(self, app: ASGIApp, limit_bytes: int, timeout_seconds: float) -> None:
        self._app = app
        self._limit_bytes = limit_bytes
        self._timeout_seconds = timeout_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in _WITHOUT_BODY:
            await self._app(scope, receive, send)
            return
        # Without a caller the path is a public one.
        limit_bytes = self._limit_bytes if "caller" in scope["state"] else min(_MAX_PUBLIC_BYTES, self._limit_bytes)
        try:
            body = await read_body(scope["state"]["headers"], receive, limit_bytes, self._timeout_seconds)
        except ClientGone:
            scope["state"]["settlement"].client_gone(0.0)
            return
        await self._app(scope, _replayed(body, receive), send)


def _replayed(body: bytes, receive: Receive) -> Receive:
    """Return a receive() that gives `body` first and then whatever the server says."""
    given = False

    async def receive_again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive_again
