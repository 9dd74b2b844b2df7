"""The chunks of a stream whose answer may be tool calls. Only requests with tools pay for reading every chunk."""

from __future__ import annotations

from typing import Any

import orjson

from gateway.domain import JsonObject, ToolUse
from gateway.errors import EngineBroke
from gateway.upstream.tool_calls import CallReader, ToolCall

BETWEEN_EVENTS = b"\n\ndata: "


class _Choice:
    """One choice under way."""

    __slots__ = ("logprobs", "reader", "role_sent")

    def __init__(self, use: ToolUse) -> None:
        self.reader = CallReader(use)
        self.logprobs: list[Any] = []
        self.role_sent = False


class ToolCallStream:
    """The chunks of one stream, in order, as the client would get them without tools."""

    __slots__ = ("_choices", "_use")

    def __init__(self, use: ToolUse) -> None:
        self._use = use
        self._choices: dict[int, _Choice] = {}

    def rewrite(self, payload: bytes) -> bytes:
        """Return what the client gets for a chunk: nothing, one payload, or several with what stands between events.

        Raises EngineBroke for a chunk of an unknown shape, or where calls had to come and none did.
        """
        try:
            chunk = orjson.loads(payload)
            if not chunk["choices"]:
                return payload
            made = [each for choice in chunk["choices"] for each in self._rewritten(choice)]
        except (ValueError, LookupError, TypeError, AttributeError):
            raise EngineBroke("The engine sent a chunk of an unknown shape.") from None
        return BETWEEN_EVENTS.join(orjson.dumps({**chunk, "choices": [each]}) for each in made)

    def _rewritten(self, choice: JsonObject) -> list[JsonObject]:
        """Return the choice as it goes on: text at once, or calls and the end."""
        state = self._choices.setdefault(choice["index"], _Choice(self._use))
        state.logprobs += (choice.get("logprobs") or {}).get("content") or []
        text = state.reader.feed(choice["delta"].get("content") or "")
        reason = choice.get("finish_reason")
        calls: tuple[ToolCall, ...] = ()
        if reason is not None:
            ending = state.reader.end(reason)
            text, calls, reason = text + ending.text, ending.calls, ending.finish_reason
        deltas = [{"content": text}] if text else []
        deltas += [delta for index, call in enumerate(calls) for delta in _call_deltas(index, call)]
        if reason is not None and (calls or not deltas):
            deltas.append({})
        return [self._next(state, choice, delta, reason if delta is deltas[-1] else None) for delta in deltas]

    def _next(self, state: _Choice, choice: JsonObject, delta: JsonObject, reason: str | None) -> JsonObject:
        """Return one step of a choice. The role stands in its first one, which tells text from calls for the SDKs."""
        if not state.role_sent:
            state.role_sent = True
            delta = {"role": "assistant", "content": None if "tool_calls" in delta else "", **delta}
        logprobs = None
        if delta.get("content"):
            logprobs = {"content": state.logprobs} if state.logprobs else None
            state.logprobs = []
        return {**choice, "delta": delta, "logprobs": logprobs, "finish_reason": reason}


def _call_deltas(index: int, call: ToolCall) -> list[JsonObject]:
    """Return a call as clients put it together: id and name, then the arguments."""
    function = {"name": call.name, "arguments": ""}
    first = {"index": index, "id": call.id, "type": "function", "function": function}
    return [
        {"tool_calls": [first]},
        {"tool_calls": [{"index": index, "function": {"arguments": call.arguments}}]},
    ]
