"""How often an address has shown a credential that does not hold: counted after the check, which spares good ones."""

from __future__ import annotations

import math
import time
from collections import OrderedDict

from gateway.domain import Clock

_MAX_ADDRESSES = 10_000
_MINUTE_SECONDS = 60.0


class FailedAttempts:
    """A token bucket for each address, the least recent of too many forgotten. `per_minute` 0: without limit."""

    def __init__(self, per_minute: int, clock: Clock = time.monotonic) -> None:
        self._per_minute = per_minute
        self._clock = clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def failed(self, address: str) -> int:
        """Count one; return the milliseconds until the next is worth an answer, 0 while it is not too many."""
        if not self._per_minute:
            return 0
        now, rate = self._clock(), self._per_minute / _MINUTE_SECONDS
        left, at = self._left.pop(address, (float(self._per_minute), now))
        left = min(self._per_minute, left + (now - at) * rate)
        enough = left >= 1
        self._left[address] = (left - 1 if enough else left, now)
        if len(self._left) > _MAX_ADDRESSES:
            self._left.popitem(last=False)
        return 0 if enough else math.ceil((1 - left) / rate * 1000)
