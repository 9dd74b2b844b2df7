"""How many second tries there may be: a share of the traffic, so that retries cannot make an outage worse. Pure.

The bucket of gRPC's retry throttling (gRFC A6): each request puts a part of a token in, each second try takes one out.
"""

from __future__ import annotations

from dataclasses import dataclass

_SPARE = 20.0
"""Second tries that are there at once: a single engine's failure, under little traffic, is hidden in full."""


@dataclass(slots=True)
class RetryBudget:
    """`share` of the requests may be tried a second time."""

    share: float
    tokens: float = _SPARE

    def deposit(self) -> None:
        """Count a request."""
        if self.tokens < _SPARE:
            self.tokens = min(_SPARE, self.tokens + self.share)

    def withdraw(self) -> bool:
        """Take a second try; False: there is none left."""
        if self.tokens < 1.0:
            return False
        self.tokens -= 1.0
        return True
