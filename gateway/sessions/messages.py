"""Messages of a session: as the list in Redis keeps them, as the API shows them, as the engine is sent them.

A message is kept as it came, parts, tool calls and all; what the model's template wants is made of it each time.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from gateway.domain import JsonObject

_ASIDE = frozenset({"id", "object", "created_at", "finish_reason", "tokens"})
"""What is kept beside what was said."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message as it is kept, and its length there."""

    kept: JsonObject
    bytes: int

    @property
    def id(self) -> str:
        """Ours: `msg_…`."""
        return str(self.kept["id"])

    @property
    def role(self) -> str:
        """Who said it."""
        return str(self.kept["role"])

    @property
    def tokens(self) -> int:
        """Of the whole turn that ends with this message, as the engine counted them; 0: not known."""
        return int(self.kept.get("tokens") or 0)

    @property
    def said(self) -> JsonObject:
        """As a chat request has it."""
        return {name: value for name, value in self.kept.items() if name not in _ASIDE}

    def as_json(self) -> JsonObject:
        """Return the API's shape."""
        return {name: value for name, value in self.kept.items() if name != "tokens"}


def message(encoded: bytes, stored_bytes: int) -> Message:
    """Return the message behind its JSON."""
    return Message(orjson.loads(encoded), stored_bytes)


def new_message(said: JsonObject, created_at: int, finish_reason: str | None = None, tokens: int = 0) -> bytes:
    """Return a message that was just said, with an id, as it is kept."""
    kept = {
        "id": f"msg_{secrets.token_hex(12)}",
        "object": "session.message",
        "role": said["role"],
        "content": said.get("content"),
        "created_at": created_at,
        "finish_reason": finish_reason,
        **said,
    }
    return orjson.dumps(kept | {"tokens": tokens} if tokens else kept)


def ends_before_question(messages: Sequence[Message]) -> bool:
    """Whether the last of these is an answer, so that a question may follow."""
    return bool(messages) and messages[-1].role == "assistant" and not messages[-1].kept.get("tool_calls")
