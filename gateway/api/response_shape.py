"""How a chat's answer is written where a response was asked for, and kept where it is to be."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import orjson

from gateway.api.answer_shape import AnswerShape, EventSource
from gateway.api.response_events import ResponseWriter
from gateway.api.response_object import ResponseObject
from gateway.domain import JsonObject, Sink
from gateway.errors import EngineBroke, GatewayError
from gateway.prompt.response_request import Origin
from gateway.upstream import Answer, StreamedAnswer, WholeAnswer

Keep = Callable[[JsonObject], Awaitable[bool]]
"""Keeps a response and returns whether it is kept. Raises GatewayError where it had to be."""


class ResponseShape(AnswerShape):
    """Of one response."""

    def __init__(self, response: ResponseObject, origin: Origin, keep: Keep) -> None:
        self.keeps = response.store
        self._response = response
        self._origin = origin
        self._keep = keep
        self._writer = ResponseWriter(response)
        self._whole: JsonObject | None = None

    async def keep(self, answer: Answer) -> None:
        """Keep the response; where that was not asked for and cannot be, it says of itself that it is not kept."""
        whole = self._read(answer) if isinstance(answer, WholeAnswer) else self._writer.ended()
        self._response.store = await self._keep(whole)

    def whole(self, answer: WholeAnswer) -> tuple[bytes, bytes]:
        """Return the content type and the body."""
        return b"application/json", orjson.dumps({**self._read(answer), "store": self._response.store})

    def streamed(self, answer: StreamedAnswer) -> EventSource:
        """Return the events but for the last."""
        return _Events(answer, self._writer)

    def done(self) -> bytes:
        """Return the last event."""
        return self._writer.done()

    def named(self, error: GatewayError) -> GatewayError:
        """Return an error in the words of the client's request."""
        return self._origin.named(error)

    def failed(self, error: GatewayError) -> bytes:
        """Return the last event of a stream that is not whole."""
        return self._writer.failed(error.envelope())

    def _read(self, answer: WholeAnswer) -> JsonObject:
        """Return the response that a chat's answer is, read once."""
        if self._whole is None:
            chat: Any = orjson.loads(answer.body)
            choice = chat["choices"][0]
            output = self._response.output_of(choice)
            self._whole = self._response.ended(output, choice.get("finish_reason"), chat.get("usage"))
        return self._whole


class _Events:
    """The events of a chat's chunks."""

    def __init__(self, chunks: EventSource, writer: ResponseWriter) -> None:
        self._chunks = chunks
        self._writer = writer
        self._begun = False
        self._ended = False

    async def read(self) -> bytes:
        """Return the next events; raises what reading the chunks raises."""
        while not self._ended:
            chunks = await self._chunks.read()
            events = b"" if self._begun else self._writer.begin()
            self._begun = True
            if chunks:
                events += b"".join(self._of(event) for event in chunks.split(b"\n\n") if event)
            else:
                self._ended = True
                events += self._writer.end()
            if events:
                return events
        return b""

    async def pump(self, write: Sink) -> None:
        """Give nothing: every chunk has to be rewritten."""

    def _of(self, event: bytes) -> bytes:
        try:
            return self._writer.chunk(orjson.loads(event.removeprefix(b"data: ")))
        except (ValueError, LookupError, TypeError, AttributeError):
            raise EngineBroke("The engine sent a chunk of an unknown shape.") from None
