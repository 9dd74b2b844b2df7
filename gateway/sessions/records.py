"""What a session and a message look like, in Redis and in an answer."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

import orjson

from gateway.domain import JsonObject, SessionId


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """A session without its messages. Times are Unix seconds."""

    id: SessionId
    user: str
    system: str
    title: str
    model: str
    ttl_seconds: int
    created_at: int
    updated_at: int
    message_count: int
    bytes: int

    def as_json(self) -> JsonObject:
        """Return the API's shape."""
        return {
            "id": self.id,
            "object": "session",
            "title": self.title,
            "system": self.system,
            "model": self.model or None,
            "ttl_seconds": self.ttl_seconds,
            "created_at": self.created_at,
            "updated_at": self.updated_at,
            "message_count": self.message_count,
        }


def new_session_id() -> SessionId:
    """Return an id that cannot be guessed."""
    return SessionId(f"sess_{secrets.token_hex(16)}")


def session_record(session_id: SessionId, fields: dict[str, str]) -> SessionRecord:
    """Return the record kept in a session's hash."""
    return SessionRecord(
        id=session_id,
        user=fields["user"],
        system=fields["system"],
        title=fields["title"],
        model=fields["model"],
        ttl_seconds=int(fields["ttl_seconds"]),
        created_at=int(fields["created_at"]),
        updated_at=int(fields["updated_at"]),
        message_count=int(fields["message_count"]),
        bytes=int(fields["bytes"]),
    )


def stored_message(role: str, content: str | list[JsonObject], created_at: int, finish_reason: str | None) -> bytes:
    """Return a message as the list keeps it; it already has the API's shape."""
    return orjson.dumps(
        {
            "id": f"msg_{secrets.token_hex(12)}",
            "object": "session.message",
            "role": role,
            "content": content,
            "created_at": created_at,
            "finish_reason": finish_reason,
        }
    )
