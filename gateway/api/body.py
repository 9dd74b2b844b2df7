"""Read a request's body, with a cap on its size and on the time it may take."""

from __future__ import annotations

import asyncio

from starlette.types import Receive

from gateway.domain import HeaderMap
from gateway.errors import BodyTooLarge, InvalidRequest, RequestTimeout, UnsupportedMediaType

_JSON = b"application/json"


class ClientGone(Exception):
    """The client closed its connection; there is nobody left to answer."""


async def read_body(headers: HeaderMap, receive: Receive, limit_bytes: int, timeout_seconds: float) -> bytes:
    """Return the whole body. Raises BodyTooLarge (unread, where the length is given), RequestTimeout, ClientGone."""
    _check_length(headers, limit_bytes)
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


def _check_length(headers: HeaderMap, limit_bytes: int) -> None:
    length = headers.get(b"content-length", b"0")
    if not length.isdigit():
        raise InvalidRequest("The Content-Length is not a number.")
    if int(length) > limit_bytes:
        raise _too_large(limit_bytes)


def _too_large(limit_bytes: int) -> BodyTooLarge:
    return BodyTooLarge(f"The body may have at most {limit_bytes} bytes.")
