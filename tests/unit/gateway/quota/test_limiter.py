"""Limits on a real Redis: exact under concurrency, settled once, and bounded when Redis is away."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
import redis

from config import LimitsSettings
from gateway.domain import Caller, Endpoint, Limits, Prompt, RequestId, Tier, Usage
from gateway.errors import NeverFits, QuotaExhausted, RateLimited, StoreDown, TokensLimited
from gateway.quota import Expected, Ledger, Limiter, Permit
from gateway.quota.ledger import UsageRow
from gateway.store import Store, keys
from gateway.telemetry.metrics import Metrics
from tests.fakes.redis_server import RedisServer
from tests.unit.gateway.conftest import StoreAt
from tests.unit.gateway.quota.today import today

SMALL = Expected(30, 20)
PROMPT = Prompt(Endpoint.CHAT, "m", b"", False, False, (), text_bytes=100, output_tokens_limit=20)


def limits(minute: int = 0, hour: int = 0, **others: Any) -> LimitsSettings:
    """Return limits; 0 is none."""
    return LimitsSettings(requests_per_minute=minute, requests_per_hour=hour, **others)


def new_id() -> RequestId:
    """Return a request's id."""
    return RequestId(f"req_{uuid.uuid4().hex}")


async def reserve(limiter: Limiter, caller: Caller, expected: Expected = SMALL, model: str = "m") -> Permit:
    """Reserve for a request of its own."""
    return await limiter.reserve(caller, new_id(), model, expected, PROMPT)


async def admitted(limiter: Limiter, caller: Caller, times: int) -> int:
    """Ask so many times at once and return how often it was granted."""
    results = await asyncio.gather(*(reserve(limiter, caller) for _ in range(times)), return_exceptions=True)
    assert all(isinstance(result, RateLimited) for result in results if isinstance(result, BaseException))
    return sum(not isinstance(result, BaseException) for result in results)


async def rows(store: Store, caller: Caller) -> list[UsageRow]:
    """Return what is booked for the caller, once everything posted has been done."""
    await store.ping()
    return await Ledger(store).of_tenant(caller.tenant, [today()])


@pytest.fixture
def direct(redis_server: RedisServer) -> Iterator[redis.Redis]:
    """The same Redis, without the code under test."""
    with redis.Redis(unix_socket_path=redis_server.socket_path) as client:
        yield client


async def test_without_limits_and_a_ledger_redis_is_not_asked(
    store: Store, metrics: Metrics, caller: Caller, direct: redis.Redis
) -> None:
    limiter = Limiter(limits(usage_retention_days=0), store, metrics)
    assert await admitted(limiter, caller, 100) == 100
    await store.ping()
    assert direct.keys(f"gg:{{{caller.tenant}}}*") == []


async def test_without_limits_nobody_is_refused_and_usage_is_booked_all_the_same(
    store: Store, metrics: Metrics, caller: Caller
) -> None:
    limiter = Limiter(limits(), store, metrics)
    for _ in range(3):
        with await reserve(limiter, caller) as permit:
            permit.sent, permit.usage = True, Usage(11, 7, 4)
    (row,) = await rows(store, caller)
    assert (row.user, row.model, row.requests, row.unmetered_requests) == (caller.user, "m", 3, 0)
    assert (row.prompt_tokens, row.completion_tokens, row.cached_tokens) == (33, 21, 12)
    assert limiter.open == {}


async def test_64_callers_at_once_are_admitted_exactly_as_often_as_the_bucket_holds(
    store: Store, metrics: Metrics, caller: Caller
) -> None:
    assert await admitted(Limiter(limits(hour=10), store, metrics), caller, 64) == 10


async def test_two_gateways_share_one_limit(
    store_at: StoreAt, redis_server: RedisServer, metrics: Metrics, caller: Caller
) -> None:
    gateways = [Limiter(limits(hour=20), store_at(redis_server), metrics) for _ in range(2)]
    assert sum(await asyncio.gather(*(admitted(gateway, caller, 32) for gateway in gateways))) == 20


async def test_every_bucket_must_have_room(store: Store, metrics: Metrics, caller: Caller) -> None:
    assert await admitted(Limiter(limits(minute=50, hour=3), store, metrics), caller, 10) == 3


async def test_users_and_tenants_do_not_share_a_users_limit(store: Store, metrics: Metrics, caller: Caller) -> None:
    limiter = Limiter(limits(hour=1), store, metrics)
    bob, stranger = Caller(caller.tenant, "bob"), Caller(caller.tenant + "2", caller.user)
    for each in (caller, bob, stranger):
        assert await admitted(limiter, each, 2) == 1


async def test_a_tenants_limits_are_shared_by_its_users_and_a_models_by_them_at_that_model(
    store: Store, metrics: Metrics, caller: Caller
) -> None:
    tier = Tier("t", tenant=Limits(requests_per_hour=5), tenant_model=Limits(requests_per_hour=3))
    limiter = Limiter(limits(hour=1), store, metrics)
    ann, bob = Caller(caller.tenant, "ann", tier=tier), Caller(caller.tenant, "bob", tier=tier)
    granted = []
    for who, model in [(ann, "m"), (bob, "m"), (ann, "m"), (bob, "m"), (ann, "n"), (bob, "n"), (ann, "n")]:
        with suppress(RateLimited):
            await reserve(limiter, who, model=model)
            granted.append((who.user, model))
    assert granted == [("ann", "m"), ("bob", "m"), ("ann", "m"), ("ann", "n"), ("bob", "n")]
    kinds = {("tenant_model", "requests_hour"): 1, ("tenant", "requests_hour"): 1}
    for (scope, limit), count in kinds.items():
        labels = {"scope": scope, "limit": limit}
        assert metrics.registry.get_sample_value("gateway_limit_refusals_total", labels) == count


async def test_a_changed_tier_holds_at_once(store: Store, metrics: Metrics, caller: Caller) -> None:
    limiter = Limiter(limits(hour=1), store, metrics)
    assert await admitted(limiter, caller, 2) == 1
    raised = Caller(caller.tenant, caller.user, tier=Tier("more", user=Limits(tokens_per_day=1000)))
    assert await admitted(limiter, raised, 100) == 20


async def test_a_permit_shows_what_is_left_of_requests_and_tokens(
    store: Store, metrics: Metrics, caller: Caller
) -> None:
    limiter = Limiter(limits(hour=10, tokens_per_minute=600), store, metrics)
    await reserve(limiter, caller)
    headers = dict((await reserve(limiter, caller)).headers)
    assert headers[b"x-ratelimit-limit-requests"] == b"10"
    assert headers[b"x-ratelimit-remaining-requests"] == b"8"
    assert headers[b"x-ratelimit-reset-requests"].startswith((b"12m0s", b"11m59"))
    assert headers[b"x-ratelimit-limit-tokens"] == b"600"
    assert int(headers[b"x-ratelimit-remaining-tokens"]) in (500, 501)


async def test_a_refusal_says_when_to_come_back(store: Store, metrics: Metrics, caller: Caller) -> None:
    limiter = Limiter(limits(minute=2), store, metrics)
    await admitted(limiter, caller, 2)
    with pytest.raises(RateLimited) as caught:
        await reserve(limiter, caller)
    assert 25_000 < (caught.value.retry_after_ms or 0) <= 30_000
    assert "try again in 2" in caught.value.message or "try again in 30s" in caught.value.message
    assert dict(caught.value.headers)[b"x-ratelimit-remaining-requests"] == b"0"
    assert (caught.value.type, caught.value.code) == ("requests", "rate_limit_exceeded")


async def test_tokens_are_refused_as_tokens(store: Store, metrics: Metrics, caller: Caller) -> None:
    limiter = Limiter(limits(tokens_per_minute=60), store, metrics)
    await reserve(limiter, caller)
    with pytest.raises(TokensLimited) as caught:
        await reserve(limiter, caller)
    assert caught.value.envelope()["error"]["type"] == "tokens"
    assert 35_000 < (caught.value.retry_after_ms or 0) <= 40_000


async def test_a_quota_that_will_not_refill_soon_is_not_to_be_waited_for(
    store: Store, metrics: Metrics, caller: Caller
) -> None:
    limiter = Limiter(limits(tokens_per_day=100), store, metrics)
    await reserve(limiter, caller, Expected(90, 10))
    with pytest.raises(QuotaExhausted) as caught:
        await reserve(limiter, caller, Expected(90, 10))
    assert caught.value.envelope()["error"]["code"] == "insufficient_quota"
    assert (b"x-should-retry", b"false") in caught.value.response_headers()
    assert "try again in 2" in caught.value.message


async def test_a_first_large_request_is_let_through_and_its_debt_is_paid_later(
    store: Store, metrics: Metrics, caller: Caller
) -> None:
    limiter = Limiter(limits(tokens_per_minute=600), store, metrics)
    with await reserve(limiter, caller, Expected(500, 8000)) as permit:
        permit.sent, permit.usage = True, Usage(500, 700)
    await store.ping()
    with pytest.raises(TokensLimited) as caught:
        await reserve(limiter, caller)
    assert 64_000 < (caught.value.retry_after_ms or 0) <= 65_000


def test_a_prompt_that_can_never_fit_is_the_clients_fault(store: Store, metrics: Metrics, caller: Caller) -> None:
    limiter = Limiter(limits(tokens_per_minute=600, tokens_per_day=5000), store, metrics)
    assert not limiter.is_near_capacity(caller, PROMPT, Expected(480, 5000))
    assert limiter.is_near_capacity(caller, PROMPT, Expected(481, 0))
    limiter.check_fits(caller, PROMPT, 600)
    with pytest.raises(NeverFits, match="601 tokens and can never fit: your limit is 600 tokens a minute"):
        limiter.check_fits(caller, PROMPT, 601)
    assert not Limiter(limits(9), store, metrics).is_near_capacity(caller, PROMPT, Expected(10**9, 0))


# Settling.


async def test_a_permit_whose_request_was_not_sent_is_given_back(
    store: Store, metrics: Metrics, caller: Caller
) -> None:
    limiter = Limiter(limits(minute=2, hour=2, tokens_per_minute=100), store, metrics)
    for _ in range(5):
        with await reserve(limiter, caller):
            pass
    assert await rows(store, caller) == []
    assert await admitted(limiter, caller, 3) == 2


async def test_a_permit_is_given_back_when_the_request_fails(store: Store, metrics: Metrics, caller: Caller) -> None:
    limiter = Limiter(limits(hour=1), store, metrics)
    with pytest.raises(RuntimeError), await reserve(limiter, caller):
        raise RuntimeError
    await store.ping()
    assert await admitted(limiter, caller, 2) == 1


async def test_what_the_engine_counted_is_charged(store: Store, metrics: Metrics, caller: Caller) -> None:
    limiter = Limiter(limits(hour=2, tokens_per_day=1000), store, metrics)
    with await reserve(limiter, caller, Expected(400, 400)) as permit:
        permit.sent, permit.usage = True, Usage(100, 50, 10)
    (row,) = await rows(store, caller)
    assert (row.prompt_tokens, row.completion_tokens, row.cached_tokens) == (100, 50, 10)
    headers = dict((await reserve(limiter, caller)).headers)
    assert int(headers[b"x-ratelimit-remaining-tokens"]) in (800, 801)
    assert await admitted(limiter, caller, 1) == 0


async def test_what_no_engine_has_counted_is_charged_as_it_was_reserved(
    store: Store, metrics: Metrics, caller: Caller
) -> None:
    limiter = Limiter(limits(tokens_per_day=1000), store, metrics)
    with await reserve(limiter, caller, Expected(400, 200)) as permit:
        permit.sent = True
    (row,) = await rows(store, caller)
    assert (row.requests, row.prompt_tokens, row.completion_tokens, row.unmetered_requests) == (1, 400, 200, 1)
    headers = dict((await reserve(limiter, caller)).headers)
    assert int(headers[b"x-ratelimit-remaining-tokens"]) in (350, 351)


async def test_a_permit_is_settled_once(store: Store, metrics: Metrics, caller: Caller) -> None:
    limiter = Limiter(limits(hour=5), store, metrics)
    permit = await reserve(limiter, caller)
    permit.sent, permit.usage = True, Usage(1, 1)
    for _ in range(3):
        with permit:
            pass
    (row,) = await rows(store, caller)
    assert row.requests == 1


async def test_who_leaves_while_redis_is_asked_gets_everything_back(
    store: Store, metrics: Metrics, caller: Caller, direct: redis.Redis
) -> None:
    limiter = Limiter(limits(hour=2, concurrent_requests=2), store, metrics)
    await store.ping()
    for _ in range(5):
        task = asyncio.create_task(reserve(limiter, caller))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    await store.ping()
    assert direct.hlen(keys.reservations(caller.tenant)) == 0
    assert await admitted(limiter, caller, 3) == 2
    assert limiter.open.keys() == set(limiter.open)


async def test_estimates_follow_what_engines_count(store: Store, metrics: Metrics, caller: Caller) -> None:
    limiter = Limiter(limits(hour=1000), store, metrics)
    first = limiter.expected(caller, PROMPT)
    for _ in range(100):
        with await limiter.reserve(caller, new_id(), "m", first, PROMPT) as permit:
            permit.sent, permit.usage = True, Usage(25, 5)
    later = limiter.expected(caller, PROMPT)
    assert first == Expected(50, 20)
    assert 25 <= later.prompt_tokens <= 27
    assert 5 <= later.output_tokens <= 7


async def test_estimates_are_above_most_of_what_varies(store: Store, metrics: Metrics, caller: Caller) -> None:
    limiter = Limiter(limits(hour=1000), store, metrics)
    for number in range(100):
        with await limiter.reserve(caller, new_id(), "m", SMALL, PROMPT) as permit:
            permit.sent, permit.usage = True, Usage(20 + number % 2 * 20, 5 + number % 2 * 10)
    later = limiter.expected(caller, PROMPT)
    assert later.prompt_tokens >= 40
    assert later.output_tokens >= 15


# Concurrent requests.


async def test_only_so_many_requests_run_at_once_and_each_end_makes_room(
    store: Store, metrics: Metrics, caller: Caller
) -> None:
    limiter = Limiter(limits(concurrent_requests=3), store, metrics)
    permits = [await reserve(limiter, caller) for _ in range(3)]
    with pytest.raises(RateLimited, match="3 concurrent requests") as caught:
        await reserve(limiter, caller)
    assert caught.value.retry_after_ms == 1000
    with permits[0]:
        pass
    await store.ping()
    assert await admitted(limiter, caller, 2) == 1
    labels = {"scope": "user", "limit": "concurrent"}
    assert metrics.registry.get_sample_value("gateway_limit_refusals_total", labels) == 2


async def test_concurrent_requests_are_exact_under_concurrency(store: Store, metrics: Metrics, caller: Caller) -> None:
    tier = Tier("t", user=Limits(concurrent_requests=50), tenant=Limits(concurrent_requests=7))
    limiter = Limiter(limits(), store, metrics)
    assert await admitted(limiter, Caller(caller.tenant, "u", tier=tier), 64) == 7


# Redis away.


async def test_a_frozen_redis_is_found_out_within_its_time_and_this_process_counts_alone(
    private_redis: RedisServer, store_at: StoreAt, metrics: Metrics, caller: Caller
) -> None:
    store = store_at(private_redis, timeout_seconds=1, connect_timeout_seconds=2, breaker_seconds=60)
    limiter = Limiter(limits(hour=3), store, metrics)
    await reserve(limiter, caller)
    private_redis.stop()
    started = time.perf_counter()
    assert await admitted(limiter, caller, 10) == 3
    assert time.perf_counter() - started < 4
    for _ in range(50):
        with pytest.raises(RateLimited):
            await reserve(limiter, caller)
    assert time.perf_counter() - started < 4, "each refusal waited for a Redis that is known to be away"
    private_redis.cont()
    assert metrics.registry.get_sample_value("gateway_limits_degraded_total") == 60


async def test_a_killed_redis_is_found_out_at_once_and_each_gateway_grants_its_share(
    private_redis: RedisServer, store_at: StoreAt, metrics: Metrics, caller: Caller
) -> None:
    limiter = Limiter(limits(hour=12), store_at(private_redis, breaker_seconds=60), metrics)
    await reserve(limiter, caller)
    limiter.gateways = 4
    private_redis.kill()
    started = time.perf_counter()
    assert await admitted(limiter, caller, 10) == 3
    assert time.perf_counter() - started < 2


async def test_the_policy_closed_lets_nobody_pass_while_redis_is_away(
    private_redis: RedisServer, store_at: StoreAt, metrics: Metrics, caller: Caller
) -> None:
    store = store_at(private_redis, breaker_seconds=0.01)
    limiter = Limiter(limits(hour=3, on_redis_down="closed"), store, metrics)
    await reserve(limiter, caller)
    private_redis.kill()
    with pytest.raises(StoreDown):
        await reserve(limiter, caller)
    private_redis.start()
    await asyncio.sleep(0.05)
    await store.ping()
    assert await admitted(limiter, caller, 3) == 2
    assert metrics.registry.get_sample_value("gateway_limits_degraded_total") == 0


async def test_a_permit_of_this_process_alone_is_given_back_to_this_process(
    private_redis: RedisServer, store_at: StoreAt, metrics: Metrics, caller: Caller
) -> None:
    limiter = Limiter(limits(hour=1, concurrent_requests=1), store_at(private_redis, breaker_seconds=60), metrics)
    private_redis.kill()
    for _ in range(3):
        with await reserve(limiter, caller):
            pass
    assert await admitted(limiter, caller, 3) == 1


@pytest.mark.parametrize("frozen", [True, False])
async def test_the_ledger_is_right_after_an_outage(
    private_redis: RedisServer, store_at: StoreAt, metrics: Metrics, caller: Caller, frozen: bool
) -> None:
    """Reserved before and settled during, all during, and a call that Redis got and whose answer never came."""
    store = store_at(private_redis, timeout_seconds=1, breaker_seconds=0.2)
    limiter = Limiter(limits(hour=100, tokens_per_day=10_000, concurrent_requests=9), store, metrics)
    early = await reserve(limiter, caller)
    (private_redis.stop if frozen else private_redis.kill)()
    for _ in range(5):
        with await reserve(limiter, caller) as permit:
            permit.sent, permit.usage = True, Usage(10, 1)
        await asyncio.sleep(0.06)
    with early:
        early.sent, early.usage = True, Usage(10, 1)
    # What was posted while Redis seemed to be there is known to be lost only once it has had its time.
    async with asyncio.timeout(10):
        while limiter.settles.held < 6:
            await asyncio.sleep(0.01)
    (private_redis.cont if frozen else private_redis.start)()
    async with asyncio.timeout(10):
        while limiter.settles.held:
            with suppress(StoreDown):
                await store.ping()
                limiter.settles.flush()
                await store.ping()
            await asyncio.sleep(0.05)
    assert limiter.settles.held == 0
    (row,) = await rows(store, caller)
    assert (row.requests, row.prompt_tokens, row.completion_tokens, row.unmetered_requests) == (6, 60, 6, 0)
    with redis.Redis(unix_socket_path=private_redis.socket_path) as direct:
        assert direct.hlen(keys.reservations(caller.tenant)) == 0
        assert direct.zcard(keys.concurrent_of_user(caller.tenant, caller.user)) == 0


async def test_what_is_held_is_bounded_and_its_loss_is_counted(
    private_redis: RedisServer, store_at: StoreAt, metrics: Metrics, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.quota.settles._MAX_HELD", 3)
    limiter = Limiter(limits(), store_at(private_redis, breaker_seconds=60), metrics)
    private_redis.kill()
    for _ in range(5):
        with await reserve(limiter, caller) as permit:
            permit.sent = True
        await asyncio.sleep(0.05)
    assert metrics.registry.get_sample_value("gateway_settles_held") == 3
    assert metrics.registry.get_sample_value("gateway_settles_lost_total") == 2
