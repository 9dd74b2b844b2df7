"""Idle connections, by replica. No queue and no limit: how many there may be is decided where requests are placed."""

from __future__ import annotations

import asyncio

from gateway.domain import Replica
from gateway.upstream.connection import EngineConnection


class Pool:
    """Owns the idle connections and knows the busy ones. The one used last is used next, so that a surplus ages out.

    `keep_alive_seconds` must be less than the engine's own, so that a connection is rarely closed under a request.
    """

    def __init__(self, keep_alive_seconds: float) -> None:
        self._keep_alive_seconds = keep_alive_seconds
        # A dict serves as an ordered set: the last one in constant time, any one removed in constant time.
        self._idle: dict[Replica, dict[EngineConnection, None]] = {}
        self._open: set[EngineConnection] = set()
        self._sweeper: asyncio.TimerHandle | None = None
        self._closed = False
        self._nothing_open = asyncio.Event()
        self._nothing_open.set()

    @property
    def open_connections(self) -> int:
        """Idle and busy ones."""
        return len(self._open)

    @property
    def idle_connections(self) -> int:
        """Those that wait for a request."""
        return sum(map(len, self._idle.values()))

    def add(self, connection: EngineConnection) -> None:
        """Know a new, busy connection. After `aclose` it is closed, which its exchange hears of like any end."""
        if not connection.usable:
            return
        self._open.add(connection)
        self._nothing_open.clear()
        if self._closed:
            connection.transport.abort()

    def take(self, replica: Replica) -> EngineConnection | None:
        """Return an idle connection, which is the caller's now, or None."""
        idle = self._idle.get(replica)
        while idle:
            connection = idle.popitem()[0]
            if connection.alive() and not self._expired(connection):
                return connection
            connection.abort()
        return None

    def _expired(self, connection: EngineConnection) -> bool:
        return connection.loop.time() - connection.idle_since >= self._keep_alive_seconds

    def put(self, connection: EngineConnection) -> None:
        """Take back a connection whose answer was read whole."""
        loop = connection.loop
        connection.idle_since = loop.time()
        self._idle.setdefault(connection.replica, {})[connection] = None
        if self._sweeper is None:
            self._sweeper = loop.call_later(self._keep_alive_seconds, self._sweep)

    def lost(self, connection: EngineConnection) -> None:
        """Forget a connection whose socket is closed."""
        self._open.discard(connection)
        if not self._open:
            self._nothing_open.set()
        idle = self._idle.get(connection.replica)
        if idle is not None:
            idle.pop(connection, None)
            if not idle:
                del self._idle[connection.replica]

    def forget(self, replica: Replica) -> None:
        """Close what is idle to `replica`. Busy connections go on; idle again, they age out."""
        for connection in self._idle.pop(replica, {}):
            connection.abort()

    def _sweep(self) -> None:
        self._sweeper = None
        expired = [connection for idle in self._idle.values() for connection in idle if self._expired(connection)]
        for connection in expired:
            del self._idle[connection.replica][connection]
            connection.abort()
        self._idle = {replica: idle for replica, idle in self._idle.items() if idle}
        if self._idle:
            oldest = min(connection.idle_since for idle in self._idle.values() for connection in idle)
            at = oldest + self._keep_alive_seconds
            self._sweeper = asyncio.get_running_loop().call_at(at, self._sweep)

    async def aclose(self) -> None:
        """Close all, busy ones too, and return when their sockets are gone."""
        self._closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        for connection in self._open:
            # Not `connection.abort()`: who reads from it must hear of the end.
            connection.usable = False
            connection.transport.abort()
        await self._nothing_open.wait()
