"""A streamed answer put together for a session, as the client sees it. Only sessions pay for parsing every chunk."""

from __future__ import annotations

import orjson

from gateway.domain import JsonObject
from gateway.errors import EngineBroke


class Transcript:
    """The first choice's text, tool calls and finish reason."""

    __slots__ = ("_calls", "_parts", "finish_reason")

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._calls: dict[int, JsonObject] = {}
        self.finish_reason: str | None = None

    @property
    def message(self) -> JsonObject:
        """All that has come, as a message."""
        return answer_message("".join(self._parts), list(self._calls.values()))

    def add(self, payload: bytes) -> None:
        """Take in one chunk that the client gets. Raises EngineBroke for one that cannot be kept."""
        try:
            for choice in orjson.loads(payload)["choices"]:
                if choice["index"] == 0:
                    self._parts.append("" + (choice["delta"].get("content") or ""))
                    for call in choice["delta"].get("tool_calls") or ():
                        self._add_call(call)
                    self.finish_reason = choice.get("finish_reason") or self.finish_reason
        except (ValueError, LookupError, TypeError, AttributeError):
            raise EngineBroke("The engine sent a chunk of an unknown shape.") from None

    def _add_call(self, delta: JsonObject) -> None:
        """Take in a part of a call: its id and name come first, its arguments in any portions."""
        call = self._calls.setdefault(delta.get("index", 0), _new_call())
        call["id"] = delta.get("id") or call["id"]
        function = delta.get("function") or {}
        if function.get("name"):
            call["function"] = {"name": function["name"], "arguments": call["function"]["arguments"]}
        call["function"]["arguments"] += function.get("arguments") or ""


def _new_call() -> JsonObject:
    return {"id": "", "type": "function", "function": {"name": "", "arguments": ""}}


def answer_message(text: str, tool_calls: list[JsonObject]) -> JsonObject:
    """Return an answer as a message of OpenAI's; one of calls alone has no content."""
    if not tool_calls:
        return {"role": "assistant", "content": text}
    return {"role": "assistant", "content": text or None, "tool_calls": tool_calls}
