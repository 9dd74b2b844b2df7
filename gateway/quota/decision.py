"""What was decided about one request."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Decision:
    """Granted where there is nothing to wait for."""

    wait_seconds: float
    waits_for: int
    """The bucket's number in its plan, from 1, or minus the number of the set of concurrent requests."""
    balances: tuple[float, ...]
    """Of the plan's buckets, after it."""

    @property
    def granted(self) -> bool:
        """Whether the request was taken."""
        return self.wait_seconds == 0
