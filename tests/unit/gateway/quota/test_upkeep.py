"""Upkeep: leases held while requests run, what was left open booked, gateways counted."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

import annotated_types
import pytest
import redis

from config import LimitsSettings
from gateway.domain import Caller, Usage
from gateway.errors import StoreDown
from gateway.quota import Ledger, Limiter, Upkeep
from gateway.quota.upkeep import _GONE_SECONDS
from gateway.store import Store, StoreRefused, keys
from gateway.telemetry.metrics import Metrics
from tests.fakes.redis_server import RedisServer
from tests.unit.gateway.conftest import StoreAt
from tests.unit.gateway.quota.test_limiter import SMALL, admitted, new_id, reserve
from tests.unit.gateway.quota.today import today

LEASE_SECONDS = 1.0
"""Shorter than a setting may be: these tests renew by themselves, and wait for leases to end."""
NONE = LimitsSettings(requests_per_minute=0, requests_per_hour=0)
LIMITS = NONE.model_copy(update={"concurrent_requests": 2, "lease_seconds": LEASE_SECONDS})


class Gateway:
    """The limits of one gateway process."""

    def __init__(self, store: Store, metrics: Metrics, settings: LimitsSettings = LIMITS) -> None:
        self.store = store
        self.limiter = Limiter(settings, store, metrics)
        self.upkeep = Upkeep(self.limiter, settings, store, metrics)


async def test_what_runs_for_longer_than_a_lease_keeps_its_place_and_is_not_reaped(
    store: Store, metrics: Metrics, caller: Caller
) -> None:
    gateway = Gateway(store, metrics)
    permits = [await reserve(gateway.limiter, caller) for _ in range(2)]
    for _ in range(4):
        await asyncio.sleep(LEASE_SECONDS * 0.7)
        await gateway.upkeep.renew()
        await gateway.upkeep.reap()
    assert await admitted(gateway.limiter, caller, 1) == 0
    with permits[0]:
        permits[0].sent, permits[0].usage = True, Usage(5, 5)
    await gateway.upkeep.renew()
    assert await admitted(gateway.limiter, caller, 2) == 1
    (row,) = await Ledger(store).of_tenant(caller.tenant, [today()])
    assert (row.requests, row.unsettled_requests) == (1, 0)


@pytest.mark.slow
async def test_the_shortest_lease_that_a_setting_may_have_holds_a_limit(
    store: Store, metrics: Metrics, caller: Caller
) -> None:
    bounds = LimitsSettings.model_fields["lease_seconds"].metadata
    shortest = next(bound.ge for bound in bounds if isinstance(bound, annotated_types.Ge))
    assert isinstance(shortest, int)
    limits = LimitsSettings.model_validate({**NONE.model_dump(), "concurrent_requests": 1, "lease_seconds": shortest})
    gateway = Gateway(store, metrics, limits)
    async with gateway.upkeep.running():
        with await reserve(gateway.limiter, caller):
            started = time.monotonic()
            while time.monotonic() - started < 3 * shortest:
                assert await admitted(gateway.limiter, caller, 1) == 0
                await asyncio.sleep(0.01)


async def test_what_a_killed_gateway_left_open_is_booked_by_another_and_its_places_are_free(
    store_at: StoreAt, redis_server: RedisServer, metrics: Metrics, caller: Caller
) -> None:
    killed, other = (Gateway(store_at(redis_server), metrics) for _ in range(2))
    for _ in range(2):
        await reserve(killed.limiter, caller)
    assert await admitted(other.limiter, caller, 1) == 0
    await asyncio.sleep(LEASE_SECONDS)
    assert await admitted(other.limiter, caller, 3) == 2
    await asyncio.sleep(LEASE_SECONDS + 0.1)
    await other.upkeep.renew()
    for _ in range(2):
        await other.upkeep.reap()
    (row,) = await Ledger(other.store).of_tenant(caller.tenant, [today()])
    assert (row.requests, row.unsettled_requests) == (2, 2)
    assert (row.prompt_tokens, row.completion_tokens) == (2 * SMALL.prompt_tokens, 2 * SMALL.output_tokens)
    assert (metrics.registry.get_sample_value("gateway_reservations_reaped_total") or 0) >= 2


async def test_a_gateway_that_was_only_cut_off_settles_what_was_reaped_meanwhile(
    store_at: StoreAt, redis_server: RedisServer, metrics: Metrics, caller: Caller
) -> None:
    cut_off, other = (Gateway(store_at(redis_server), metrics) for _ in range(2))
    permit = await reserve(cut_off.limiter, caller)
    await asyncio.sleep(2 * LEASE_SECONDS + 0.1)
    await other.upkeep.reap()
    await cut_off.upkeep.renew()
    with permit:
        permit.sent, permit.usage = True, Usage(7, 2)
    await cut_off.store.ping()
    (row,) = await Ledger(other.store).of_tenant(caller.tenant, [today()])
    assert (row.requests, row.prompt_tokens, row.completion_tokens, row.unsettled_requests) == (1, 7, 2, 0)


async def test_more_than_one_calls_worth_is_renewed_and_reaped(
    store: Store, metrics: Metrics, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.quota.upkeep._AT_ONCE", 3)
    settings = NONE.model_copy(update={"requests_per_hour": 100, "lease_seconds": LEASE_SECONDS})
    gateway = Gateway(store, metrics, settings)
    await asyncio.gather(*(gateway.limiter.reserve(caller, new_id(), "m", SMALL) for _ in range(10)))
    await asyncio.sleep(LEASE_SECONDS)
    await gateway.upkeep.renew()
    await asyncio.sleep(LEASE_SECONDS + 0.2)
    await gateway.upkeep.reap()
    assert await Ledger(store).of_tenant(caller.tenant, [today()]) == []
    await asyncio.sleep(LEASE_SECONDS)
    await gateway.upkeep.reap()
    (row,) = await Ledger(store).of_tenant(caller.tenant, [today()])
    assert row.unsettled_requests == 10


async def test_gateways_are_counted_and_sign_off(
    store_at: StoreAt, private_redis: RedisServer, metrics: Metrics
) -> None:
    gateways = [Gateway(store_at(private_redis), metrics) for _ in range(3)]
    assert [await each.upkeep.beat() for each in gateways] == [1, 2, 3]
    async with gateways[0].upkeep.running():
        async with asyncio.timeout(10):
            while gateways[0].limiter.gateways != 3:
                await asyncio.sleep(0.01)
        assert metrics.registry.get_sample_value("gateway_gateways") == 3
    assert await gateways[1].upkeep.beat() == 2
    with redis.Redis(unix_socket_path=private_redis.socket_path) as direct:
        for name in direct.zrange(keys.gateways(), 0, -1):
            direct.zincrby(keys.gateways(), -_GONE_SECONDS - 1, name)
    assert await gateways[2].upkeep.beat() == 1


async def test_whoever_shares_something_is_told_how_many_gateways_there_are(
    store_at: StoreAt, private_redis: RedisServer, metrics: Metrics
) -> None:
    store, told = store_at(private_redis), list[int]()
    other = Gateway(store, metrics)
    one = Upkeep(other.limiter, LIMITS, store, metrics, told.append)
    await one.round()
    await other.upkeep.beat()
    await one.round()
    assert told == [1, 2]


def failures(metrics: Metrics) -> float:
    """Return how many round trips have failed, for whatever reason."""
    samples = (each for family in metrics.registry.collect() for each in family.samples)
    return sum(each.value for each in samples if each.name == "gateway_redis_failures_total")


async def test_an_outage_ends_by_itself_and_the_last_count_of_gateways_is_kept(
    store_at: StoreAt, private_redis: RedisServer, metrics: Metrics, caller: Caller
) -> None:
    store = store_at(private_redis, breaker_seconds=0.1)
    gateway = Gateway(store, metrics)
    gateway.upkeep._id = "one"
    await Gateway(store, metrics).upkeep.beat()
    async with gateway.upkeep.running():
        async with asyncio.timeout(10):
            while gateway.limiter.gateways != 2:
                await asyncio.sleep(0.01)
        private_redis.kill()
        with await gateway.limiter.reserve(caller, new_id(), "m", SMALL) as permit:
            permit.sent, permit.usage = True, Usage(3, 3)
        # The request found out that Redis is away; then a round of the upkeep does, a second later at most.
        async with asyncio.timeout(10):
            while failures(metrics) < 2:
                await asyncio.sleep(0.01)
        assert gateway.limiter.gateways == 2
        assert gateway.limiter.settles.held == 1
        private_redis.start()
        async with asyncio.timeout(20):
            while gateway.limiter.settles.held or not store.healthy:
                await asyncio.sleep(0.05)
        await store.ping()
        (row,) = await Ledger(store).of_tenant(caller.tenant, [today()])
        assert row.requests == 1


async def test_a_place_that_was_taken_again_after_an_outage_is_free_as_soon_as_its_request_ends(
    store_at: StoreAt, private_redis: RedisServer, metrics: Metrics, caller: Caller
) -> None:
    store = store_at(private_redis, breaker_seconds=0.1)
    gateway = Gateway(store, metrics, LIMITS.model_copy(update={"lease_seconds": 60.0}))
    private_redis.kill()
    permits = [await reserve(gateway.limiter, caller) for _ in range(2)]
    private_redis.start()
    await asyncio.sleep(0.2)
    await gateway.upkeep.beat()
    await gateway.upkeep.renew()
    assert await admitted(gateway.limiter, caller, 1) == 0
    for permit in permits:
        with permit:
            permit.sent, permit.usage = True, Usage(3, 3)
    assert await admitted(gateway.limiter, caller, 2) == 2


async def test_many_tenants_are_reaped_together_and_one_that_fails_does_not_keep_the_others(
    store_at: StoreAt, private_redis: RedisServer, metrics: Metrics
) -> None:
    store = store_at(private_redis)
    gateway = Gateway(store, metrics)
    callers = [Caller(f"tenant-{number:03}", "ann") for number in range(120)]
    for each in callers:
        await reserve(gateway.limiter, each)
    await asyncio.sleep(2 * LEASE_SECONDS + 0.1)
    await store.call("DEL", keys.leases("tenant-000"))
    await store.call("SET", keys.leases("tenant-000"), "no set")
    with pytest.raises(StoreRefused):
        await gateway.upkeep.reap()
    assert metrics.registry.get_sample_value("gateway_reservations_reaped_total") == 119


async def test_a_tenant_first_seen_while_redis_was_away_is_found_as_soon_as_it_is_back(
    store_at: StoreAt, private_redis: RedisServer, metrics: Metrics, caller: Caller
) -> None:
    store = store_at(private_redis, breaker_seconds=0.1)
    gateway = Gateway(store, metrics)
    private_redis.kill()
    with await gateway.limiter.reserve(caller, new_id(), "m", SMALL) as permit:
        permit.sent, permit.usage = True, Usage(3, 3)
    await asyncio.sleep(0.2)
    private_redis.start()
    for _ in range(100):
        with suppress(StoreDown):
            await gateway.upkeep.round()
            break
        await asyncio.sleep(0.05)
    assert await store.call("ZRANGE", keys.tenants(), 0, -1) == [caller.tenant.encode()]
