"""A connection without a socket: what the loop would call is called by the test."""

from __future__ import annotations

import asyncio
from typing import Any

from gateway.domain import Replica
from gateway.upstream.connection import EngineConnection
from gateway.upstream.exchange import Deadlines, Exchange

REPLICA = Replica("r", "127.0.0.1", 1)
PATIENT = Deadlines(headers=5, idle=5, total=5)


class FakeTransport(asyncio.Transport):
    """Records what is done to it; aborting tells the protocol in the loop's next turn, as real ones do."""

    def __init__(self, protocol: EngineConnection) -> None:
        super().__init__()
        self.protocol = protocol
        self.written: list[bytes] = []
        self.reading = True
        self.closing = False
        self.unsent = 0

    def write(self, data: Any) -> None:
        self.written.append(bytes(data))

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def pause_reading(self) -> None:
        assert self.reading
        self.reading = False

    def resume_reading(self) -> None:
        assert not self.reading
        self.reading = True

    def is_reading(self) -> bool:
        return self.reading

    def is_closing(self) -> bool:
        return self.closing

    def abort(self) -> None:
        if not self.closing:
            self.closing = True
            asyncio.get_running_loop().call_soon(self.protocol.connection_lost, None)


class Wire:
    """One connection and the exchange on it."""

    def __init__(self, deadlines: Deadlines = PATIENT) -> None:
        self.lost: list[EngineConnection] = []
        self.released: list[EngineConnection] = []
        self.connection = EngineConnection(REPLICA, self.lost.append)
        self.transport = FakeTransport(self.connection)
        self.connection.connection_made(self.transport)
        self.exchange = Exchange(self.connection, deadlines, self.released.append)

    def feed(self, data: bytes) -> None:
        """Let bytes arrive, unless the socket is closed."""
        if not self.transport.closing:
            self.connection.data_received(data)

    def end(self, cause: Exception | None = None) -> None:
        """Let the connection end as the loop would tell it."""
        if self.transport.closing:
            return
        if cause is None:
            self.connection.eof_received()
            self.transport.abort()
        else:
            self.transport.closing = True
            self.connection.connection_lost(cause)
