"""How fast engines serve, measured; and how long who waits will wait. Pure."""

from __future__ import annotations

from dataclasses import dataclass

_REMEMBERED = 32
"""Requests that the mean is made of, the later ones more than the earlier."""
_LEAST_RETRY_MS = 100
_FIRST_RETRY_MS = 1000
"""Told while nothing has been measured."""


@dataclass(slots=True)
class ServiceRate:
    """The mean time that a request holds its place.

    By Little's law, engines that are full with n requests of this mean end n of them in that time. That is the rate at
    which the line moves, and unlike a count of what has ended it does not fall when there is little to do.
    """

    hold_seconds: float = 0.0
    _seen: int = 0

    def ended(self, held_seconds: float) -> None:
        """Note a request that an engine has answered."""
        self._seen = min(self._seen + 1, _REMEMBERED)
        self.hold_seconds += (held_seconds - self.hold_seconds) / self._seen

    def wait_seconds(self, ahead: int, in_flight: int) -> float | None:
        """Return how long it takes until `ahead` others and one more have got a place; None: nothing is known."""
        if not self._seen or not in_flight:
            return None
        return (ahead + 1) * self.hold_seconds / in_flight


def retry_after_ms(wait_seconds: float | None, spread: float) -> int:
    """Return what to tell who is refused: when all who wait now will have been served.

    `spread`, from 0 to 1, adds up to a quarter, so that those who were refused together do not come back together.
    """
    if wait_seconds is None:
        return _FIRST_RETRY_MS
    return max(_LEAST_RETRY_MS, round(wait_seconds * 1000 * (1 + spread / 4)))
