"""Items of the Responses API as the messages of a chat, and as they are listed. Pure.

https://platform.openai.com/docs/api-reference/responses/create#responses-create-input. Items are what a client was sent
before and sends again, so members that say nothing to the model (`id`, `status`, `annotations` …) are passed over.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.domain import JsonObject
from gateway.errors import InvalidRequest

_KINDS = ("message", "function_call", "function_call_output", "reasoning")
_TEXTS = {"input_text": "text", "output_text": "text", "text": "text", "refusal": "refusal"}
_WRITERS = ("user", "system", "developer", "assistant")


@dataclass(frozen=True, slots=True)
class Chat:
    """The messages that some items stand for."""

    messages: tuple[JsonObject, ...]
    items: tuple[int, ...]
    """For each message, which item it begins with."""
    calls: tuple[tuple[int, ...], ...]
    """For each message, which items are its calls."""


def chat_of(items: Sequence[Any], where: Callable[[int], str]) -> Chat:
    """Return `items` as a chat. `where` says what an item is called in a refusal.

    Calls of one turn are one message, together with what was said before them. Reasoning is left out: it was not
    meant to be read again. Raises InvalidRequest naming the item.
    """
    messages: list[JsonObject] = []
    begins: list[int] = []
    calls: list[list[int]] = []
    for index, item in enumerate(items):
        kind = _kind(item, where(index))
        if kind == "reasoning":
            continue
        if kind == "function_call" and messages and messages[-1]["role"] == "assistant":
            messages[-1].setdefault("tool_calls", []).append(_call(item))
            calls[-1].append(index)
            continue
        messages.append(_MESSAGES[kind](item, where(index)))
        begins.append(index)
        calls.append([index] if kind == "function_call" else [])
    return Chat(tuple(messages), tuple(begins), tuple(map(tuple, calls)))


def listed(items: Sequence[JsonObject], name: Callable[[int], str]) -> list[JsonObject]:
    """Return items that have been checked in the form in which they are kept and listed, each with an id.

    `name` makes an id for the item at a place that has none.
    """
    return [_listed(item, name(index)) for index, item in enumerate(items)]


def _kind(item: Any, where: str) -> str:
    if not isinstance(item, dict):
        raise _invalid(where, "an object")
    kind = item.get("type") or "message"
    if kind not in _KINDS:
        raise _invalid(f"{where}.type", "one of " + ", ".join(f"'{each}'" for each in _KINDS))
    return str(kind)


def _call(item: JsonObject) -> JsonObject:
    function = {"name": item.get("name"), "arguments": item.get("arguments")}
    return {"id": item.get("call_id"), "type": "function", "function": function}


def _called(item: JsonObject, _: str) -> JsonObject:
    return {"role": "assistant", "content": None, "tool_calls": [_call(item)]}


def _result(item: JsonObject, where: str) -> JsonObject:
    output = item.get("output")
    if isinstance(output, list):
        output = [_text_part(part, f"{where}.output[{index}]") for index, part in enumerate(output)]
    if not isinstance(output, str | list) or output == []:
        raise _invalid(f"{where}.output", "a text or a list of parts of type 'input_text'")
    return {"role": "tool", "tool_call_id": item.get("call_id"), "content": output}


def _message(item: JsonObject, where: str) -> JsonObject:
    role, content = item.get("role"), item.get("content")
    if role not in _WRITERS:
        raise _invalid(f"{where}.role", "one of " + ", ".join(f"'{each}'" for each in _WRITERS))
    if isinstance(content, str):
        return {"role": role, "content": content}
    if not isinstance(content, list) or not content:
        raise _invalid(f"{where}.content", "a text or a list of parts")
    if role == "user":
        parts = [_part(part, f"{where}.content[{i}]") for i, part in enumerate(content)]
        # A text alone is written as one, so that a turn is the same whether it came as a text or is listed as a part.
        return {"role": role, "content": parts[0]["text"] if [each["type"] for each in parts] == ["text"] else parts}
    texts = [_text_part(part, f"{where}.content[{i}]")["text"] for i, part in enumerate(content)]
    return {"role": role, "content": "".join(texts) if role == "assistant" else "\n".join(texts)}


def _part(part: Any, where: str) -> JsonObject:
    """Return a part of a user's message; what an image or a clip must be is the chat's to check."""
    kind = part.get("type") if isinstance(part, dict) else None
    if kind == "input_image":
        if not isinstance(part.get("image_url"), str):
            raise _invalid(f"{where}.image_url", "a URL or the image itself as a data URL; there are no files here")
        return {"type": "image_url", "image_url": {"url": part["image_url"]}}
    if kind == "input_audio":
        return {"type": "input_audio", "input_audio": part.get("input_audio")}
    return _text_part(part, where, "'input_text', 'input_image' or 'input_audio'")


def _text_part(part: Any, where: str, wanted: str = "'input_text' or 'output_text'") -> JsonObject:
    kind = part.get("type") if isinstance(part, dict) else None
    if not isinstance(kind, str) or kind not in _TEXTS or not isinstance(part.get(_TEXTS[kind]), str):
        raise _invalid(where, f"a part of type {wanted}")
    return {"type": "text", "text": part[_TEXTS[kind]]}


def _listed(item: JsonObject, new_id: str) -> JsonObject:
    kind = item.get("type") or "message"
    given = item.get("id")
    kept = {**item, "id": given if given and isinstance(given, str) else new_id, "type": kind}
    if kind == "message":
        part = "output_text" if item["role"] == "assistant" else "input_text"
        if isinstance(item["content"], str):
            extras: JsonObject = {"annotations": []} if part == "output_text" else {}
            kept["content"] = [{"type": part, "text": item["content"], **extras}]
    if kind != "reasoning":
        kept["status"] = item.get("status") or "completed"
    return kept


def _invalid(where: str, wanted: str) -> InvalidRequest:
    return InvalidRequest(f"'{where}' must be {wanted}.", param=where, code="invalid_value")


_MESSAGES: dict[str, Callable[[JsonObject, str], JsonObject]] = {
    "message": _message,
    "function_call": _called,
    "function_call_output": _result,
}
