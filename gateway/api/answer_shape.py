"""What an engine's answer looks like to the client: as the engine wrote it, or as another of OpenAI's objects."""

from __future__ import annotations

from typing import Protocol

from gateway.domain import Sink
from gateway.upstream import StreamedAnswer, WholeAnswer


class EventSource(Protocol):
    """Events as they come."""

    async def read(self) -> bytes:
        """Return the next events, ready to send; `b""` when the engine has said that it is done."""

    async def pump(self, write: Sink) -> None:
        """Give events to `write` as long as they need nothing of us; then return, and read() goes on."""


class AnswerShape(Protocol):
    """How one answer is written."""

    def whole(self, answer: WholeAnswer) -> tuple[bytes, bytes]:
        """Return the content type and the body."""

    def streamed(self, answer: StreamedAnswer) -> EventSource:
        """Return the events."""


class _AsItIs:
    def whole(self, answer: WholeAnswer) -> tuple[bytes, bytes]:
        return b"application/json", answer.body

    def streamed(self, answer: StreamedAnswer) -> EventSource:
        return answer


AS_IT_IS: AnswerShape = _AsItIs()
