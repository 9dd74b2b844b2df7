"""The day that the ledger books on."""

from __future__ import annotations

from datetime import UTC, date, datetime


def today() -> date:
    """Return it, in UTC."""
    return datetime.now(UTC).date()
