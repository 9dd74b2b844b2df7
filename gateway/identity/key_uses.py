"""When keys were used last: noted in memory, written to Redis now and then and not for each request."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from gateway.errors import StoreDown
from gateway.identity.keys import KeyStore
from gateway.store import StoreRefused
from gateway.telemetry.logging import get_logger

_WRITE_SECONDS = 30.0
_MAX_NOTED = 10_000


class KeyUses:
    """What is noted while Redis is away, or refuses it, is written later, as long as it is not too much."""

    def __init__(
        self, keys: KeyStore, now: Callable[[], float] = time.time, write_seconds: float = _WRITE_SECONDS
    ) -> None:
        self._keys = keys
        self._now = now
        self._write_seconds = write_seconds
        self._noted: dict[str, int] = {}
        self._logger = get_logger()

    def note(self, key_id: str) -> None:
        """Note that a key was used just now."""
        if key_id in self._noted or len(self._noted) < _MAX_NOTED:
            self._noted[key_id] = int(self._now())

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Write from time to time, and what is left at the exit."""
        writing = asyncio.create_task(self._write_on())
        try:
            yield
        finally:
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)
            await self._write()

    async def _write_on(self) -> None:
        while True:
            await asyncio.sleep(self._write_seconds)
            await self._write()

    async def _write(self) -> None:
        noted, self._noted = self._noted, {}
        if not noted:
            return
        try:
            await self._keys.note_uses(noted)
        except StoreDown:
            self._keep(noted)
        except StoreRefused as error:
            self._keep(noted)
            self._logger.warning("key_uses_not_written", error=str(error))

    def _keep(self, noted: dict[str, int]) -> None:
        self._noted = {**noted, **self._noted}
