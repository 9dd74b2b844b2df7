"""What an engine's answer looks like to the client: as the engine wrote it, or as another of OpenAI's objects."""

from __future__ import annotations

from typing import Protocol

import orjson

from gateway.domain import Sink
from gateway.errors import GatewayError
from gateway.upstream import Answer, StreamedAnswer, WholeAnswer


class EventSource(Protocol):
    """Events as they come."""

    async def read(self) -> bytes:
        """Return the next events, ready to send; `b""` when the engine has said that it is done."""

    async def pump(self, write: Sink) -> None:
        """Give events to `write` as long as they need nothing of us; then return, and read() goes on."""


class AnswerShape:
    """How one answer is written: here as the engine wrote it."""

    keeps = False
    """Whether keep() has something to do."""

    async def keep(self, answer: Answer) -> None:
        """Keep an answer that is whole, before its client is told so. Raises GatewayError."""

    def whole(self, answer: WholeAnswer) -> tuple[bytes, bytes]:
        """Return the content type and the body."""
        return b"application/json", answer.body

    def streamed(self, answer: StreamedAnswer) -> EventSource:
        """Return the events."""
        return answer

    def done(self) -> bytes:
        """Return the last event of a stream that is whole."""
        return b"data: [DONE]\n\n"

    def named(self, error: GatewayError) -> GatewayError:
        """Return an error in the words of the client's request."""
        return error

    def failed(self, error: GatewayError) -> bytes:
        """Return the last event of a stream that is not whole."""
        return b"data: " + orjson.dumps(error.envelope()) + b"\n\n"


AS_IT_IS = AnswerShape()
