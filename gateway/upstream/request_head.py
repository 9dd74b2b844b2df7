"""The head of a request to an engine, as bytes. Pure."""

from __future__ import annotations

from functools import lru_cache

from gateway.domain import EngineRequest, Replica, bracketed

_FRAMING = frozenset(("host", "content-length", "connection", "transfer-encoding"))


def request_head(replica: Replica, request: EngineRequest) -> bytes:
    """Return request line and headers, the empty line included.

    Raises ValueError where a value would change the request's framing, and for the methods whose answers cannot be
    framed without knowing them (HEAD, CONNECT): each would be a fault of ours, never a client's.
    """
    if not _FRAMING.isdisjoint(map(str.lower, dict(request.headers))):
        raise ValueError(f"the connection itself sets {', '.join(sorted(_FRAMING))}")
    lines = [*map(": ".join, request.headers)]
    _check("".join(lines))
    start = _start(request.method, request.path, replica.host, replica.port)
    return "\r\n".join((f"{start}content-length: {len(request.body)}", *lines, "", "")).encode("latin-1")


@lru_cache(maxsize=1024)
def _start(method: str, path: str, host: str, port: int) -> str:
    """Return what all requests for one thing to one engine begin with."""
    if method in ("HEAD", "CONNECT"):
        raise ValueError(f"{method} is not for engines")
    line, address = f"{method} {path} HTTP/1.1", f"host: {bracketed(host)}:{port}"
    _check(line + address)
    if line.count(" ") != 2:
        raise ValueError("the method or the path has a space")
    return f"{line}\r\n{address}\r\n"


def _check(text: str) -> None:
    if "\r" in text or "\n" in text or "\0" in text:
        raise ValueError("a header, the method or the path has a character that HTTP does not allow there")
