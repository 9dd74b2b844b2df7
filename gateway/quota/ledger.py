"""The usage ledger, read: who used how much on which day. It is written by settle.lua and reap.lua."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta

import orjson

from gateway.store import Store, keys

_AT_ONCE = 1000
_TENANTS_AT_ONCE = 20


@dataclass(frozen=True, slots=True)
class UsageRow:
    """One user's use of one model on one day, in UTC."""

    day: str
    tenant: str
    user: str
    model: str
    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    unmetered_requests: int = 0
    """Whose tokens are the estimates, as an engine had them and told no count."""
    unsettled_requests: int = 0
    """Likewise, as their gateway was killed."""


_COLUMNS = {
    "requests": "requests",
    "prompt": "prompt_tokens",
    "completion": "completion_tokens",
    "cached": "cached_tokens",
    "unmetered": "unmetered_requests",
    "unsettled": "unsettled_requests",
}


class Ledger:
    """Every method raises StoreDown while Redis is away."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def of_tenant(self, tenant: str, days: Iterable[date], user: str | None = None) -> list[UsageRow]:
        """Return a tenant's rows, or one user's of them, by day, user and model."""
        found = await asyncio.gather(*(self._of_day(tenant, day.isoformat(), user) for day in days))
        return [row for rows in found for row in rows]

    async def of_all(self, days: Iterable[date]) -> list[UsageRow]:
        """Return every tenant's rows, by tenant, day, user and model."""
        names = sorted(name.decode() for name in await self._store.call("ZRANGE", keys.tenants(), 0, -1))
        wanted = tuple(days)
        rows: list[UsageRow] = []
        for start in range(0, len(names), _TENANTS_AT_ONCE):
            some = names[start : start + _TENANTS_AT_ONCE]
            for each in await asyncio.gather(*(self.of_tenant(tenant, wanted) for tenant in some)):
                rows += each
        return rows

    async def _of_day(self, tenant: str, day: str, user: str | None) -> list[UsageRow]:
        # Scanned in pieces: a large tenant's day must not keep Redis from everybody else.
        fields: dict[str, dict[str, int]] = defaultdict(dict)
        cursor = "0"
        while True:
            reply = await self._store.call("HSCAN", keys.usage(tenant, day), cursor, "COUNT", _AT_ONCE)
            flat = [item.decode() for item in reply[1]]
            for field, amount in zip(flat[::2], flat[1::2], strict=True):
                who, _, what = field.rpartition(":")
                fields[who][_COLUMNS[what]] = int(amount)
            cursor = reply[0].decode()
            if cursor == "0":
                return sorted(_rows(tenant, day, user, fields), key=lambda row: (row.user, row.model))


def _rows(tenant: str, day: str, user: str | None, fields: dict[str, dict[str, int]]) -> Iterator[UsageRow]:
    for who, amounts in fields.items():
        name, model = orjson.loads(who)
        # What was booked unsettled and then settled on another day leaves zeros behind.
        if (user is None or name == user) and any(amounts.values()):
            yield UsageRow(day, tenant, name, model, **amounts)


def days_between(first: date, last: date) -> list[date]:
    """Return the days from `first` to `last`, both included."""
    return [first + timedelta(days=index) for index in range((last - first).days + 1)]
