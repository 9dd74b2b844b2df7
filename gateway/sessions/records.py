"""What a session is, in Redis and in an answer."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import Any

import orjson

from gateway.domain import JsonObject, SessionId
from gateway.store import Cipher

Fields = dict[str, bytes]
"""A session's hash as Redis has it."""


@dataclass(frozen=True, slots=True)
class SessionContent:
    """What a user says of a session; it is sealed where sessions are encrypted."""

    system: str = ""
    title: str = ""
    metadata: dict[str, str] = field(default_factory=dict)

    def sealed(self, cipher: Cipher, tenant: str) -> dict[str, bytes]:
        """Return the hash's fields."""
        plain = {
            "system": self.system.encode(),
            "title": self.title.encode(),
            "metadata": orjson.dumps(self.metadata) if self.metadata else b"",
        }
        return {name: cipher.seal(value, tenant) if value else b"" for name, value in plain.items()}


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """A session without its messages. Times are Unix seconds."""

    id: SessionId
    user: str
    content: SessionContent
    model: str
    ttl_seconds: int
    created_at: int
    updated_at: int
    message_count: int = 0
    bytes: int = 0
    cut: int = 0
    """How many of the first messages are not sent to the engine any more."""
    cut_tokens: int = 0
    """Of these, as the engine counted their turns, or else about."""
    pinned: tuple[int, ...] = ()
    """Which messages before the cut are sent all the same: those of role system and developer."""
    context_tokens: int = 0
    """Of the last prompt and its answer together, as the engine counted them; 0: not known."""
    system_version: str = ""
    """A word of its own for each system prompt that the session was given after its first."""

    def as_json(self) -> JsonObject:
        """Return the API's shape."""
        return {
            "id": self.id,
            "object": "session",
            "title": self.content.title,
            "system": self.content.system,
            "metadata": self.content.metadata,
            "model": self.model or None,
            "ttl_seconds": self.ttl_seconds,
            "created_at": self.created_at,
            "updated_at": self.updated_at,
            "message_count": self.message_count,
        }


def new_session_id() -> SessionId:
    """Return an id that cannot be guessed."""
    return SessionId(f"sess_{secrets.token_hex(16)}")


def session_record(session_id: SessionId, fields: Fields, cipher: Cipher, tenant: str) -> SessionRecord:
    """Return the record kept in a session's hash. Raises StoreDown where it is sealed with a key that is not ours."""
    sealed = [fields.get(name, b"") for name in ("system", "title", "metadata")]
    system, title, metadata = (cipher.open(value, tenant) if value else b"" for value in sealed)
    pinned = fields.get("pinned", b"")
    return SessionRecord(
        id=session_id,
        user=fields["user"].decode(),
        content=SessionContent(system.decode(), title.decode(), orjson.loads(metadata) if metadata else {}),
        model=fields["model"].decode(),
        ttl_seconds=int(fields["ttl_seconds"]),
        created_at=int(fields["created_at"]),
        updated_at=int(fields["updated_at"]),
        message_count=int(fields.get("message_count", 0)),
        bytes=int(fields.get("bytes", 0)),
        cut=int(fields.get("cut", 0)),
        cut_tokens=int(fields.get("cut_tokens", 0)),
        pinned=tuple(map(int, pinned.split(b","))) if pinned else (),
        context_tokens=int(fields.get("context_tokens", 0)),
        system_version=fields.get("system_version", b"").decode(),
    )


def fields_of(flat: list[Any]) -> Fields:
    """Return the hash behind HGETALL's flat reply."""
    return {name.decode(): value for name, value in zip(flat[::2], flat[1::2], strict=True)}
