"""Redis stopped and started under load: nobody waits for it beyond the bound, and the ledger is right afterwards."""

from __future__ import annotations

import asyncio
import time

import httpx
import pytest

from tests.fakes.gateway import GatewayProcess
from tests.fakes.process import EngineProcess
from tests.fakes.redis_server import RedisServer
from tests.flow.chat import post

pytestmark = pytest.mark.asyncio(loop_scope="module")

BOUND_SECONDS = 0.1
SLACK_SECONDS = 1.0
"""A busy machine's own; ten times the bound."""
CLIENTS = 8
LIMITS = {
    "redis.timeout_seconds": BOUND_SECONDS,
    "redis.breaker_seconds": 0.3,
    "limits.requests_per_minute": 1_000_000,
    "limits.tokens_per_day": 1_000_000_000,
    "limits.concurrent_requests": 1000,
    "limits.lease_seconds": 3,
}


class Load:
    """Clients that ask again and again until they are told to stop."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.statuses: list[int] = []
        self.longest_seconds = 0.0
        self._client = client
        self._stop = asyncio.Event()

    async def run(self) -> None:
        """Ask, one request after the other."""
        while not self._stop.is_set():
            started = time.perf_counter()
            self.statuses.append((await post(self._client)).status_code)
            self.longest_seconds = max(self.longest_seconds, time.perf_counter() - started)
            await asyncio.sleep(0.02)

    def stop(self) -> None:
        """Let every client end its request and no more."""
        self._stop.set()


async def outage(gateway: GatewayProcess, redis: RedisServer, frozen: bool) -> Load:
    """Put load on the gateway while Redis goes and comes back; return what became of it."""
    load = Load(gateway.client)
    clients = [asyncio.create_task(load.run()) for _ in range(CLIENTS)]
    await asyncio.sleep(0.5)
    (redis.stop if frozen else redis.kill)()
    await asyncio.sleep(1.5)
    await asyncio.to_thread(redis.cont if frozen else redis.start)
    for _ in range(200):
        if await gateway.metric("gateway_redis_up") == 1 and await gateway.metric("gateway_settles_held") == 0:
            break
        await asyncio.sleep(0.05)
    await asyncio.sleep(0.3)
    load.stop()
    await asyncio.gather(*clients)
    return load


async def booked(gateway: GatewayProcess) -> tuple[int, int, int]:
    """Return the ledger's requests, unmetered and unsettled, once nothing is left to be reaped: after three leases."""
    await asyncio.sleep(10)
    (row,) = (await gateway.client.get("/v1/usage")).json()["data"]
    return row["requests"], row["unmetered_requests"], row["unsettled_requests"]


@pytest.mark.parametrize("frozen", [True, False])
async def test_under_degraded_nobody_is_refused_or_waits_and_the_ledger_is_right_after(
    engine: EngineProcess, private_redis: RedisServer, frozen: bool
) -> None:
    async with GatewayProcess(private_redis.url, [engine.replica.base_url], LIMITS) as gateway:
        await gateway.ready()
        load = await outage(gateway, private_redis, frozen)
        assert set(load.statuses) == {200}
        assert await gateway.metric("gateway_limits_degraded_total") > 0
        assert load.longest_seconds < BOUND_SECONDS + SLACK_SECONDS
        assert await booked(gateway) == (len(load.statuses), 0, 0)


async def test_under_closed_all_are_refused_at_once_and_the_ledger_is_right_after(
    engine: EngineProcess, private_redis: RedisServer
) -> None:
    limits = {**LIMITS, "limits.on_redis_down": "closed"}
    async with GatewayProcess(private_redis.url, [engine.replica.base_url], limits) as gateway:
        await gateway.ready()
        load = await outage(gateway, private_redis, frozen=True)
        assert set(load.statuses) == {200, 503}
        assert load.statuses[-1] == 200
        assert load.longest_seconds < BOUND_SECONDS + SLACK_SECONDS
        assert await booked(gateway) == (load.statuses.count(200), 0, 0)


async def test_the_detailed_health_says_who_decides(engine: EngineProcess, private_redis: RedisServer) -> None:
    async with GatewayProcess(private_redis.url, [engine.replica.base_url], LIMITS) as gateway:
        await gateway.ready()
        limits = (await gateway.client.get("/health/detailed")).json()["limits"]
        assert limits == {"decided_by": "redis", "gateways": 1, "settles_held": 0}
        private_redis.kill()
        await post(gateway.client)
        limits = (await gateway.client.get("/health/detailed")).json()["limits"]
        assert (limits["decided_by"], limits["settles_held"]) == ("degraded", 1)
