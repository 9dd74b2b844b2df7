"""Settles on their way to Redis. What it has not confirmed is held in memory, bounded, and sent again."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from gateway.store import Store, load_script
from gateway.telemetry.metrics import Metrics

SETTLE = load_script("gateway.quota", "settle.lua")
_MAX_HELD = 10_000

Argument = str | int | float


@dataclass(frozen=True, slots=True)
class Settle:
    """One call of the script. Sending it twice does no harm: the second finds the reservation closed."""

    keys: Sequence[str]
    arguments: Sequence[Argument]


class Settles:
    """Posted, never awaited. Whatever is held when the process is killed is lost; the reaper books it then."""

    def __init__(self, store: Store, metrics: Metrics) -> None:
        self._store = store
        self._metrics = metrics
        self._held: deque[Settle] = deque()
        metrics.settles_held.set_function(lambda: len(self._held))

    @property
    def held(self) -> int:
        """How many wait for Redis."""
        return len(self._held)

    def send(self, settle: Settle) -> None:
        """Send it, or hold it while Redis is away."""
        self._store.post_script(SETTLE, settle.keys, settle.arguments, partial(self._hold, settle))

    def flush(self) -> None:
        """Send what is held, if Redis is there."""
        if self._held and self._store.healthy:
            held, self._held = self._held, deque()
            for settle in held:
                self.send(settle)

    def _hold(self, settle: Settle) -> None:
        self._held.append(settle)
        if len(self._held) > _MAX_HELD:
            self._held.popleft()
            self._metrics.settles_lost.inc()
