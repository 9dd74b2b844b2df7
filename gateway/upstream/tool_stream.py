"""The chunks of a stream whose answer may be tool calls. Only requests with tools pay for reading every chunk."""

from __future__ import annotations

from typing import Any

import orjson

from gateway.domain import JsonObject, ToolUse
from gateway.errors import EngineBroke
from gateway.upstream.forced_calls import ForcedCalls
from gateway.upstream.tool_calls import CallReader, ToolCall

BETWEEN_EVENTS = b"\n\ndata: "


class _Choice:
    """One choice under way."""

    __slots__ = ("_forced", "_reader", "logprobs", "role_sent")

    def __init__(self, use: ToolUse) -> None:
        self._reader = CallReader(use)
        self._forced = ForcedCalls(use) if use.forced else None
        self.logprobs: list[Any] = []
        self.role_sent = False

    def read(self, text: str, reason: str | None) -> tuple[list[JsonObject], str | None]:
        """Return how the choice goes on, text and calls, and why it ended. Raises EngineBroke as CallReader.end does.

        Its end is the last of the deltas, an empty one where nothing else carries the reason.
        """
        deltas = self._forced.feed(text) if self._forced is not None else []
        passed = self._reader.feed(text)
        calls: tuple[ToolCall, ...] = ()
        if self._forced is not None and self._forced.started:
            reason = reason and self._forced.end(reason)
        elif reason is not None:
            ending = self._reader.end(reason)
            passed, calls, reason = passed + ending.text, ending.calls, ending.finish_reason
        deltas += [{"content": passed}] if passed else []
        deltas += [delta for index, call in enumerate(calls) for delta in _call_deltas(index, call)]
        if reason is not None and (not deltas or "tool_calls" in deltas[-1]):
            deltas.append({})
        return deltas, reason


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
        text, reason = choice["delta"].get("content") or "", choice.get("finish_reason")
        deltas, reason = state.read(text, reason)
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
