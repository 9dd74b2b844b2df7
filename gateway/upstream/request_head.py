"""The head of a request to an engine, as bytes. Pure."""

from __future__ import annotations

from gateway.domain import EngineRequest, Replica, bracketed

_FRAMING = frozenset(("host", "content-length", "connection", "transfer-encoding"))


def request_head(replica: Replica, request: EngineRequest) -> bytes:
    """Return request line and headers, the empty line included.

    Raises ValueError where a value would change the request's framing, and for the methods whose answers cannot be
    framed without knowing them (HEAD, CONNECT): each would be a fault of ours, never a client's.
    """
    if request.method in ("HEAD", "CONNECT"):
        raise ValueError(f"{request.method} is not for engines")
    lines = [
        f"{request.method} {request.path} HTTP/1.1",
        f"host: {bracketed(replica.host)}:{replica.port}",
        f"content-length: {len(request.body)}",
    ]
    for name, value in request.headers:
        if name.lower() in _FRAMING:
            raise ValueError(f"the connection itself sets {name!r}")
        lines.append(f"{name}: {value}")
    head = "\r\n".join(lines)
    # One count over the whole finds a line break smuggled into any part of it.
    breaks = len(lines) - 1
    if head.count("\r") != breaks or head.count("\n") != breaks or "\0" in head or lines[0].count(" ") != 2:
        raise ValueError("a header, the method or the path has a character that HTTP does not allow there")
    return f"{head}\r\n\r\n".encode("latin-1")
