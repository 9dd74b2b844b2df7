"""What no longer holds although it has not expired: known to every gateway within a second, asked of Redis by none.

Each gateway has the whole list in memory and looks a few times a second whether it has changed (docs/adr has the why).
Entries are only ever added, and forgotten once nothing they are about can still be valid.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from gateway.errors import StoreDown
from gateway.identity.principal import Principal
from gateway.store import Store, StoreRefused, keys, load_script
from gateway.telemetry.logging import get_logger

_POLL_SECONDS = 0.4
_REVOKE = load_script("gateway.identity", "revoke.lua")


@dataclass(frozen=True, slots=True)
class Revocation:
    """`mark` is what is revoked, `at` the Unix time when it was, `until` when the entry may be forgotten."""

    mark: str
    at: float
    until: float

    def ends(self, principal: Principal) -> bool:
        """Whether a principal with this mark no longer holds.

        One token is revoked whenever it was made; of a subject or a key, all that was proved up to this moment.
        """
        return self.mark.startswith("jti:") or principal.since <= self.at


class Revocations:
    """Revokes, and says what is revoked. While Redis is away the last list holds, and nothing can be added."""

    def __init__(self, store: Store, now: Callable[[], float] = time.time, poll_seconds: float = _POLL_SECONDS) -> None:
        self._store = store
        self._now = now
        self._poll_seconds = poll_seconds
        self._version: bytes | None = None
        self._known: dict[str, Revocation] = {}
        self._on_change: list[Callable[[], None]] = []
        self._logger = get_logger()

    def on_change(self, call: Callable[[], None]) -> None:
        """Have `call` called whenever there are new entries."""
        self._on_change.append(call)

    def has(self, principal: Principal) -> bool:
        """Whether the principal no longer holds."""
        found = (self._known.get(mark) for mark in principal.marks) if self._known else ()
        return any(entry is not None and entry.ends(principal) for entry in found)

    async def revoke(self, mark: str, until: float, at: float | None = None) -> Revocation:
        """Revoke what has this mark and was proved by `at` (now), here at once and elsewhere within a second.

        Raises StoreDown.
        """
        now = self._now()
        entry = Revocation(mark, now if at is None else at, until)
        touched = [keys.revocations(), keys.revocations_version()]
        member = f"{entry.at:.6f}|{mark}"
        await self._store.run(_REVOKE, touched, [member, until, now, uuid.uuid4().hex])
        self._take([entry])
        return entry

    async def entries(self) -> list[Revocation]:
        """Return what Redis has, the next to be forgotten first, without what is no entry. Raises StoreDown."""
        flat: list[bytes] = await self._store.call(
            "ZRANGEBYSCORE", keys.revocations(), self._now(), "+inf", "WITHSCORES"
        )
        read = (self._read(member, score) for member, score in zip(flat[::2], flat[1::2], strict=True))
        return [entry for entry in read if entry is not None]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Follow the list until exit. It has been read before the body runs, if Redis is there."""
        await self._look()
        following = asyncio.create_task(self._follow())
        try:
            yield
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(self._poll_seconds)
            await self._look()

    async def _look(self) -> None:
        """Read what is new; what fails is tried again at the next look, whatever Redis has said to this one."""
        with suppress(StoreDown):
            try:
                await self._read_changes()
            except StoreRefused as error:
                self._logger.warning("revocations_not_read", error=str(error))

    async def _read_changes(self) -> None:
        # The version first: what is added in between is read now, and once more the next time.
        version: bytes | None = await self._store.call("GET", keys.revocations_version())
        if version != self._version:
            self._take(await self.entries())
            self._version = version

    def _read(self, member: bytes, score: bytes) -> Revocation | None:
        """Return an entry; None for what is none, which must not keep the others from being known."""
        try:
            return _entry(member, score)
        except ValueError as error:
            self._logger.warning("revocation_not_read", error=str(error))
            return None

    def _take(self, entries: list[Revocation]) -> None:
        """Add entries to what is known. What Redis has lost is not forgotten before its time."""
        now = self._now()
        known = {mark: entry for mark, entry in self._known.items() if entry.until > now}
        for entry in entries:
            before = known.get(entry.mark)
            known[entry.mark] = entry if before is None else _later(before, entry)
        changed, self._known = known != self._known, known
        if changed:
            for call in self._on_change:
                call()


def _later(one: Revocation, other: Revocation) -> Revocation:
    return Revocation(one.mark, max(one.at, other.at), max(one.until, other.until))


def _entry(member: bytes, score: bytes) -> Revocation:
    at, _, mark = member.decode().partition("|")
    return Revocation(mark, float(at), float(score))
