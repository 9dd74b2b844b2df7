"""Settles on their way to Redis. What it has not confirmed is held in memory, bounded, and sent again."""

from __future__ import annotations

from collections import deque
from functools import partial

from gateway.quota.calls import Arguments
from gateway.store import Prepared, Store
from gateway.telemetry.metrics import Metrics

_MAX_HELD = 10_000


class Settles:
    """Posted, never awaited. Whatever is held when the process is killed is lost; the reaper books it then.

    Sending one twice does no harm: the second finds the reservation closed.
    """

    def __init__(self, store: Store, metrics: Metrics) -> None:
        self._store = store
        self._metrics = metrics
        self._held: deque[tuple[Prepared, Arguments]] = deque()
        metrics.settles_held.set_function(lambda: len(self._held))

    @property
    def held(self) -> int:
        """How many wait for Redis."""
        return len(self._held)

    def send(self, call: Prepared, arguments: Arguments) -> None:
        """Send it, or hold it while Redis is away."""
        self._store.post_prepared(call, arguments, partial(self._hold, call, arguments))

    def flush(self) -> None:
        """Send what is held, if Redis is there."""
        if self._held and self._store.healthy:
            held, self._held = self._held, deque()
            for call, arguments in held:
                self.send(call, arguments)

    def _hold(self, call: Prepared, arguments: Arguments) -> None:
        self._held.append((call, arguments))
        if len(self._held) > _MAX_HELD:
            self._held.popleft()
            self._metrics.settles_lost.inc()
