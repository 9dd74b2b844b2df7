"""One request and its response on a client's connection: uvicorn's, with a cheaper way out and a word at a loss."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

_WITHOUT_BODY = (204, 304)


class GatewayCycle(RequestResponseCycle):
    """Writes a head together with the first part of its body, which ASGI allows, and calls back when the client goes.

    https://asgi.readthedocs.io/en/latest/specs/www.html#response-start-send-event
    """

    # Not in the instance's dictionary, which would have to grow for each request.
    __slots__ = ("_head", "_received", "_when_gone", "loop")
    _until_close = False
    """Whether the body ends with the connection, as for HTTP/1.0, which knows no chunks (RFC 9112, section 6.3)."""
    lingers = False
    """Whether the client still sends: closed at once, the connection would be reset, and the answer lost on its way."""

    def __init__(self, loop: asyncio.AbstractEventLoop, *of_uvicorn: Any) -> None:
        super().__init__(*of_uvicorn)
        self.loop = loop
        self._head = b""
        self._received = False
        self._when_gone: Callable[[], None] | None = None

    def when_gone(self, callback: Callable[[], None] | None) -> None:
        """Have `callback` called, at most once, if the client leaves before the response is complete.

        It is called at once where the client has left already. None: it is not wanted any more.
        """
        self._when_gone = callback
        if callback is not None:
            # Reading stops at a large body or a second request, and who does not read does not hear of an end.
            self.flow.resume_reading()
        if self.disconnected:
            self._tell()

    def whole_body(self) -> bytes | None:
        """Return the request's body if all of it is here and nobody has received of it; it is gone from here then."""
        if self.more_body or self._received:
            return None
        self._received = True
        body, self.body = bytes(self.body), bytearray()
        return body

    async def receive(self) -> Any:
        """Return the next part of the body, or the end of the connection or of the response."""
        self._received = True
        return await super().receive()

    def lost(self) -> None:
        """Take the end of the connection."""
        if not self.response_complete:
            self.disconnected = True
            self.message_event.set()
            self._tell()

    def _tell(self) -> None:
        callback, self._when_gone = self._when_gone, None
        if callback is not None:
            callback()

    async def send(self, message: Any) -> None:
        """Send a part of the response. A client that has gone takes nothing, without a word."""
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return
        if not self.response_started:
            self._start(message)
        elif message["type"] != "http.response.body" or self.response_complete:
            raise RuntimeError(f"unexpected ASGI message '{message['type']}'")
        else:
            self._send_body(message.get("body", b""), message.get("more_body", False))

    @property
    def blocked(self) -> bool:
        """Whether a send would have to wait until the client takes what was sent before."""
        return self.flow.write_paused

    def push(self, part: bytes) -> bool:
        """Send a further part of a response that has begun; False where that would have to wait, or cannot be."""
        framed = self.chunked_encoding or self._until_close
        if self.flow.write_paused or self.disconnected or self._head or not framed:
            return False
        self.transport.write(_chunk(part, more_body=True) if self.chunked_encoding else part)
        return True

    def _start(self, message: Any) -> None:
        if message["type"] != "http.response.start":
            raise RuntimeError(f"unexpected ASGI message '{message['type']}'")
        self.response_started = True
        if self.waiting_for_100_continue and self.more_body:
            # The client may send the body or not, so what follows could be taken for either (RFC 9110, section 10.1.1).
            self.keep_alive = False
        self.waiting_for_100_continue = False
        self._head = self._head_of(message["status"], message.get("headers", ()))

    def _head_of(self, status: int, headers: Any) -> bytes:
        headers = [*headers]
        named = dict(headers)
        length = named.get(b"content-length")
        connection = named.get(b"connection")
        if length is not None:
            self.expected_content_length = int(length)
            self.chunked_encoding = False
        if self.chunked_encoding is None and self.scope["method"] != "HEAD" and status not in _WITHOUT_BODY:
            self.chunked_encoding = self.scope["http_version"] == "1.1"
            self._until_close = not self.chunked_encoding
        lines = [*map(b": ".join, headers)]
        if connection is not None and b"close" in connection.lower():
            self.keep_alive = False
        elif not self.keep_alive:
            lines.append(b"connection: close")
        if self.chunked_encoding:
            lines.append(b"transfer-encoding: chunked")
        # All at once, which finds a line break smuggled into any header.
        if _is_broken(b"".join(lines)):
            raise RuntimeError("a header has a character that HTTP does not allow there")
        return STATUS_LINE[status] + b"\r\n".join((*lines, b"", b""))

    def _send_body(self, body: bytes, more_body: bool) -> None:
        head, self._head = self._head, b""
        if self.scope["method"] == "HEAD":
            self.expected_content_length = 0
            body = b""
        elif self.chunked_encoding:
            body = _chunk(body, more_body)
        elif not self._until_close:
            self.expected_content_length -= len(body)
            if self.expected_content_length < 0:
                raise RuntimeError("the body is longer than its Content-Length")
        if head or body:
            self.transport.write(head + body)
        if not more_body:
            self._complete()

    def _complete(self) -> None:
        if self.expected_content_length:
            raise RuntimeError("the body is shorter than its Content-Length")
        self.response_complete = True
        self._when_gone = None
        self.message_event.set()
        if self.lingers and self.transport.can_write_eof():
            self.transport.write_eof()
        elif not self.keep_alive:
            self.transport.close()
        self.on_response()


def _is_broken(text: bytes) -> bool:
    return b"\n" in text or b"\r" in text or b"\0" in text


def _chunk(body: bytes, more_body: bool) -> bytes:
    """Return a part of a body in chunked coding: RFC 9112, section 7.1."""
    end = b"" if more_body else b"0\r\n\r\n"
    return b"%x\r\n%b\r\n%b" % (len(body), body, end) if body else end
