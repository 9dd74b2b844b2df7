"""One Redis: its connection, its breaker, and what it says of others where it is one of a cluster."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from config import RedisSettings
from gateway.domain import Clock
from gateway.store.address import Address, Listener, Patience
from gateway.store.breaker import Breaker
from gateway.store.command import away
from gateway.store.connection import Connection
from gateway.store.scripts import Script
from gateway.store.sentinel import Sentinels
from gateway.telemetry.metrics import Metrics


class Redirect(Exception):
    """Another node has the slot. `asks`: for this call only, as the slot is being moved there."""

    def __init__(self, slot: int, host: str, port: int, asks: bool) -> None:
        super().__init__(slot, host, port)
        self.slot = slot
        self.host = host
        self.port = port
        self.asks = asks


def redirect_of(text: str) -> Redirect:
    """Return what `MOVED 3999 127.0.0.1:6381` or `ASK …` says; an empty host is that of whoever said it."""
    kind, slot, place = text.split(" ")[:3]
    host, _, port = place.rpartition(":")
    return Redirect(int(slot), host, int(port), kind == "ASK")


class Node:
    """A Redis that calls are sent to. Its connection is opened by the first call, and again after it was lost."""

    def __init__(
        self,
        address: Address,
        settings: RedisSettings,
        metrics: Metrics,
        error: Callable[[str], Exception],
        clock: Clock,
        sentinels: Sentinels | None = None,
    ) -> None:
        self.address = address
        self.breaker = Breaker(settings.breaker_seconds, clock)
        self._patience = Patience(settings.connect_timeout_seconds, settings.timeout_seconds)
        self._listener = Listener(self._answered, self._lost, error)
        self._metrics = metrics
        self._sentinels = sentinels
        self._connection: Connection | None = None

    def connected(self) -> Connection:
        """Return the connection, a new one where the last is lost. Raises StoreDown while the breaker is open."""
        if not self.breaker.allows():
            raise away(sent=False)
        if self._connection is None or self._connection.closed:
            self._connection = Connection(self.address, self._patience, self._listener, self._sentinels)
        return self._connection

    def send_script(self, script: Script, packed: bytes) -> asyncio.Future[Any]:
        """Send a script's packed call. Raises StoreDown while the breaker is open."""
        connection = self.connected()
        return connection.send(connection.worded(script, packed))

    async def aclose(self) -> None:
        """Send what is pending, then close the connection."""
        if self._connection is not None:
            await self._connection.aclose()

    def _answered(self) -> None:
        self.breaker.succeeded()
        self._metrics.redis_up.set(1)

    def _lost(self, error: Exception) -> None:
        self.breaker.failed()
        self._metrics.redis_failed(type(error).__name__)
