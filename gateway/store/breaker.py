"""A circuit breaker, pure: after a failure calls are refused for a while, then one is let through to try."""

from __future__ import annotations

from gateway.domain import Clock

_MISSED_SECONDS = 5.0


class Breaker:
    """Closed until a failure; then open for `open_seconds`; then half open for exactly one call."""

    def __init__(self, open_seconds: float, clock: Clock) -> None:
        self._open_seconds = open_seconds
        self._clock = clock
        self._open_until: float | None = None

    @property
    def closed(self) -> bool:
        """Whether the last call that ended went well."""
        return self._open_until is None

    @property
    def missed(self) -> bool:
        """Whether it is open and was so to a call of late: one that nobody tries any more is not missed."""
        return self._open_until is not None and self._clock() < self._open_until + _MISSED_SECONDS

    @property
    def open_until(self) -> float:
        """When a call may be tried; 0 while closed."""
        return self._open_until or 0.0

    def allows(self) -> bool:
        """Return whether a call may be made now; true once per period while open, which is the probe."""
        if self._open_until is None:
            return True
        now = self._clock()
        if now < self._open_until:
            return False
        self._open_until = now + self._open_seconds
        return True

    def failed(self) -> None:
        """Open, or stay open for another period."""
        self._open_until = self._clock() + self._open_seconds

    def succeeded(self) -> None:
        """Close."""
        self._open_until = None
