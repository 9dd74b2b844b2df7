"""Upgrades, which are not made: a request that asks for one is read as HTTP/1.1 on (RFC 9110, section 7.8)."""

from __future__ import annotations

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gateway.api.lazily import request_parser
from gateway.domain import Headers


def feed(protocol: HttpToolsProtocol, data: bytes) -> bool:
    """Have the protocol's parser read all of `data`; False where that is no HTTP.

    The parser stops behind a head that asks for an upgrade, and takes its request for complete. One that was told the
    same head without that goes on from there: it reads the body by its framing, and the requests after it.
    """
    rest = memoryview(data)
    try:
        while rest:
            rest = _read(protocol, rest)
    except httptools.HttpParserError:
        protocol.logger.warning("Invalid HTTP request received.")
        return False
    return True


def _read(protocol: HttpToolsProtocol, data: memoryview) -> memoryview:
    """Return what is left behind the first head that asks for an upgrade, which the parser is ready for then."""
    try:
        protocol.parser.feed_data(data)
    except httptools.HttpParserUpgrade as stopped:
        head = _without_upgrade(protocol.parser.get_http_version(), protocol.headers)
        protocol.parser = request_parser(protocol)
        protocol.parser.feed_data(head)
        return data[stopped.args[0] :]
    return data[:0]


def _without_upgrade(version: str, headers: Headers) -> bytes:
    """Return a head for a parser that shall read what follows as it would have behind these headers."""
    lines = [name + b": " + value for name, value in headers if name != b"upgrade"]
    return b"\r\n".join([b"POST / HTTP/" + version.encode(), *lines, b"", b""])
