"""An ordinary request, taken from its bytes without a parser: one with such a head has been parsed before.

An SDK sends a dozen or two headers with each request, and from one request to the next only the length differs.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote

import httptools

from gateway.domain import Headers
from gateway.whole_message import whole_message

_MAX_HEADERS = 200
_NOT_PLAIN = frozenset({b"transfer-encoding", b"expect", b"upgrade"})


class Target(NamedTuple):
    """What a request is for, as ASGI's scope has it."""

    path: str
    raw_path: bytes
    query_string: bytes


PlainRequest = tuple[Target, Headers, bytes]
"""A whole `POST` whose connection is kept: what it is for, its headers with names in lower case, its body."""


def plain_request(data: bytes) -> PlainRequest | None:
    """Return the request that `data` is; None where it is not one whole request, or is for the parser to look at.

    What is returned is what the parser would have made of it.
    """
    message = whole_message(data)
    if message is None:
        return None
    before, behind, digits, body = message
    head = _parsed(before, behind)
    if head is None:
        return None
    target, headers, length_at = head
    headers = headers.copy()
    headers[length_at] = (b"content-length", digits)
    return target, headers, body


def target_of(url: bytes) -> Target:
    """Return what a request line names. Raises httptools.HttpParserInvalidURLError, ValueError."""
    parsed = httptools.parse_url(url)
    path = parsed.path.decode("ascii")
    return Target(unquote(path) if "%" in path else path, parsed.path, parsed.query or b"")


@lru_cache(maxsize=1024)
def _parsed(before: bytes, behind: bytes) -> tuple[Target, Headers, int] | None:
    """Return the head of these parts, and which header is its length; None where it is not plain."""
    found = _Found()
    try:
        found.parse(before + b"0" + behind)
        target = target_of(found.url)
    except (httptools.HttpParserError, httptools.HttpParserUpgrade, ValueError, AttributeError):
        return None
    names = [name for name, _ in found.headers]
    # Two lengths the parser refuses; who reads this need not believe it.
    if len(names) > _MAX_HEADERS or names.count(b"content-length") != 1:
        return None
    length_at = names.index(b"content-length")
    plain = _NOT_PLAIN.isdisjoint(names) and found.start == (b"POST", "1.1") and found.keep_alive
    return (target, found.headers, length_at) if plain else None


class _Found:
    """What the parser tells."""

    def __init__(self) -> None:
        self.url = b""
        self.headers: Headers = []
        self.start = (b"", "")
        self.keep_alive = False
        self._parser: httptools.HttpRequestParser | None = None

    def parse(self, data: bytes) -> None:
        self._parser = httptools.HttpRequestParser(self)
        try:
            self._parser.feed_data(data)
        finally:
            # It holds our methods: a circle that only the collector would end.
            self._parser = None

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        # Now: with the message's end the parser forgets it.
        parser = self._parser
        if parser is not None:
            self.start = (parser.get_method(), parser.get_http_version())
            self.keep_alive = parser.should_keep_alive()
