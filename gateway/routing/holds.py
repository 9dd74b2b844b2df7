"""Engines that an operator drains: kept in Redis, so that every gateway follows and a restart forgets nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from gateway.errors import StoreDown
from gateway.routing.fleet import Fleet
from gateway.routing.member import Member
from gateway.store import Store, StoreRefused, keys
from gateway.telemetry.logging import get_logger


class Holds:
    """Keeps the fleet to the set of drained engines. While Redis is away, it is as it was last."""

    def __init__(self, fleet: Fleet, store: Store, poll_seconds: float) -> None:
        self._fleet = fleet
        self._store = store
        self._poll_seconds = poll_seconds
        self._held: frozenset[str] = frozenset()
        self._logger = get_logger()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Follow until exit; read once before the body runs."""
        self._fleet.on_joined.append(self._apply)
        await self._try_to_read()
        task = asyncio.create_task(self._keep_reading())
        try:
            yield
        finally:
            self._fleet.on_joined.remove(self._apply)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def hold(self, replica: str) -> None:
        """Drain an engine: it ends what it has and gets nothing new, at any gateway. Raises StoreDown."""
        await self._store.call("SADD", keys.drained_engines(), replica)
        await self.read()

    async def release(self, replica: str) -> None:
        """Take a drained engine back. Raises StoreDown."""
        await self._store.call("SREM", keys.drained_engines(), replica)
        await self.read()

    async def read(self) -> None:
        """Read the set, and have the fleet follow. Raises StoreDown."""
        found: list[bytes] = await self._store.call("SMEMBERS", keys.drained_engines())
        self._held = frozenset(name.decode() for name in found)
        for member in self._fleet.members:
            self._apply(member)

    def _apply(self, member: Member) -> None:
        self._fleet.hold(member, held=member.replica.name in self._held)

    async def _keep_reading(self) -> None:
        while True:
            await asyncio.sleep(self._poll_seconds)
            await self._try_to_read()

    async def _try_to_read(self) -> None:
        """Read; what fails is tried again at the next round, whatever Redis has under the name."""
        with suppress(StoreDown):
            try:
                await self.read()
            except (StoreRefused, UnicodeDecodeError) as error:
                self._logger.warning("drained_engines_not_read", error=str(error))
