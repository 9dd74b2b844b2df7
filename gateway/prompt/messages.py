"""The shape of a chat message: https://platform.openai.com/docs/api-reference/chat/create#chat-create-messages."""

from __future__ import annotations

from typing import Any

from gateway.domain import JsonObject
from gateway.errors import InvalidRequest
from gateway.prompt.media import TEXT_ONLY, MediaLimits, checked_media
from gateway.prompt.tool_history import IGNORED, render_history, words_of

ROLES = frozenset({"system", "developer", "user", "assistant"})
_EMPTY_EXTRAS = ("refusal", "audio", "tool_calls", "function_call")
_KEYS = frozenset({"role", "content", "name", *_EMPTY_EXTRAS, *IGNORED})
_RESULT_KEYS = frozenset({"tool_call_id"})
_PLAIN = frozenset({"role", "content"})
_KEPT = frozenset({"name", "tool_call_id", *_EMPTY_EXTRAS})
"""Beside role and content. Those that are refused when filled are kept until they are."""
_PARTS = {"user": "'text', 'image_url', 'input_audio' or 'audio_url'", "assistant": "'text' or 'refusal'"}
"""The types that a part of a role's content may have, where there are several."""


def checked_messages(
    value: Any, max_messages: int, drops_unknown: bool = False, media: MediaLimits = TEXT_ONLY
) -> tuple[JsonObject, ...]:
    """Return the messages as the engine may see them: role and content only. Raises InvalidRequest naming the place."""
    if not isinstance(value, list) or not value:
        raise InvalidRequest("'messages' must be a list with at least one message.", param="messages")
    if len(value) > max_messages:
        raise InvalidRequest(f"'messages' may hold at most {max_messages} messages.", param="messages")
    if all(map(_is_plain, value)):
        return tuple(value)
    rendered = render_history(value, drops_unknown)
    return tuple(
        _checked(message, f"messages[{index}]", drops_unknown, media) for index, message in enumerate(rendered)
    )


def messages_as_they_came(value: Any, max_messages: int, drops_unknown: bool = False) -> tuple[JsonObject, ...]:
    """Return what a session is told: of each message what means something. Raises InvalidRequest naming the place.

    They are checked in full by checked_in_session, when the calls are known that tool results answer.
    """
    if not isinstance(value, list) or not value:
        raise InvalidRequest("'messages' must be a list with at least one message.", param="messages")
    if len(value) > max_messages:
        raise InvalidRequest(f"'messages' may hold at most {max_messages} messages.", param="messages")
    return tuple(_as_it_came(message, f"messages[{index}]", drops_unknown) for index, message in enumerate(value))


def checked_in_session(
    history: tuple[JsonObject, ...],
    new: tuple[JsonObject, ...],
    drops_unknown: bool = False,
    media: MediaLimits = TEXT_ONLY,
) -> tuple[JsonObject, ...]:
    """Return history and new messages as the engine may see them. Raises InvalidRequest naming the new one's place.

    What was checked when it was new needs no check again, but parts still have what is not for the engine.
    """
    start = len(history)
    rendered = render_history([*history, *new], drops_unknown, start)
    plain = (isinstance(message["content"], str) for message in rendered[:start])
    said = (
        {"role": message["role"], "content": message["content"]}
        if is_plain
        else _checked(message, "messages of the session", drops_unknown, media)
        for message, is_plain in zip(rendered[:start], plain, strict=True)
    )
    asked = (
        _checked(message, f"messages[{index}]", drops_unknown, media) for index, message in enumerate(rendered[start:])
    )
    return (*said, *asked)


def _is_plain(message: Any) -> bool:
    """Whether it is a text of some role and nothing else, as nearly all are: the engine may see it as it is."""
    return (
        isinstance(message, dict)
        and message.keys() == _PLAIN
        and isinstance(message["content"], str)
        and isinstance(message["role"], str)
        and message["role"] in ROLES
    )


def _as_it_came(message: Any, where: str, drops_unknown: bool) -> JsonObject:
    if not isinstance(message, dict):
        raise InvalidRequest(f"'{where}' must be an object with role and content.", param=where)
    unknown = next((key for key in message if key not in _KEYS and key not in _RESULT_KEYS), None)
    if unknown is not None and not drops_unknown:
        raise InvalidRequest(f"Unrecognized field '{where}.{unknown[:64]}'.", param=f"{where}.{unknown[:64]}")
    return {name: value for name, value in message.items() if value and name in _KEPT} | {
        "role": message.get("role"), "content": message.get("content")
    }  # fmt: skip


def _checked(message: Any, where: str, drops_unknown: bool, media: MediaLimits) -> JsonObject:
    if not isinstance(message, dict):
        raise InvalidRequest(f"'{where}' must be an object with role and content.", param=where)
    unknown = next((key for key in message if key not in _KEYS), None)
    if unknown is not None and not drops_unknown:
        raise InvalidRequest(f"Unrecognized field '{where}.{unknown[:64]}'.", param=f"{where}.{unknown[:64]}")
    filled = next((key for key in _EMPTY_EXTRAS if message.get(key)), None)
    if filled is not None:
        raise InvalidRequest(f"'{where}.{filled}' is not supported.", param=f"{where}.{filled}")
    role = message.get("role")
    if not isinstance(role, str) or role not in ROLES:
        wanted = ", ".join(sorted({*ROLES, "tool"}))
        raise InvalidRequest(f"'{where}.role' must be one of {wanted}.", param=f"{where}.role")
    return {"role": role, "content": _content(message.get("content"), f"{where}.content", role, media)}


def _content(value: Any, where: str, role: str, media: MediaLimits) -> str | list[JsonObject]:
    """Return a text or its parts as they came: how parts are joined is the chat template's to say."""
    if isinstance(value, str):
        return value
    if not isinstance(value, list) or not value:
        raise InvalidRequest(f"'{where}' must be a text or a list of parts.", param=where)
    return [_part(part, f"{where}[{index}]", role, media) for index, part in enumerate(value)]


def _part(part: Any, where: str, role: str, media: MediaLimits) -> JsonObject:
    """Return a part with what is known here only: no `uuid` or `detail` of a client's reaches the engine."""
    words = words_of(part, role)
    if words is not None:
        return {"type": "text", "text": words}
    checked = checked_media(part, where, media) if isinstance(part, dict) and role == "user" else None
    if checked is None:
        wanted = _PARTS.get(role, "'text'")
        raise InvalidRequest(f"'{where}' must be a part of type {wanted}.", param=where, code="invalid_value")
    return checked
