"""An HTTP/1.1 answer as it is parsed. No I/O and no clock: bytes in, status, headers and body out.

Bounded: a head by the limits below, what is neither head nor body (trailers, chunk extensions, 1xx) likewise; the
body by whoever feeds, who looks at `buffered`.
"""

from __future__ import annotations

from contextlib import suppress
from functools import lru_cache

import httptools

from gateway.errors import EngineBroke, EngineDied
from gateway.whole_message import whole_message

MAX_HEAD_BYTES = 65_536
MAX_HEADERS = 100
_WITHOUT_BODY = (204, 304)


class HttpAnswer:
    """Feed it until `complete`. The `on_…` methods are the parser's."""

    __slots__ = (
        "_bare_bytes", "_chunks", "_head_bytes", "_made_parser", "_until_eof",
        "buffered", "complete", "headers", "keep_alive", "status",
    )  # fmt: skip

    def __init__(self) -> None:
        self.status = 0
        """0 until the head is here."""
        self.headers: dict[bytes, bytes] = {}
        self.buffered = 0
        """Bytes of body that `take` would return."""
        self.complete = False
        self.keep_alive = False
        self._bare_bytes = 0
        self._head_bytes = 0
        self._until_eof = False
        self._chunks: list[bytes] = []
        self._made_parser: httptools.HttpResponseParser | None = None

    def feed(self, data: bytes) -> None:
        """Take bytes from the engine. Raises EngineBroke; after `complete`, surplus only ends `keep_alive`."""
        begun = self.complete or self._made_parser is not None
        if begun or not self._take_whole(data):
            self.parse(data)

    def parse(self, data: bytes) -> None:
        """Take bytes likewise, by the parser whatever they are."""
        buffered = self.buffered
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as exc:
            if not self.complete:
                raise EngineBroke("The engine's answer is not valid HTTP.") from exc
            self.keep_alive = False
        if self.buffered > buffered:
            self._bare_bytes = 0
        else:
            self._count_bare(len(data))

    def _take_whole(self, data: bytes) -> bool:
        """Take an ordinary answer that has come all at once, with a head as one before it: what the parser would do."""
        message = whole_message(data)
        if message is None:
            return False
        before, behind, digits, body = message
        headers = _plain_headers(before, behind)
        if headers is None:
            return False
        self.headers = {**headers, b"content-length": digits}
        self.status = 200
        self.complete = self.keep_alive = True
        if body:
            self._chunks.append(body)
            self.buffered = len(body)
        return True

    def _count_bare(self, size: int) -> None:
        """Bound what the parser swallows without a callback, such as a single header without end."""
        self._bare_bytes += size
        if self._bare_bytes > 2 * MAX_HEAD_BYTES and not self.complete:
            raise EngineBroke("The engine's answer has too much that is not its body.")

    def end(self, cause: Exception | None) -> None:
        """Take the end of the connection, which is the end of an answer without a length.

        Raises EngineDied if not a byte came, EngineBroke if the answer is cut.
        """
        if self.complete:
            self.keep_alive = False
        elif self._until_eof and cause is None:
            self.complete = True
        elif not self.status and not self._bare_bytes:
            raise EngineDied("The engine closed the connection without an answer.") from cause
        else:
            raise EngineBroke("The engine's answer was cut off.") from cause

    def peek(self) -> bytes:
        """Return what `take` would."""
        chunks = self._chunks
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def take(self) -> bytes:
        """Return what has come of the body since the last call."""
        data = self.peek()
        self._chunks.clear()
        self.buffered = 0
        return data

    def release_parser(self) -> None:
        """Call when no more bytes will be fed: the parser holds our methods, a circle that only the collector ends."""
        self._made_parser = None

    @property
    def _parser(self) -> httptools.HttpResponseParser:
        if self._made_parser is None:
            self._made_parser = httptools.HttpResponseParser(self)
        return self._made_parser

    # An exception in these comes out of `feed_data` as a HttpParserError.

    def on_message_begin(self) -> None:
        """Stop at whatever follows the answer."""
        if self.complete:
            raise ValueError("bytes after the answer")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take one header, or a trailer, which is left out."""
        if self.status:
            return
        headers = self.headers
        self._head_bytes += len(name) + len(value) + 4
        if len(headers) >= MAX_HEADERS or self._head_bytes > MAX_HEAD_BYTES:
            raise ValueError("too large a head")
        name = name.lower()
        headers[name] = value if name not in headers else headers[name] + b", " + value

    def on_headers_complete(self) -> None:
        """Take the end of a head; one of 1xx is only an announcement."""
        status = self._parser.get_status_code()
        headers = self.headers
        if 100 <= status < 200 and status != 101:
            headers.clear()
            return
        if not 200 <= status <= 599 or headers.get(b"transfer-encoding", b"chunked").lower() != b"chunked":
            raise ValueError("a status or transfer coding that is not for us")
        framed = b"content-length" in headers or b"transfer-encoding" in headers
        self._until_eof = not framed and status not in _WITHOUT_BODY
        self.status = status

    def on_body(self, data: bytes) -> None:
        """Take bytes of the body."""
        self._chunks.append(data)
        self.buffered += len(data)

    def on_message_complete(self) -> None:
        """Take the end of the answer."""
        if self.status:
            self.complete = True
            self.keep_alive = self._parser.should_keep_alive()


@lru_cache(maxsize=64)
def _plain_headers(before: bytes, behind: bytes) -> dict[bytes, bytes] | None:
    """Return the headers of a 200 whose head is these parts and whose connection is kept; None for any other.

    An engine dates its answers, so that a head is of use for a second: as long as there are many in one.
    """
    answer = HttpAnswer()
    with suppress(EngineBroke):
        answer.parse(before + b"0" + behind)
    answer.release_parser()
    plain = answer.complete and answer.keep_alive and answer.status == 200
    return answer.headers if plain else None
