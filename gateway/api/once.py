"""Answer a request with an `Idempotency-Key` once, and send the same answer to whoever sends it again."""

from __future__ import annotations

from starlette.types import Message, Send

from gateway.domain import Headers
from gateway.idempotency import Claim, Recorded

_KEPT_HEADERS = frozenset({b"content-type", b"x-session-id"})
_DONE = b"data: [DONE]\n\n"
_ENDS = (b"event: response.completed\n", b"event: response.incomplete\n")
"""Of a response, whose last event comes by itself."""
_PING = b": ping\n"
_MAX_BYTES = 4 * 1024 * 1024
"""A larger answer is not kept; its request may be answered again."""


class Recorder:
    """Writes down an answer on its way to the client, and keeps it before the last byte goes out."""

    def __init__(self, claim: Claim, send: Send, send_part: Send) -> None:
        self._claim = claim
        self._send = send
        self._send_part = send_part
        self._head: Headers | None = None
        self._parts: list[bytes] = []
        self._size = 0

    async def send(self, message: Message) -> None:
        """Pass on what the application sends."""
        await self._record(message)
        await self._send(message)

    async def send_part(self, message: Message) -> None:
        """Pass on what goes to the server straight."""
        await self._record(message)
        await self._send_part(message)

    async def _record(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers: Headers = message["headers"]
            kept = [(name, value) for name, value in headers if name in _KEPT_HEADERS]
            self._head = kept if message["status"] == 200 else None
        elif self._head is not None and message["type"] == "http.response.body":
            await self._record_body(self._head, message.get("body", b""), more=message.get("more_body", False))

    async def _record_body(self, head: Headers, body: bytes, *, more: bool) -> None:
        if body != _PING:
            self._size += len(body)
            if self._size <= _MAX_BYTES:
                self._parts.append(body)
            else:
                self._parts.clear()
        if more:
            return
        is_stream = any(value.startswith(b"text/event-stream") for _, value in head)
        # A stream that ends in an error has no such end: it may be tried again.
        if self._size <= _MAX_BYTES and (not is_stream or body.endswith(_DONE) or body.startswith(_ENDS)):
            await self._claim.keep(Recorded(head, b"".join(self._parts)))


async def send_again(recorded: Recorded, send: Send, send_part: Send) -> None:
    """Send a recorded answer; of a stream all events at once."""
    length = (b"content-length", b"%d" % len(recorded.body))
    headers = [*recorded.headers, length, (b"idempotent-replayed", b"true")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send_part({"type": "http.response.body", "body": recorded.body})
