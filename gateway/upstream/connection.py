"""One socket to one engine. Knows nothing of HTTP: bytes go to the exchange that has the connection now."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol, cast

from gateway.domain import Replica


class Receiver(Protocol):
    """What a connection tells the exchange that has it."""

    def feed(self, data: bytes) -> None:
        """Bytes came."""

    def ended(self, cause: Exception | None) -> None:
        """No more bytes will come; `cause` is None after an orderly end. May be called twice."""

    def writable(self) -> None:
        """The socket takes bytes again."""

    def watch(self) -> None:
        """It is time to look at the deadlines."""


class EngineConnection(asyncio.Protocol):
    """Owned by the pool while idle, by an exchange while `begin` … `leave`; aborting is allowed at any time."""

    transport: asyncio.Transport

    def __init__(self, replica: Replica, on_lost: Callable[[EngineConnection], None]) -> None:
        self.replica = replica
        self.usable = False
        self.can_write = True
        self.idle_since = 0.0
        self.loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._receiver: Receiver | None = None
        self._on_lost = on_lost

    def begin(self, receiver: Receiver) -> None:
        """Hand over to `receiver`: all that comes from now on is its."""
        self._receiver = receiver

    def watch_at(self, when: float) -> None:
        """Have the receiver look at its deadlines at `when`, by the loop's clock, or sooner.

        The timer outlives the request: with the next one it is nearly always early enough already.
        """
        if self._timer is not None:
            if self._timer.when() <= when:
                return
            self._timer.cancel()
        self._timer = self.loop.call_at(when, self._watch)

    def _watch(self) -> None:
        self._timer = None
        if self._receiver is not None:
            self._receiver.watch()

    def leave(self) -> None:
        """Belong to nobody; whatever comes now is unasked for and ends the connection."""
        self._receiver = None

    def alive(self) -> bool:
        """Say whether another request may be sent."""
        return self.usable and not self.transport.is_closing()

    def abort(self) -> None:
        """Close the socket at once, without sending what is still buffered."""
        self._receiver = None
        self.usable = False
        self.transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the loop."""
        self.transport = cast(asyncio.Transport, transport)
        self.usable = True

    def data_received(self, data: bytes) -> None:
        """Called by the loop."""
        if self._receiver is None:
            self.abort()
        else:
            self._receiver.feed(data)

    def eof_received(self) -> None:
        """Called by the loop; returning None lets it close the socket."""
        self._end(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the loop, exactly once."""
        if self._timer is not None:
            self._timer.cancel()
        self._end(exc)
        self._receiver = None
        self._on_lost(self)

    def _end(self, cause: Exception | None) -> None:
        self.usable = False
        if self._receiver is not None:
            self._receiver.ended(cause)

    def pause_writing(self) -> None:
        """Called by the loop when the engine takes bytes more slowly than we give them."""
        self.can_write = False

    def resume_writing(self) -> None:
        """Called by the loop."""
        self.can_write = True
        if self._receiver is not None:
            self._receiver.writable()
