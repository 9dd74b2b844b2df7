"""What the scripts are told that is the same for everybody."""

from __future__ import annotations

import time
from dataclasses import dataclass

from config import LimitsSettings

_DAY_SECONDS = 86_400
SERVER_TIME = 0
"""The moment that gateways give: none, so that Redis's clock is the one for all of them."""


@dataclass(frozen=True, slots=True)
class Terms:
    """Of one day."""

    day: str
    """In UTC, as the ledger calls it."""
    lease_us: int
    ledger_seconds: int
    """How long a day of the ledger is kept; 0: there is none."""
    moment_us: int = SERVER_TIME


class Calendar:
    """Gives the terms of today: the same object all day, so that what is made by it can be told to be of today."""

    def __init__(self, settings: LimitsSettings) -> None:
        self.lease_us = int(settings.lease_seconds * 1_000_000)
        kept_days = settings.usage_retention_days
        self.ledger_seconds = (kept_days + 1) * _DAY_SECONDS if kept_days else 0
        self._begins = self._ends = 0
        self._terms = self.today()

    def today(self) -> Terms:
        """Return the terms of the day in UTC."""
        now = time.time()
        if not self._begins <= now < self._ends:
            self._begins = int(now) // _DAY_SECONDS * _DAY_SECONDS
            self._ends = self._begins + _DAY_SECONDS
            day = time.strftime("%Y-%m-%d", time.gmtime(self._begins))
            self._terms = Terms(day, self.lease_us, self.ledger_seconds)
        return self._terms
