"""Which requests belong together: those that begin alike find their beginning in one engine's prefix cache. Pure."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

from gateway.domain import JsonObject, SessionId

_HASHED_CHARACTERS = 1024
"""Of each message. Two conversations that differ only later share a home, which does no harm."""
_MOST_MESSAGES = 8


def home_of(tenant: str, session_id: SessionId | None, body: JsonObject) -> int:
    """Return a number that is the same for all turns of a conversation, whichever gateway is asked.

    It is made of the session's id; without a session of what every turn repeats: the messages up to the user's first,
    or the beginning of a completion's prompt. The tenant is in it because prefix caches are apart by tenant.
    """
    digest = blake2b(tenant.encode("utf-8", "surrogatepass"), digest_size=8)
    for part in [session_id] if session_id else _first_turns(body):
        digest.update(b"\0" + part[:_HASHED_CHARACTERS].encode("utf-8", "surrogatepass"))
    # Odd, so that it is never 0, which means that there is no home.
    return int.from_bytes(digest.digest(), "big") | 1


def _first_turns(body: JsonObject) -> list[str]:
    prompt = body.get("prompt")
    if prompt is not None:
        first = prompt if isinstance(prompt, str) else prompt[0]
        return [first if isinstance(first, str) else str(prompt[:_HASHED_CHARACTERS])]
    turns = []
    for message in body["messages"][:_MOST_MESSAGES]:
        turns += _texts(message.get("content"))
        if message["role"] == "user":
            break
    return turns


def _texts(content: Any) -> list[str]:
    """Return the texts of a content, and of an image or a clip its address, the data itself if it is one."""
    if isinstance(content, str):
        return [content]
    if not isinstance(content, (list, tuple)):
        return []
    return [
        text
        for part in content
        if isinstance(part, dict)
        for value in part.values()
        for text in (value, *(value.values() if isinstance(value, dict) else ()))
        if isinstance(text, str)
    ]
