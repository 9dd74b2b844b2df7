"""The table of engines, the requests in flight at each, and the queue for a place.

Counts are this process's own: they are exact at once, where an engine's metrics lag by seconds.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, field
from functools import partial
from urllib.parse import urlsplit

from config import Settings
from gateway.domain import Replica, bracketed
from gateway.errors import Overloaded
from gateway.routing.choose import choose, fits
from gateway.routing.member import Member, State
from gateway.telemetry.metrics import Metrics

_STARTING_RETRY_MS = 2000
_FULL_RETRY_MS = 1000


@dataclass(slots=True)
class Place:
    """One request's place at an engine; released once, by whoever holds it."""

    member: Member
    _fleet: Fleet = field(repr=False)
    _held: bool = True

    @property
    def replica(self) -> Replica:
        """Where to send the request."""
        return self.member.replica

    def release(self) -> None:
        """Give the place to whoever waits. Any number of times, never waits."""
        if self._held:
            self._held = False
            self._fleet.leave(self.member)


@dataclass(slots=True, eq=False)
class _Waiter:
    model: str
    avoiding: frozenset[str]
    granted: asyncio.Future[Member]


class Fleet:
    """The engines. Every change happens on the event loop, so no lock is needed."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        routing = settings.routing
        self.members = [Member(replica) for replica in _replicas(settings)]
        self._models = frozenset({settings.engine.served_model_name})
        self._max_in_flight = routing.max_in_flight or (
            settings.engine.max_queued_requests or 2 * settings.engine.max_num_seqs
        )
        self._max_queued = routing.max_queued
        self._queue_seconds = routing.queue_seconds
        self._waiters: deque[_Waiter] = deque()
        self._metrics = metrics
        # Read when asked for: a gauge that is set at every turn of a request costs more than the turn.
        metrics.queued.set_function(lambda: len(self._waiters))
        for member in self.members:
            metrics.replica_in_flight.labels(member.replica.name).set_function(partial(_in_flight, member))

    @property
    def models(self) -> frozenset[str]:
        """The models that engines serve; before any has answered, the one that the settings name."""
        return self._models

    @property
    def ready(self) -> bool:
        """Whether a request sent now could start."""
        return any(member.state is State.READY for member in self.members)

    async def place(self, model: str, avoiding: Collection[str] = ()) -> Place:
        """Return a place at an engine, waiting up to routing.queue_seconds for one. Raises Overloaded."""
        # Whoever waits has no engine to go to, or would have been granted it: so what is free here is nobody's.
        member = choose(self.members, model, avoiding, self._max_in_flight)
        if member is not None:
            return Place(self._take(member), self)
        return Place(await self._wait(model, frozenset(avoiding)), self)

    def learned(self, member: Member, models: frozenset[str]) -> None:
        """Note what an engine serves."""
        member.models = models
        self._models = frozenset(name for each in self.members for name in each.models) or self._models
        self._grant()

    def mark_sick(self, member: Member, reason: str) -> None:
        """Take an engine out of the choice until the watcher finds it healthy again, and have it look at once."""
        member.last_error = reason
        member.doubted.set()
        if member.state is State.READY:
            self.set_state(member, State.SICK)

    def set_state(self, member: Member, state: State) -> None:
        """Set an engine's state; one that becomes ready takes from the queue."""
        member.state = state
        self._metrics.replica_ready.labels(member.replica.name).set(state is State.READY)
        self._grant()

    def leave(self, member: Member) -> None:
        """Count a request out. Called by Place.release only."""
        member.in_flight -= 1
        self._grant()

    def _take(self, member: Member) -> Member:
        member.in_flight += 1
        return member

    async def _wait(self, model: str, avoiding: frozenset[str]) -> Member:
        """Return a member that this request has been counted in at."""
        if not any(fits(member, model, avoiding) for member in self.members):
            raise Overloaded("No engine is ready for this model right now.", retry_after_ms=_STARTING_RETRY_MS)
        if len(self._waiters) >= self._max_queued:
            raise Overloaded("The server is overloaded. Please try again.", retry_after_ms=_FULL_RETRY_MS)
        waiter = _Waiter(model, avoiding, asyncio.get_running_loop().create_future())
        self._waiters.append(waiter)
        try:
            async with asyncio.timeout(self._queue_seconds):
                return await waiter.granted
        except BaseException as error:
            self._withdraw(waiter)
            if isinstance(error, TimeoutError):
                raise Overloaded(
                    "No engine had room in time. Please try again.", retry_after_ms=_FULL_RETRY_MS
                ) from None
            raise

    def _grant(self) -> None:
        """Give free places to waiters in the order they came, passing over those whose engines are still full."""
        for waiter in tuple(self._waiters):
            member = choose(self.members, waiter.model, waiter.avoiding, self._max_in_flight)
            # One that was cancelled stays in the queue until its task runs; its future takes nothing any more.
            if member is not None and not waiter.granted.done():
                self._waiters.remove(waiter)
                waiter.granted.set_result(self._take(member))

    def _withdraw(self, waiter: _Waiter) -> None:
        """Forget a waiter that gave up; a place granted in that very turn goes back."""
        if waiter in self._waiters:
            self._waiters.remove(waiter)
        elif waiter.granted.done() and not waiter.granted.cancelled():
            self.leave(waiter.granted.result())


def _in_flight(member: Member) -> float:
    return member.in_flight


def _replicas(settings: Settings) -> list[Replica]:
    urls = settings.routing.engines or (f"http://{bracketed(settings.engine.host)}:{settings.engine.port}",)
    return [replica_of(url) for url in urls]


def replica_of(url: str) -> Replica:
    """Return the engine at `http://host:port`, or at the socket of `unix:///path`. Raises ValueError."""
    parts = urlsplit(url)
    if parts.scheme == "unix" and parts.path:
        return Replica(name=parts.path, host="localhost", port=80, unix_socket=parts.path)
    if parts.scheme != "http" or not parts.hostname or parts.path.strip("/"):
        raise ValueError(f"'{url}' is not an engine's base URL: http://host:port or unix:///path")
    port = parts.port or 80
    return Replica(name=f"{bracketed(parts.hostname)}:{port}", host=parts.hostname, port=port)
