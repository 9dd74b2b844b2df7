"""The engine client: implements `gateway.domain.EngineClient` over TCP and unix sockets."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress

from gateway.domain import EngineRequest, Replica, UpstreamStream
from gateway.errors import EngineDied, EngineUnreachable
from gateway.upstream.connection import EngineConnection
from gateway.upstream.exchange import Deadlines, Exchange
from gateway.upstream.pool import Pool
from gateway.upstream.request_head import request_head

_PROBES = (
    (socket.SOL_SOCKET, "SO_KEEPALIVE", 1),
    (socket.IPPROTO_TCP, "TCP_KEEPIDLE", 5),
    (socket.IPPROTO_TCP, "TCP_KEEPINTVL", 5),
    (socket.IPPROTO_TCP, "TCP_KEEPCNT", 3),
    (socket.IPPROTO_TCP, "TCP_USER_TIMEOUT", 30_000),
)
"""A machine that is gone without a word is noticed in 30 s, while we write or wait: an answer may be silent longer.

The last of them holds for the others too (`tcp(7)`), and for an engine that reads nothing of what it is sent: so long a
living one may be held up.
"""
_PROBES_HERE = tuple((level, getattr(socket, name), value) for level, name, value in _PROBES if hasattr(socket, name))


class EngineConnections:
    """Keeps connections to engines and sends requests over them. One event loop; `aclose()` when done."""

    def __init__(
        self,
        *,
        connect_timeout_seconds: float = 2.0,
        headers_timeout_seconds: float = 600.0,
        idle_timeout_seconds: float = 120.0,
        total_timeout_seconds: float = 3600.0,
        keep_alive_seconds: float = 4.0,
    ) -> None:
        self._connect_timeout_seconds = connect_timeout_seconds
        self._deadlines = Deadlines(headers_timeout_seconds, idle_timeout_seconds, total_timeout_seconds)
        self._pool = Pool(keep_alive_seconds)
        self._closed = False

    @property
    def open_connections(self) -> int:
        """Sockets to engines, idle and busy."""
        return self._pool.open_connections

    @property
    def idle_connections(self) -> int:
        """Sockets that wait for a request."""
        return self._pool.idle_connections

    async def open(self, replica: Replica, request: EngineRequest) -> UpstreamStream:
        """Send `request` and return the answer once its status and headers are here. Raises errors.EngineFailure.

        The answer is the caller's to close. Cancelling closes the socket. ValueError: `request` is not sendable.
        """
        head = request_head(replica, request)
        kept = self._pool.take(replica)
        if kept is not None:
            try:
                return await Exchange(kept, self._deadlines, self._pool.put).asked(head, request.body)
            except EngineUnreachable:
                # A kept connection closed without a byte of an answer was most likely closed before it had the
                # request: the engine's keep-alive ran out, or it was restarted. A fresh one decides.
                pass
        try:
            fresh = await self._connect(replica)
        except EngineUnreachable as failure:
            if kept is None:
                raise
            # It was there when the request was sent, and is not any more.
            raise EngineDied(failure.message) from failure
        return await Exchange(fresh, self._deadlines, self._pool.put).asked(head, request.body)

    async def _connect(self, replica: Replica) -> EngineConnection:
        if self._closed:
            raise EngineUnreachable("The gateway is shutting down.")
        loop = asyncio.get_running_loop()
        connection = EngineConnection(replica, self._pool.lost)
        try:
            async with asyncio.timeout(self._connect_timeout_seconds):
                if replica.unix_socket is not None:
                    await loop.create_unix_connection(lambda: connection, replica.unix_socket)
                else:
                    # Both asyncio and uvloop set TCP_NODELAY by themselves.
                    transport, _ = await loop.create_connection(lambda: connection, replica.host, replica.port)
                    _probe(transport)
        except OSError as exc:  # TimeoutError and name resolution's errors are kinds of it.
            raise EngineUnreachable("The engine cannot be reached.") from exc
        self._pool.add(connection)
        return connection

    def forget(self, replica: Replica) -> None:
        """Close the idle connections to a replica that has left the fleet."""
        self._pool.forget(replica)

    async def aclose(self) -> None:
        """Close every connection, busy ones too; their readers get errors.EngineFailure."""
        self._closed = True
        await self._pool.aclose()


def _probe(transport: asyncio.BaseTransport) -> None:
    """Have the kernel find out whether the other end is there, once for all requests of a connection."""
    used: socket.socket = transport.get_extra_info("socket")
    with suppress(OSError):  # It may be closed again.
        for level, name, value in _PROBES_HERE:
            used.setsockopt(level, name, value)
