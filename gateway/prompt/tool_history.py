"""Tool calls and their results in a conversation → text, in the envelope that the system text explains. Pure.

A call's id means nothing to the model, so a result says which call it answers by name and by place: `"call":2` is the
second call of its turn. Texts are JSON within JSON, so what a tool returned cannot pass for anything else.
"""

from __future__ import annotations

import re
from typing import Any

import orjson

from gateway.domain import JsonObject
from gateway.errors import InvalidRequest

MAX_CALLS_IN_A_TURN = 128
IGNORED = frozenset({"annotations", "id", "reasoning", "reasoning_content"})
"""What servers write into messages and clients send back: the model is not told of it."""
_MAX_ID_CHARACTERS = 256
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_RESULT_KEYS = frozenset({"role", "content", "tool_call_id", "name", *IGNORED})

_Calls = dict[str, tuple[int, str]]
"""By the call's id: its place in its turn, from 1, and its tool's name."""


def render_history(messages: list[Any], drops_unknown: bool = False, start: int = 0) -> list[Any]:
    """Return as many messages, those with tool calls and those of role `tool` as plain ones.

    Everything else is returned as it came, unchecked. Raises InvalidRequest naming the place, which is counted from
    `start` on: what is before it the client has not sent with this request.
    """
    calls: _Calls = {}
    keys = None if drops_unknown else _RESULT_KEYS
    return [_rendered(message, f"messages[{index - start}]", calls, keys) for index, message in enumerate(messages)]


def checked_name(name: Any, where: str) -> str:
    """Return the name of a tool. Raises InvalidRequest."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise _invalid(where, "a name of at most 64 of the characters a-z, A-Z, 0-9, '_' and '-'")
    return name


def _rendered(message: Any, where: str, calls: _Calls, keys: frozenset[str] | None) -> Any:
    if not isinstance(message, dict):
        return message
    if message.get("role") == "tool":
        return {"role": "user", "content": _result(message, where, calls, keys)}
    if message.get("role") == "assistant" and message.get("tool_calls"):
        others = {key: value for key, value in message.items() if key != "tool_calls"}
        return {**others, "content": _called(message, where, calls)}
    return message


def _called(message: JsonObject, where: str, calls: _Calls) -> str:
    """Return what the assistant said and, behind it, the envelope. `calls` learns the ids."""
    given = message["tool_calls"]
    if not isinstance(given, list) or len(given) > MAX_CALLS_IN_A_TURN:
        raise _invalid(f"{where}.tool_calls", f"a list of at most {MAX_CALLS_IN_A_TURN} calls")
    written = []
    for index, call in enumerate(given):
        identity, name, arguments = _checked_call(call, f"{where}.tool_calls[{index}]")
        calls[identity] = (index + 1, name)
        written.append(f'{{"name":"{name}","arguments":{arguments}}}')
    said = _text(message.get("content") or "", f"{where}.content", "assistant")
    envelope = f'{{"tool_calls":[{",".join(written)}]}}'
    return f"{said}\n\n{envelope}" if said else envelope


def _checked_call(call: Any, where: str) -> tuple[str, str, str]:
    """Return id, name and the arguments as JSON."""
    function = call.get("function") if isinstance(call, dict) and call.get("type", "function") == "function" else None
    if not isinstance(function, dict):
        raise _invalid(where, "an object of type 'function' with a 'function'")
    identity, arguments = call.get("id"), function.get("arguments")
    if not isinstance(identity, str) or not 0 < len(identity) <= _MAX_ID_CHARACTERS:
        raise _invalid(f"{where}.id", f"a text of 1 to {_MAX_ID_CHARACTERS} characters")
    if not isinstance(arguments, str):
        raise _invalid(f"{where}.function.arguments", "a text")
    return identity, checked_name(function.get("name"), f"{where}.function.name"), _json_of(arguments or "{}")


def _result(message: JsonObject, where: str, calls: _Calls, keys: frozenset[str] | None) -> str:
    unknown = next((key for key in message if keys is not None and key not in keys), None)
    if unknown is not None:
        raise InvalidRequest(f"Unrecognized field '{where}.{unknown[:64]}'.", param=f"{where}.{unknown[:64]}")
    identity = message.get("tool_call_id")
    if not isinstance(identity, str) or identity not in calls:
        raise _invalid(f"{where}.tool_call_id", "the id of a call in 'tool_calls' of a message before it")
    place, name = calls[identity]
    content = _json_of(_text(message.get("content"), f"{where}.content", "tool"))
    return f'{{"tool_result":{{"call":{place},"name":"{name}","content":{content}}}}}'


def words_of(part: Any, role: str) -> str | None:
    """Return the text of a content part that is one; an assistant's refusal is a text too, and all else None."""
    kinds = ("text", "refusal") if role == "assistant" else ("text",)
    kind = part.get("type") if isinstance(part, dict) else None
    words = part[kind] if kind in kinds and kind in part else None
    return words if isinstance(words, str) else None


def _text(content: Any, where: str, role: str) -> str:
    if isinstance(content, str):
        return content
    if not isinstance(content, list) or not content:
        raise _invalid(where, "a text or a list of text parts")
    return "\n".join(_part(part, f"{where}[{index}]", role) for index, part in enumerate(content))


def _part(part: Any, where: str, role: str) -> str:
    words = words_of(part, role)
    if words is None:
        raise _invalid(where, "a part of type 'text'")
    return words


def _json_of(text: str) -> str:
    """Return `text` itself if it is a JSON object or list, which a small model reads more easily, else as a string."""
    try:
        fits = text.lstrip()[:1] in ("{", "[") and isinstance(orjson.loads(text), dict | list)
    except orjson.JSONDecodeError:
        fits = False
    return text if fits else orjson.dumps(text).decode()


def _invalid(where: str, wanted: str) -> InvalidRequest:
    return InvalidRequest(f"'{where}' must be {wanted}.", param=where, code="invalid_value")
