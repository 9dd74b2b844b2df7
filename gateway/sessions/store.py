"""Sessions in Redis: a hash and a list each, under the tenant's hash tag, gone after their time to live.

Who answers a message holds the session's lease meanwhile; that is `leases.py`.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from config import SessionsSettings
from gateway.domain import Caller, SessionId
from gateway.errors import InvalidRequest, SessionNotFound
from gateway.sessions.messages import Message, message
from gateway.sessions.records import SessionContent, SessionRecord, fields_of, new_session_id, session_record
from gateway.store import Cipher, Store, keys, load_script
from gateway.telemetry.metrics import Metrics

_CREATE = load_script("gateway.sessions", "create.lua")
_READ = load_script("gateway.sessions", "read.lua")
_PAGE = load_script("gateway.sessions", "page.lua")
_UPDATE = load_script("gateway.sessions", "update.lua")
_DELETE = load_script("gateway.sessions", "delete.lua")
_FORK = load_script("gateway.sessions", "fork.lua")
_Fields = dict[str, str | int | bytes]
_SESSION_ID = re.compile("sess_[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class NewSession:
    """What a session is made with. `ttl_seconds` is None for the settings' own."""

    content: SessionContent = field(default_factory=SessionContent)
    model: str = ""
    ttl_seconds: int | None = None


class SessionStore:
    """Every method raises StoreDown while Redis is away, and SessionNotFound for what is not this caller's."""

    def __init__(self, store: Store, settings: SessionsSettings, cipher: Cipher, metrics: Metrics) -> None:
        self._store = store
        self._settings = settings
        self._cipher = cipher
        self._metrics = metrics

    async def create(self, caller: Caller, new: NewSession, lease: tuple[str, int] | None = None) -> SessionRecord:
        """Make an empty session, leased at once where a token and milliseconds are given.

        Raises InvalidRequest where the caller has too many.
        """
        record = self._record_of(caller, new)
        fields: _Fields = {
            **record.content.sealed(self._cipher, caller.tenant),
            "user": record.user,
            "model": record.model,
            "ttl_seconds": record.ttl_seconds,
            "created_at": record.created_at,
            "updated_at": record.updated_at,
            "message_count": 0,
            "bytes": 0,
        }
        token, lease_ms = lease or ("", 0)
        count = await self._store.run(
            _CREATE,
            [self._key(caller, record.id), self._index(caller), keys.session_lease(caller.tenant, record.id)],
            [
                *(self._prefix(caller), self._settings.max_per_user, record.id, time.time_ns() // 1_000_000),
                *(record.ttl_seconds, token, lease_ms),
                *_flat(fields),
            ],
        )
        if count:
            raise InvalidRequest(f"You have {count} sessions, as many as allowed.", code="too_many_sessions")
        self._metrics.sessions_made.inc()
        return record

    async def read(self, caller: Caller, session_id: SessionId) -> SessionRecord:
        """Return a session of the caller's."""
        check_session_id(session_id)
        fields = fields_of(await self._store.call("HGETALL", self._key(caller, session_id)))
        if fields.get("user") != caller.user.encode():
            raise session_not_found(session_id)
        return session_record(session_id, fields, self._cipher, caller.tenant)

    async def read_whole(self, caller: Caller, session_id: SessionId) -> tuple[SessionRecord, list[Message]]:
        """Return a session of the caller's with all its messages, oldest first: one moment's state."""
        record, stored = await self._stored(caller, session_id)
        return record, [message(self._cipher.open(each, caller.tenant), len(each)) for each in stored]

    async def page(
        self, caller: Caller, limit: int, after: SessionId | None = None
    ) -> tuple[list[SessionRecord], bool]:
        """Return the caller's sessions, the newest first, and whether there are more."""
        kind, *reply = await self._store.run(_PAGE, [self._index(caller)], [self._prefix(caller), limit, after or ""])
        if kind == b"unknown":
            raise InvalidRequest(f"There is no session '{after}' to go on after.", param="after")
        more, *found = reply
        pairs = zip(found[::2], found[1::2], strict=True)
        return [self._of(caller, SessionId(name.decode()), fields_of(flat)) for name, flat in pairs], bool(more)

    async def update(self, caller: Caller, session_id: SessionId, changes: Mapping[str, str | int]) -> SessionRecord:
        """Set fields of a session: `system`, `title`, `metadata` (as JSON), `model`, `ttl_seconds`."""
        check_session_id(session_id)
        arguments: list[str | int | bytes] = [caller.user, "updated_at", int(time.time())]
        if "system" in changes:
            # An answer under way was counted with the prompt of before: by the version its append can tell.
            arguments += ["context_tokens", 0, "system_version", secrets.token_hex(8)]
        for name, value in changes.items():
            sealed = isinstance(value, str) and name != "model"
            stored = self._cipher.seal(str(value).encode(), caller.tenant) if sealed and value else value
            arguments += [name, stored]
        all_keys = [self._key(caller, session_id), self._messages(caller, session_id), self._index(caller)]
        flat = await self._store.run(_UPDATE, all_keys, arguments)
        if not flat:
            raise session_not_found(session_id)
        return self._of(caller, session_id, fields_of(flat))

    async def delete(self, caller: Caller, session_id: SessionId) -> None:
        """Delete a session and its messages, also while it is held: the holder will not be able to append."""
        check_session_id(session_id)
        names = (keys.session, keys.session_messages, keys.session_lease)
        all_keys = [*(name(caller.tenant, session_id) for name in names), self._index(caller)]
        if not await self._store.run(_DELETE, all_keys, [caller.user, session_id]):
            raise session_not_found(session_id)

    async def fork(self, caller: Caller, session_id: SessionId, until: str | None, title: str | None) -> SessionRecord:
        """Return a new session with the messages of another, up to and including `until`; None: with all.

        Raises InvalidRequest for a message that is not there, or where the caller has too many sessions.
        """
        source, stored = await self._stored(caller, session_id)
        opened = [message(self._cipher.open(each, caller.tenant), len(each)) for each in stored]
        count = len(opened) if until is None else place_of(opened, until, "from") + 1
        content = source.content if title is None else replace(source.content, title=title)
        made = await self.create(caller, NewSession(content, source.model, source.ttl_seconds))
        forked = replace(
            made,
            message_count=count,
            bytes=sum(each.bytes for each in opened[:count]),
            cut=source.cut if source.cut < count else 0,
            cut_tokens=source.cut_tokens if source.cut < count else 0,
            pinned=source.pinned if source.cut < count else (),
            context_tokens=source.context_tokens if count == source.message_count else 0,
        )
        all_keys = [self._key(caller, session_id), self._messages(caller, session_id)]
        all_keys += [self._key(caller, made.id), self._messages(caller, made.id)]
        state: _Fields = {
            "message_count": forked.message_count,
            "bytes": forked.bytes,
            "cut": forked.cut,
            "cut_tokens": forked.cut_tokens,
            "pinned": ",".join(map(str, forked.pinned)),
            "context_tokens": forked.context_tokens,
        }
        last = stored[count - 1] if count else b""
        copied = await self._store.run(_FORK, all_keys, [caller.user, count, last, *_flat(state)])
        if not copied:
            await self.delete(caller, made.id)
            raise session_not_found(session_id)
        return forked

    async def _stored(self, caller: Caller, session_id: SessionId) -> tuple[SessionRecord, list[bytes]]:
        check_session_id(session_id)
        all_keys = [self._key(caller, session_id), self._messages(caller, session_id)]
        reply = await self._store.run(_READ, all_keys, [caller.user])
        if not reply:
            raise session_not_found(session_id)
        flat, stored = reply
        return self._of(caller, session_id, fields_of(flat)), stored

    def _record_of(self, caller: Caller, new: NewSession) -> SessionRecord:
        now = int(time.time())
        return SessionRecord(
            id=new_session_id(),
            user=caller.user,
            content=new.content,
            model=new.model,
            ttl_seconds=new.ttl_seconds or self._settings.ttl_seconds,
            created_at=now,
            updated_at=now,
        )

    def _of(self, caller: Caller, session_id: SessionId, fields: dict[str, bytes]) -> SessionRecord:
        return session_record(session_id, fields, self._cipher, caller.tenant)

    def _key(self, caller: Caller, session_id: SessionId) -> str:
        return keys.session(caller.tenant, session_id)

    def _messages(self, caller: Caller, session_id: SessionId) -> str:
        return keys.session_messages(caller.tenant, session_id)

    def _index(self, caller: Caller) -> str:
        return keys.sessions_of(caller.tenant, caller.user)

    def _prefix(self, caller: Caller) -> str:
        return keys.session(caller.tenant, SessionId(""))


def place_of(messages: list[Message], message_id: str, param: str) -> int:
    """Return where a message stands. Raises InvalidRequest naming the parameter that asks for it."""
    for index, each in enumerate(messages):
        if each.id == message_id:
            return index
    raise InvalidRequest(f"There is no message '{message_id[:64]}' in this session.", param=param, code="invalid_value")


def _flat(fields: _Fields) -> Iterator[str | int | bytes]:
    for name, value in fields.items():
        yield name
        yield value


def check_session_id(session_id: str) -> None:
    """Raise SessionNotFound for what no session is called: such a name could be that of another key."""
    if not _SESSION_ID.fullmatch(session_id):
        raise session_not_found(session_id)


def session_not_found(session_id: str) -> SessionNotFound:
    """Return the one error for what does not exist and for what is another's."""
    return SessionNotFound(f"There is no session '{session_id}'.", param="session_id")
