"""Sessions in Redis: a hash and a list each, under the tenant's hash tag, gone after their time to live."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import Any

import orjson

from config import SessionsSettings
from gateway.domain import Caller, JsonObject, SessionId
from gateway.errors import InvalidRequest, SessionNotFound
from gateway.sessions.records import SessionRecord, new_session_id, session_record
from gateway.store import Store, keys, load_script

_LEASE = load_script("gateway.sessions", "lease.lua")
_APPEND = load_script("gateway.sessions", "append.lua")
_RELEASE = load_script("gateway.sessions", "release.lua")
_RENEW = load_script("gateway.sessions", "renew.lua")
_PRUNE = load_script("gateway.sessions", "prune.lua")
_SESSION_ID = re.compile("sess_[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Leased:
    """A session that this request alone may append to."""

    record: SessionRecord
    messages: tuple[JsonObject, ...]
    token: str


@dataclass(frozen=True, slots=True)
class Busy:
    """Another request holds the session, for at most `milliseconds` unless it renews."""

    milliseconds: int


class SessionStore:
    """Every method raises StoreDown while Redis is away, and SessionNotFound for what is not this caller's."""

    def __init__(self, store: Store, settings: SessionsSettings) -> None:
        self._store = store
        self._settings = settings

    async def create(
        self, caller: Caller, system: str, title: str, model: str, ttl_seconds: int | None
    ) -> SessionRecord:
        """Make an empty session. Raises InvalidRequest where the caller has too many."""
        await self._check_count(caller)
        now = int(time.time())
        record = SessionRecord(
            id=new_session_id(),
            user=caller.user,
            system=system,
            title=title,
            model=model,
            ttl_seconds=ttl_seconds or self._settings.ttl_seconds,
            created_at=now,
            updated_at=now,
            message_count=0,
            bytes=0,
        )
        key = keys.session(caller.tenant, record.id)
        await self._store.call("HSET", key, *_fields(record))
        await self._store.call("EXPIRE", key, record.ttl_seconds)
        await self._store.call("ZADD", keys.sessions_of(caller.tenant, caller.user), now, record.id)
        return record

    async def read(self, caller: Caller, session_id: SessionId) -> SessionRecord:
        """Return a session of the caller's."""
        check_session_id(session_id)
        flat = await self._store.call("HGETALL", keys.session(caller.tenant, session_id))
        fields = _unflatten(flat)
        if fields.get("user") != caller.user:
            raise session_not_found(session_id)
        return session_record(session_id, fields)

    async def page(self, caller: Caller, limit: int, after: SessionId | None) -> tuple[list[SessionRecord], bool]:
        """Return the caller's sessions, the latest used first, and whether there are more."""
        index = keys.sessions_of(caller.tenant, caller.user)
        start = 0
        if after is not None:
            rank = await self._store.call("ZREVRANK", index, after)
            if rank is None:
                raise InvalidRequest(f"There is no session '{after}' to go on after.", param="after")
            start = int(rank) + 1
        found: list[SessionRecord] = []
        ids = await self._store.call("ZREVRANGE", index, start, -1)
        for position, raw in enumerate(ids):
            if len(found) == limit:
                return found, position < len(ids)
            try:
                found.append(await self.read(caller, SessionId(raw.decode())))
            except SessionNotFound:
                # It has expired since it was last used; the index learns of it here.
                self._store.post("ZREM", index, raw)
        return found, False

    async def delete(self, caller: Caller, session_id: SessionId) -> None:
        """Delete a session and its messages."""
        await self.read(caller, session_id)
        names = (keys.session, keys.session_messages, keys.session_lease)
        await self._store.call("DEL", *(name(caller.tenant, session_id) for name in names))
        await self._store.call("ZREM", keys.sessions_of(caller.tenant, caller.user), session_id)

    async def messages(self, caller: Caller, session_id: SessionId) -> list[JsonObject]:
        """Return the session's messages in the API's shape, oldest first."""
        await self.read(caller, session_id)
        raw = await self._store.call("LRANGE", keys.session_messages(caller.tenant, session_id), 0, -1)
        return [orjson.loads(message) for message in raw]

    async def lease(self, caller: Caller, session_id: SessionId, token: str) -> Leased | Busy:
        """Try once to become the session's one writer, for sessions.lease_seconds unless renewed."""
        check_session_id(session_id)
        names = (keys.session, keys.session_messages, keys.session_lease)
        reply = await self._store.run(
            _LEASE,
            [name(caller.tenant, session_id) for name in names],
            [caller.user, token, self._lease_ms],
        )
        if reply[0] == b"missing":
            raise session_not_found(session_id)
        if reply[0] == b"busy":
            return Busy(max(1, int(reply[1])))
        record = session_record(session_id, _unflatten(reply[1]))
        return Leased(record, tuple(orjson.loads(message) for message in reply[2]), token)

    async def append(self, caller: Caller, leased: Leased, messages: list[bytes]) -> bool:
        """Append and give the lease back in one step. False if the lease was lost: nothing is written then."""
        session_id = leased.record.id
        names = (keys.session, keys.session_messages, keys.session_lease)
        all_keys = [name(caller.tenant, session_id) for name in names]
        all_keys.append(keys.sessions_of(caller.tenant, caller.user))
        return bool(await self._store.run(_APPEND, all_keys, [leased.token, int(time.time()), session_id, *messages]))

    async def renew(self, caller: Caller, leased: Leased) -> bool:
        """Hold the lease for another while, and the session with it. False if it was lost."""
        names = (keys.session, keys.session_messages, keys.session_lease)
        all_keys = [name(caller.tenant, leased.record.id) for name in names]
        return bool(await self._store.run(_RENEW, all_keys, [leased.token, self._lease_ms, leased.record.ttl_seconds]))

    def release(self, caller: Caller, session_id: SessionId, token: str) -> None:
        """Give the lease back without waiting, if it is `token`'s; if Redis is away it ends by itself."""
        self._store.post("EVAL", _RELEASE.text, 1, keys.session_lease(caller.tenant, session_id), token)

    @property
    def _lease_ms(self) -> int:
        return int(self._settings.lease_seconds * 1000)

    async def _check_count(self, caller: Caller) -> None:
        index = keys.sessions_of(caller.tenant, caller.user)
        if int(await self._store.call("ZCARD", index)) < self._settings.max_per_user:
            return
        # The index may still name sessions that have expired: count what is there before refusing.
        alive = await self._store.run(_PRUNE, [index], [keys.session(caller.tenant, SessionId(""))])
        if int(alive) >= self._settings.max_per_user:
            raise InvalidRequest(f"You have {alive} sessions, as many as allowed.", code="too_many_sessions")


def check_session_id(session_id: str) -> None:
    """Raise SessionNotFound for what no session is called: such a name could be that of another key."""
    if not _SESSION_ID.fullmatch(session_id):
        raise session_not_found(session_id)


def session_not_found(session_id: str) -> SessionNotFound:
    """Return the one error for what does not exist and for what is another's."""
    return SessionNotFound(f"There is no session '{session_id}'.", param="session_id")


def _fields(record: SessionRecord) -> list[str | int]:
    return [
        *("user", record.user, "system", record.system, "title", record.title, "model", record.model),
        *("ttl_seconds", record.ttl_seconds, "created_at", record.created_at, "updated_at", record.updated_at),
        *("message_count", record.message_count, "bytes", record.bytes),
    ]


def _unflatten(flat: Any) -> dict[str, str]:
    texts = [item.decode() for item in flat]
    return dict(zip(texts[::2], texts[1::2], strict=True))
