"""One request and its answer on one connection: sending, waiting, deadlines, backpressure, letting go.

Everything runs in the loop's callbacks. There is no task and no queue: at most one future, while the reader waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Self

from gateway.domain import Sink
from gateway.errors import EngineBroke, EngineFailure, EngineTimedOut
from gateway.upstream.connection import EngineConnection
from gateway.upstream.http_answer import HttpAnswer

_HIGH_WATER_BYTES = 65_536
"""With more than this unread, the socket is not read. So an answer holds this and one read of the socket at most."""

_WRITE_SLICE_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class Deadlines:
    """How long an engine may take, in seconds.

    `headers` runs from sending to the end of the head; `idle` from one arrival to the next, while we are reading;
    `total` from sending to the last byte, whoever is slow.
    """

    headers: float
    idle: float
    total: float

    first: float = field(init=False)
    """When any of them could have passed."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "first", min(self.headers, self.idle, self.total))


class Exchange:
    """An `UpstreamStream`. Owns its connection until `close()`, which gives it to `release` or aborts it."""

    __slots__ = (
        "_answer",
        "_connection",
        "_deadlines",
        "_failure",
        "_heard_at",
        "_loop",
        "_paused",
        "_release",
        "_sent",
        "_sink",
        "_started_at",
        "_waiter",
        "headers",
        "status",
    )

    def __init__(
        self, connection: EngineConnection, deadlines: Deadlines, release: Callable[[EngineConnection], None]
    ) -> None:
        self.status = 0
        self.headers: Mapping[bytes, bytes] = {}
        self._answer = HttpAnswer()
        self._connection: EngineConnection | None = connection
        self._deadlines = deadlines
        self._release = release
        self._failure: EngineFailure | None = None
        self._paused = False
        self._sent = False
        self._sink: Sink | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._loop = connection.loop
        self._started_at = self._heard_at = self._loop.time()
        connection.begin(self)
        # One timer for all deadlines; it looks at the clock and is set anew, so that arriving bytes never touch it.
        connection.watch_at(self._started_at + deadlines.first)

    async def asked(self, head: bytes, body: bytes) -> Self:
        """Send the request; return self once `status` and `headers` are the answer's.

        Raises EngineFailure, and is closed then.
        """
        answer = self._answer
        try:
            if len(body) <= _WRITE_SLICE_BYTES:
                self._send_small(head, body)
            else:
                await self._send_large(head, body)
            while not answer.status:
                if self._failure is not None:
                    raise self._failure
                await self._wait()
        except BaseException:
            self.close()
            raise
        self.status = answer.status
        self.headers = answer.headers
        return self

    def _send_small(self, head: bytes, body: bytes) -> None:
        connection = self._connection
        if connection is not None:
            connection.transport.write(head + body)
            self._sent = True

    async def _send_large(self, head: bytes, body: bytes) -> None:
        """Write it all as fast as the socket takes it; stop if the engine answers before its end."""
        connection = self._connection
        if connection is None:
            return
        connection.transport.write(head)
        rest = memoryview(body)
        while rest and not self._answer.status and self._failure is None:
            if connection.can_write:
                connection.transport.write(rest[:_WRITE_SLICE_BYTES])
                rest = rest[_WRITE_SLICE_BYTES:]
            else:
                await self._wait()
        self._sent = not rest

    async def read(self) -> bytes:
        """Return what has come of the body, `b""` at its end. Raises EngineFailure. One reader at a time."""
        answer = self._answer
        while not answer.buffered:
            if answer.complete:
                return b""
            if self._failure is not None:
                raise self._failure
            await self._wait()
        data = answer.take()
        if self._paused:
            self._resume()
        return data

    async def pump(self, sink: Sink) -> None:
        """Give `sink` what comes: see `UpstreamStream.pump`. It spares the reader a turn of the loop for each piece."""
        answer = self._answer
        if answer.buffered or answer.complete or self._failure is not None:
            return
        self._sink = sink
        try:
            await self._wait()
        finally:
            self._sink = None

    def close(self) -> None:
        """Let go: see `UpstreamStream.close`."""
        connection = self._connection
        if connection is None:
            return
        self._detach()
        self._answer.take()
        if self._may_serve_again(connection):
            connection.leave()
            self._release(connection)
            return
        connection.abort()
        if not self._answer.complete:
            self._failure = EngineBroke("The engine's answer was closed before its end.")
            self._wake()

    def _may_serve_again(self, connection: EngineConnection) -> bool:
        if not (self._answer.complete and self._answer.keep_alive and self._sent and connection.alive()):
            return False
        if self._paused:
            connection.transport.resume_reading()
        return connection.transport.get_write_buffer_size() == 0

    def _detach(self) -> None:
        self._connection = None
        self._answer.release_parser()

    async def _wait(self) -> None:
        if self._waiter is not None:
            raise RuntimeError("an engine's answer has one reader")
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        except asyncio.CancelledError:
            self.close()
            raise
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # What the connection tells.

    def feed(self, data: bytes) -> None:
        """Take bytes from the socket."""
        try:
            self._answer.feed(data)
        except EngineBroke as failure:
            self._fail(failure)
            return
        self._heard_at = self._loop.time()
        if self._answer.complete:
            self._completed()
        elif self._sink is not None and self._pumped(self._sink):
            return
        elif self._answer.buffered > _HIGH_WATER_BYTES:
            self._pause()
        self._wake()

    def _pumped(self, sink: Sink) -> bool:
        """Return whether nothing is left to tell the reader, who is pumping."""
        answer = self._answer
        if not answer.buffered:
            return True
        if not sink(answer.peek()):
            self._sink = None
            return False
        answer.take()
        return True

    def _completed(self) -> None:
        # Without keep-alive, or with bytes after the answer, nothing that may still come is for us.
        if not self._answer.keep_alive and self._connection is not None:
            self._connection.abort()

    def ended(self, cause: Exception | None) -> None:
        """Take the end of the connection."""
        try:
            self._answer.end(cause)
        except EngineFailure as failure:
            self._fail(failure)
        self._wake()

    def writable(self) -> None:
        """Take the news that the socket takes bytes again."""
        self._wake()

    def _fail(self, failure: EngineFailure) -> None:
        """End with `failure`, which the reader gets after what has already come; the socket is closed now."""
        connection = self._connection
        if connection is not None:
            self._failure = failure
            self._detach()
            connection.abort()
            self._wake()

    # Backpressure and time.

    def _pause(self) -> None:
        if not self._paused and self._connection is not None and self._connection.alive():
            self._paused = True
            self._connection.transport.pause_reading()

    def _resume(self) -> None:
        self._paused = False
        self._heard_at = self._loop.time()
        if self._connection is not None and self._connection.alive():
            self._connection.transport.resume_reading()

    def watch(self) -> None:
        """Fail if a deadline has passed, else look again at the next."""
        if self._answer.complete or self._connection is None:
            return
        now = self._loop.time()
        total_at = self._started_at + self._deadlines.total
        silent_at = self._silent_at(now)
        if now >= total_at:
            self._fail(EngineTimedOut("The engine took too long for its answer."))
        elif now >= silent_at:
            self._fail(EngineTimedOut("The engine was silent for too long."))
        else:
            self._connection.watch_at(min(total_at, silent_at))

    def _silent_at(self, now: float) -> float:
        if not self._answer.status:
            return self._started_at + self._deadlines.headers
        # While we do not read, silence is our doing.
        return (now if self._paused else self._heard_at) + self._deadlines.idle
