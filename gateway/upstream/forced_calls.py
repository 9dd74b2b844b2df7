"""Calls that a grammar forces, given piece by piece as they are written, sans-I/O.

Under a grammar the envelope cannot turn out to be something else, so nobody has to wait for its end: a call's name goes
out when it is complete, its arguments as they come. Only what stands around them is kept back. A text that does not
begin like the grammar's is left to `CallReader`, at its end.
"""

from __future__ import annotations

import re
from enum import Enum, auto

from gateway.domain import JsonObject, ToolUse
from gateway.upstream.tool_calls import OPENING, complete_calls, new_call_id

_CALL = re.compile(r'\{\s*"name"\s*:\s*"([a-zA-Z0-9_-]{1,64})"\s*,\s*"arguments"\s*:\s*(?=\{)')
_BETWEEN = re.compile(r"[ \t\r\n,]*")
_STRUCTURE = re.compile(r'[{}"\\]')


class _At(Enum):
    OPENING = auto()
    BETWEEN = auto()
    CALL = auto()
    ARGUMENTS = auto()
    BEHIND = auto()
    """Behind the arguments, where the call's own bracket closes."""


class ForcedCalls:
    """The envelope of one choice, in any portions."""

    __slots__ = ("_at", "_depth", "_in_string", "_position", "_use", "started", "text")

    def __init__(self, use: ToolUse) -> None:
        self._use = use
        self._at = _At.OPENING
        self._position = 0
        self._depth = 0
        self._in_string = False
        self.text = ""
        self.started = 0
        """How many calls have been begun."""

    def feed(self, text: str) -> list[JsonObject]:
        """Return the deltas that clients put the calls together from: id and name, then arguments in any portions."""
        self.text += text
        deltas: list[JsonObject] = []
        while (delta := self._step()) is not None:
            if delta:
                deltas.append({"tool_calls": [delta]})
        return deltas

    def end(self, finish_reason: str | None) -> str | None:
        """Return why the answer ended: `tool_calls` if the envelope is whole, else the engine's own reason."""
        whole = complete_calls(self.text, self._use)
        return "tool_calls" if whole is not None and len(whole) == self.started else finish_reason

    def _step(self) -> JsonObject | None:
        """Go on by one thing. Return a delta, an empty one for what is no client's business, None to wait for more."""
        if self._at is _At.ARGUMENTS:
            return self._arguments()
        if self._at is _At.CALL:
            return self._call()
        if self._at is _At.OPENING:
            return self._pass(OPENING, _At.BETWEEN)
        between = _BETWEEN.match(self.text, self._position)
        self._position = between.end() if between else self._position
        wanted, then = ("{", _At.CALL) if self._at is _At.BETWEEN else ("}", _At.BETWEEN)
        if not self.text.startswith(wanted, self._position):
            return None
        self._position += self._at is _At.BEHIND
        self._at = then
        return {}

    def _pass(self, pattern: re.Pattern[str], then: _At) -> JsonObject | None:
        found = pattern.match(self.text, self._position)
        if found is None:
            return None
        self._position, self._at = found.end(), then
        return {}

    def _call(self) -> JsonObject | None:
        found = _CALL.match(self.text, self._position)
        if found is None or found[1] not in self._use.names or self.started >= self._use.max_calls:
            return None
        self._position, self._at, self._depth = found.end(), _At.ARGUMENTS, 0
        self.started += 1
        function = {"name": found[1], "arguments": ""}
        return {"index": self.started - 1, "id": new_call_id(), "type": "function", "function": function}

    def _arguments(self) -> JsonObject | None:
        """Return as much of the arguments as is here, up to the bracket that closes them."""
        text, at = self.text, self._position
        while found := _STRUCTURE.search(text, at):
            at = found.end()
            if found[0] == "\\":
                if at == len(text):
                    at -= 1  # What it escapes comes with the next portion.
                    return self._portion(at)
                at += 1
            elif found[0] == '"':
                self._in_string = not self._in_string
            elif not self._in_string:
                self._depth += 1 if found[0] == "{" else -1
                if self._depth == 0:
                    self._at = _At.BEHIND
                    return self._portion(at)
        return self._portion(len(text))

    def _portion(self, end: int) -> JsonObject | None:
        portion = self.text[self._position : end]
        self._position = end
        if not portion:
            return None
        return {"index": self.started - 1, "function": {"arguments": portion}}
