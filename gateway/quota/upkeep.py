"""What limits need beside requests: heartbeat, leases, held settles, reaping. One task for the whole process."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from config import LimitsSettings
from gateway.domain import RequestId
from gateway.errors import StoreDown
from gateway.quota.limiter import Limiter
from gateway.quota.terms import SERVER_TIME, Calendar
from gateway.store import Store, StoreRefused, keys, load_script
from gateway.telemetry.logging import get_logger
from gateway.telemetry.metrics import Metrics

BEAT = load_script("gateway.quota", "beat.lua")
RENEW = load_script("gateway.quota", "renew.lua")
REAP = load_script("gateway.quota", "reap.lua")
_BEAT_SECONDS = 1.0
_GONE_SECONDS = 10
_TENANTS_SECONDS = 60.0
_AT_ONCE = 500
"""Ids in one call of a script: Redis serves nobody else meanwhile."""
_TENANTS_AT_ONCE = 50
"""Reaped in one round trip."""
_DAY_SECONDS = 86_400
_LATEST_US = 3_600_000_000
"""A lease that ends later than this is of a clock that was set back: no gateway is given leases so long."""


def _nobody(_: int) -> None:
    pass


class Upkeep:
    """Keeps what the limiter has in Redis alive, and books what other gateways have left there."""

    def __init__(
        self,
        limiter: Limiter,
        settings: LimitsSettings,
        store: Store,
        metrics: Metrics,
        on_gateways: Callable[[int], None] = _nobody,
    ) -> None:
        """`on_gateways` is told at each heartbeat how many gateways there are."""
        self._limiter = limiter
        self._on_gateways = on_gateways
        self._store = store
        self._metrics = metrics
        self._calendar = Calendar(settings)
        self._lease_seconds = settings.lease_seconds
        self._retention_seconds = (settings.usage_retention_days + 2) * _DAY_SECONDS
        self._id = secrets.token_hex(8)
        self._logger = get_logger()
        self._renewed = self._reaped = self._noted = time.monotonic()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Do it until exit; then send what is held and sign off."""
        task = asyncio.create_task(self._run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            self._limiter.settles.flush()
            self._store.post("ZREM", keys.gateways(), self._id)

    async def round(self) -> None:
        """Do what is due. The order matters after an outage: what lives is settled and renewed before any reaping.

        Raises StoreDown, StoreRefused.
        """
        # The heartbeat comes first: it is also what finds out that Redis is back when nobody else calls.
        self._limiter.gateways = max(1, await self.beat())
        self._metrics.gateways.set(self._limiter.gateways)
        self._on_gateways(self._limiter.gateways)
        self._limiter.note_again()
        self._limiter.settles.flush()
        now = time.monotonic()
        if now - self._noted >= _TENANTS_SECONDS:
            self._noted = now
            self._limiter.tenants.clear()
        if now - self._renewed >= self._lease_seconds / 3:
            self._renewed = now
            await self.renew()
        if now - self._reaped >= self._lease_seconds:
            self._reaped = now
            await self.reap()

    async def beat(self) -> int:
        """Say that this gateway is there; return how many are. Raises StoreDown."""
        return int(await self._store.run(BEAT, [keys.gateways()], [self._id, _GONE_SECONDS]))

    async def renew(self) -> None:
        """Hold every open reservation of this process for another lease. Raises StoreDown."""
        tenants: dict[str, list[RequestId]] = defaultdict(list)
        for request_id, permit in self._limiter.open.items():
            tenants[permit.plan.tenant].append(request_id)
        for tenant, ids in tenants.items():
            for start in range(0, len(ids), _AT_ONCE):
                await self._renew(tenant, ids[start : start + _AT_ONCE])

    async def reap(self) -> None:
        """Book what any gateway has left open, of any tenant; one that fails does not keep the others.

        Raises StoreDown, StoreRefused.
        """
        tenants = [name.decode() for name in await self._store.call("ZRANGE", keys.tenants(), 0, -1)]
        failed: list[BaseException] = []
        for start in range(0, len(tenants), _TENANTS_AT_ONCE):
            some = tenants[start : start + _TENANTS_AT_ONCE]
            found = await asyncio.gather(*map(self._reap_all, some), return_exceptions=True)
            failed += [each for each in found if isinstance(each, BaseException)]
            if any(isinstance(each, StoreDown) for each in failed):
                break
        if failed:
            raise failed[0]
        oldest = int(time.time()) - self._retention_seconds
        await self._store.call("ZREMRANGEBYSCORE", keys.tenants(), "-inf", oldest)

    async def _run(self) -> None:
        while True:
            # What failed is tried again at the next round; Redis away is said by its own metric.
            with suppress(StoreDown):
                try:
                    await self.round()
                except StoreRefused as error:
                    self._logger.warning("limits_upkeep_refused", error=str(error))
            await asyncio.sleep(_BEAT_SECONDS)

    async def _renew(self, tenant: str, ids: list[RequestId]) -> None:
        sets: dict[str, list[RequestId]] = defaultdict(list)
        # One that was settled since has given its places back: they must not be taken again.
        alive = [(request_id, self._limiter.open[request_id]) for request_id in ids if request_id in self._limiter.open]
        for request_id, permit in alive:
            for key in permit.plan.set_keys:
                sets[key].append(request_id)
        held = {keys.leases(tenant): [request_id for request_id, _ in alive], **sets}
        arguments: list[str | int] = [self._calendar.lease_us, SERVER_TIME]
        for each in held.values():
            arguments += [len(each), *each]
        await self._store.run(RENEW, list(held), arguments)

    async def _reap_all(self, tenant: str) -> None:
        while await self._reap(tenant) == _AT_ONCE:
            pass

    async def _reap(self, tenant: str) -> int:
        names = (keys.leases(tenant), keys.reservations(tenant), keys.reaped(tenant))
        lease_us = self._calendar.lease_us
        booked = await self._store.run(
            REAP,
            [*names, keys.usage(tenant, self._calendar.today().day)],
            [lease_us, max(lease_us, _LATEST_US), SERVER_TIME, self._calendar.ledger_seconds, _AT_ONCE],
        )
        if booked:
            self._metrics.reaped.inc(booked)
            self._logger.warning("reservations_reaped", tenant=tenant, count=booked)
        return int(booked)
