"""Tool calls in an answer's text, sans-I/O: the envelope that the prompt asks for → OpenAI's `tool_calls`.

The envelope is `{"tool_calls":[{"name":…,"arguments":{…}}]}`, perhaps in a code fence. Text is held back only while it
could still be one, at most some hundred characters; what is none passes as it came. What is one is given as whole calls
when the answer ends: until then nobody knows that it is well formed, and what is not is given as the text it was. Calls
that a grammar forces need not wait: see `gateway/upstream/forced_calls.py`.

Chunks: https://platform.openai.com/docs/api-reference/chat/streaming.
"""

from __future__ import annotations

import json
import re
import secrets
from dataclasses import dataclass
from typing import Any, NoReturn

from gateway.domain import JsonObject, ToolUse
from gateway.errors import EngineBroke

_SPACE = " \t\r\n"
_MARKER = '{"tool_calls":['
_MAX_LEADING_SPACE = 32
_MAX_MARKER_CHARACTERS = 64
"""White space between the marker's parts included."""

_FENCE = re.compile(r"```[a-z_]{0,16}[ \t\r\n]")
_PART_OF_FENCE = re.compile(r"`{1,2}|```[a-z_]{0,16}")
OPENING = re.compile(r'[ \t\r\n]*\{[ \t\r\n]*"tool_calls"[ \t\r\n]*:[ \t\r\n]*\[')
_BETWEEN = re.compile(r"[ \t\r\n,]*")
_CUT_CALL = re.compile(r'\{\s*"name"\s*:\s*"([a-zA-Z0-9_-]{1,64})"(?:\s*,\s*"arguments"\s*:\s*(.*))?', re.DOTALL)


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call. `arguments` is JSON, but for a call that was cut short."""

    name: str
    arguments: str
    id: str

    def as_json(self) -> JsonObject:
        """Return the API's shape."""
        return {"id": self.id, "type": "function", "function": {"name": self.name, "arguments": self.arguments}}


@dataclass(frozen=True, slots=True)
class Ending:
    """What an answer comes to when it ends: text that was held back, calls, and why it ended."""

    text: str
    calls: tuple[ToolCall, ...]
    finish_reason: str | None


class CallReader:
    """The text of one choice, in any portions."""

    __slots__ = ("_held", "_is_envelope", "_is_plain", "_use")

    def __init__(self, use: ToolUse) -> None:
        self._use = use
        self._held: list[str] = []
        self._is_plain = False
        self._is_envelope = use.forced

    def feed(self, text: str) -> str:
        """Return what can be passed on now."""
        if self._is_plain:
            return text
        self._held.append(text)
        if self._is_envelope:
            return ""
        held = "".join(self._held)
        begins = begins_envelope(held)
        self._is_envelope = begins is True
        self._is_plain = begins is False
        return self._release() if self._is_plain else ""

    def end(self, finish_reason: str | None) -> Ending:
        """Return the rest. Raises EngineBroke where calls had to come and none did."""
        held = self._release()
        complete = _complete(held, self._use) if self._is_envelope else None
        if complete is not None:
            calls, rest = complete
            return Ending(rest, calls, "tool_calls")
        if not self._use.forced:
            return Ending(held, (), finish_reason)
        calls = _cut_short(held, self._use)
        if not calls and finish_reason != "length":
            raise EngineBroke("The engine's answer is not the tool call that was asked for.")
        # The client's max_tokens or its stop strings cut the envelope: what there is, and the engine's own reason.
        return Ending("" if calls else held, calls, finish_reason)

    def _release(self) -> str:
        held = "".join(self._held)
        self._held.clear()
        return held


def begins_envelope(text: str) -> bool | None:
    """Return whether an answer that begins so is an envelope, None while both are possible."""
    rest = text.lstrip(_SPACE)
    if len(text) - len(rest) > _MAX_LEADING_SPACE:
        return False
    if rest.startswith("`"):
        fence = _FENCE.match(rest)
        if fence is None:
            return None if _PART_OF_FENCE.fullmatch(rest) else False
        rest = rest[fence.end() :]
    squeezed = "".join(character for character in rest[:_MAX_MARKER_CHARACTERS] if character not in _SPACE)
    if len(squeezed) >= len(_MARKER):
        return squeezed.startswith(_MARKER)
    return None if len(rest) <= _MAX_MARKER_CHARACTERS and _MARKER.startswith(squeezed) else False


def _complete(text: str, use: ToolUse) -> tuple[tuple[ToolCall, ...], str] | None:
    """Return the calls of a well-formed envelope and the text behind it; None if it is malformed.

    Where more calls came than were allowed (which no grammar prevents under `auto`), the first ones count.
    """
    opening = _opening(text)
    if opening is None:
        return None
    begin = text.index("{", opening.start())
    try:
        envelope, end = _DECODER.raw_decode(text, begin)
        given = envelope["tool_calls"]
        calls = [_call(each, use) for each in given] if isinstance(given, list) else []
    except (ValueError, RecursionError):
        return None
    if not calls or None in calls:
        return None
    rest = text[end:].strip()
    if _fenced(text):
        rest = rest.removeprefix("```").lstrip()
    return tuple(call for call in calls[: use.max_calls] if call is not None), rest


def complete_calls(text: str, use: ToolUse) -> tuple[ToolCall, ...] | None:
    """Return the calls of an answer that is a well-formed envelope and nothing behind it; None for any other."""
    complete = _complete(text, use)
    return complete[0] if complete is not None and not complete[1] else None


def _cut_short(text: str, use: ToolUse) -> tuple[ToolCall, ...]:
    """Return the calls of an envelope that was cut: the whole ones, and the last with as much as came of it."""
    opening = _opening(text)
    if opening is None:
        return ()
    calls: list[ToolCall | None] = []
    at = opening.end()
    while True:
        between = _BETWEEN.match(text, at)
        at = between.end() if between else at
        try:
            value, at = _DECODER.raw_decode(text, at)
            calls.append(_call(value, use))
        except (ValueError, RecursionError):
            break
    last = _CUT_CALL.match(text, at)
    if last and last[1] in use.names:
        calls.append(ToolCall(last[1], last[2] or "", new_call_id()))
    return tuple(call for call in calls if call is not None)


def _opening(text: str) -> re.Match[str] | None:
    fence = _FENCE.match(text, len(text) - len(text.lstrip(_SPACE)))
    return OPENING.match(text, fence.end() if fence else 0)


def _fenced(text: str) -> bool:
    return text.lstrip(_SPACE).startswith("`")


def _call(value: Any, use: ToolUse) -> ToolCall | None:
    """Return a call of an offered tool; None for anything else. A tool without arguments may be called without."""
    name = value.get("name") if isinstance(value, dict) else None
    arguments = value.get("arguments", {}) if isinstance(value, dict) else None
    if not isinstance(name, str) or name not in use.names or not isinstance(arguments, dict):
        return None
    return ToolCall(name, _json_text(arguments), new_call_id())


def _json_text(value: JsonObject) -> str:
    """Return JSON that every reader takes. Raises ValueError for a number too large for it, such as 1e999."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    try:
        text.encode()
    except UnicodeEncodeError:
        # Half of a surrogate pair, which JSON may have as an escape and UTF-8 may not.
        return json.dumps(value, separators=(",", ":"))
    return text


def new_call_id() -> str:
    """Return an id as OpenAI's look."""
    return f"call_{secrets.token_hex(12)}"


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)


_DECODER = json.JSONDecoder(parse_constant=_no_constant, strict=False)
"""Lenient in one thing: small models write line feeds into strings."""


def read_whole(choice: JsonObject, use: ToolUse) -> JsonObject:
    """Return a choice of an answer that is not streamed, with its calls. Raises EngineBroke as CallReader.end does."""
    reader = CallReader(use)
    message = choice.get("message") or {}
    passed = reader.feed(message.get("content") or "")
    ending = reader.end(choice.get("finish_reason"))
    if not ending.calls:
        return choice
    calls = [call.as_json() for call in ending.calls]
    message = {**message, "content": (passed + ending.text) or None, "tool_calls": calls}
    return {**choice, "message": message, "logprobs": None, "finish_reason": ending.finish_reason}
