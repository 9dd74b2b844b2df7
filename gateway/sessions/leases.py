"""The right to append to a session: one request's at a time, and gone by itself if its gateway dies.

A lease is a key with a token that nobody can guess and an expiry. Appending checks the token in the same script that
writes, so the token is the fence: whoever has lost the lease, however late it comes, changes nothing.
See M. Kleppmann, "How to do distributed locking", 2016, on why the check must be where the data is.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil

from config import SessionsSettings
from gateway.domain import Caller, SessionId
from gateway.errors import StoreDown
from gateway.sessions.messages import Message, message
from gateway.sessions.records import SessionRecord, fields_of, session_record
from gateway.sessions.store import check_session_id, session_not_found
from gateway.store import Cipher, Store, keys, load_script

_LEASE = load_script("gateway.sessions", "lease.lua")
_APPEND = load_script("gateway.sessions", "append.lua")
_RELEASE = load_script("gateway.sessions", "release.lua")
_LEAVE = load_script("gateway.sessions", "leave.lua")
_RENEW = load_script("gateway.sessions", "renew.lua")
_LATER_SECONDS = (2.0, 6.0, 15.0)
"""When a Redis that was only slow, or was started again, answers as a rule: its breaker is tried every second."""


def later(give_back: Callable[[], None]) -> None:
    """Give a lease back in a while, and again, for when to do it now would reach nobody; else it ends by itself.

    Doing it once more does no harm: by its token a lease is given back once.
    """
    loop = asyncio.get_running_loop()
    for seconds in _LATER_SECONDS:
        loop.call_later(seconds, give_back)


@dataclass(frozen=True, slots=True)
class Leased:
    """A session that this request alone may append to, with what the engine is to see of it."""

    record: SessionRecord
    messages: tuple[Message, ...]
    """From the record's cut on, or all, as asked for."""
    token: str
    pinned: tuple[Message, ...] = ()
    """Messages before the cut that are sent all the same."""
    made: bool = False
    """Whether the session was made for this request: without its exchange there is none."""


@dataclass(frozen=True, slots=True)
class Busy:
    """Another request holds the session, for at most `milliseconds` unless it renews."""

    milliseconds: int


@dataclass(frozen=True, slots=True)
class Addition:
    """What an append changes."""

    messages: Sequence[bytes] = ()
    """As they are kept, not sealed yet."""
    keep: int | None = None
    """How many of the messages there stay; None: all."""
    kept_bytes: int = 0
    """Of those that stay, where not all do."""
    cut: int = 0
    cut_tokens: int = 0
    pinned: tuple[int, ...] = ()
    context_tokens: int = 0


class Leases:
    """Every method that waits raises StoreDown while Redis is away."""

    def __init__(self, store: Store, settings: SessionsSettings, cipher: Cipher) -> None:
        self._store = store
        self._cipher = cipher
        self.milliseconds = int(settings.lease_seconds * 1000)

    async def take(self, caller: Caller, session_id: SessionId, token: str, *, whole: bool = False) -> Leased | Busy:
        """Try once to become the session's one writer, for sessions.lease_seconds unless renewed.

        With all messages if `whole`. Raises SessionNotFound.
        """
        check_session_id(session_id)
        arguments: list[str | int] = [caller.user, token, self.milliseconds, int(whole), session_id]
        reply = await self._store.run(_LEASE, _keys(caller, session_id), arguments)
        if reply[0] == b"missing":
            raise session_not_found(session_id)
        if reply[0] == b"busy":
            return Busy(max(1, int(reply[1])))
        try:
            record = session_record(session_id, fields_of(reply[1]), self._cipher, caller.tenant)
            return Leased(record, self._opened(caller, reply[3]), token, self._opened(caller, reply[2]))
        except StoreDown:
            # Sealed with a key that is not ours: the session must not be held for that.
            self.release(caller, session_id, token)
            raise

    async def append(self, caller: Caller, leased: Leased, addition: Addition) -> bool:
        """Append and give the lease back in one step. False if the lease was lost: nothing is written then."""
        arguments = self._arguments(caller, leased, addition)
        return bool(await self._store.run(_APPEND, _keys(caller, leased.record.id), arguments))

    def post_append(self, caller: Caller, leased: Leased, addition: Addition) -> None:
        """Append without waiting, for what nobody is told of; if Redis is away it is lost."""
        self._store.post_script(_APPEND, _keys(caller, leased.record.id), self._arguments(caller, leased, addition))

    def renew(self, caller: Caller, leased: Leased) -> None:
        """Hold the lease for another while, and the session with it, without waiting; a lost one stays lost."""
        kept_seconds = ceil(self.milliseconds / 1000) if leased.made else leased.record.ttl_seconds
        arguments: list[str | int] = [leased.token, self.milliseconds, kept_seconds]
        self._store.post_script(_RENEW, _keys(caller, leased.record.id), arguments)

    def release(self, caller: Caller, session_id: SessionId, token: str) -> None:
        """Give the lease back without waiting, if it is `token`'s; if Redis is away it ends by itself."""
        self._store.post_script(_RELEASE, [keys.session_lease(caller.tenant, session_id)], [token])

    def leave(self, caller: Caller, leased: Leased, *, told: bool) -> None:
        """Give back a session that was made for a request and got no message: deleted, unless its id was told.

        Never waits; if Redis is away both end by themselves.
        """
        session_id = leased.record.id
        self._store.post_script(_LEAVE, _keys(caller, session_id), [leased.token, session_id, int(told)])

    def _opened(self, caller: Caller, stored: list[bytes]) -> tuple[Message, ...]:
        opened = self._cipher.open
        return tuple(message(opened(each, caller.tenant), len(each)) for each in stored if each is not None)

    def _arguments(self, caller: Caller, leased: Leased, addition: Addition) -> list[str | int | bytes]:
        sealed: list[str | int | bytes] = [self._cipher.seal(each, caller.tenant) for each in addition.messages]
        return [
            leased.token,
            int(time.time()),
            -1 if addition.keep is None else addition.keep,
            addition.kept_bytes,
            addition.cut,
            ",".join(map(str, addition.pinned)),
            addition.context_tokens,
            addition.cut_tokens,
            leased.record.system_version,
            *sealed,
        ]


def _keys(caller: Caller, session_id: SessionId) -> list[str]:
    names = (keys.session, keys.session_messages, keys.session_lease)
    return [*(name(caller.tenant, session_id) for name in names), keys.sessions_of(caller.tenant, caller.user)]
