"""The text of a streamed answer, put together for a session. Only sessions pay for parsing every chunk."""

from __future__ import annotations

import orjson

from gateway.errors import EngineBroke


class Transcript:
    """The first choice's text and finish reason."""

    __slots__ = ("_parts", "finish_reason")

    def __init__(self) -> None:
        self._parts: list[str] = []
        self.finish_reason: str | None = None

    @property
    def text(self) -> str:
        """All that has come."""
        return "".join(self._parts)

    def add(self, payload: bytes) -> None:
        """Take in one chunk that the client gets. Raises EngineBroke for one that cannot be kept."""
        try:
            for choice in orjson.loads(payload)["choices"]:
                if choice["index"] == 0:
                    self._parts.append("" + (choice["delta"].get("content") or ""))
                    self.finish_reason = choice.get("finish_reason") or self.finish_reason
        except (ValueError, LookupError, TypeError, AttributeError):
            raise EngineBroke("The engine sent a chunk of an unknown shape.") from None
