"""Limits on a real Redis: exact under concurrency, the same as the pure arithmetic, and bounded when Redis is away."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st

from config import LimitsSettings
from config.schema import RedisDownPolicy
from gateway.domain import Caller
from gateway.errors import RateLimited, StoreDown
from gateway.quota import Limiter
from gateway.quota.bucket import Balance, Rule, reserve
from gateway.quota.limiter import _RESERVE, rules_of
from gateway.store import Store, keys
from gateway.telemetry.metrics import Metrics
from tests.fakes.redis_server import RedisServer
from tests.unit.gateway.conftest import StoreAt


def limits(minute: int = 0, hour: int = 0, closed: bool = False) -> LimitsSettings:
    """Return limits; 0 is none."""
    policy = RedisDownPolicy.CLOSED if closed else RedisDownPolicy.DEGRADED
    return LimitsSettings(requests_per_minute=minute, requests_per_hour=hour, on_redis_down=policy)


@pytest.fixture
def direct(redis_server: RedisServer) -> Iterator[redis.Redis]:
    """The same Redis, without the code under test."""
    with redis.Redis(unix_socket_path=redis_server.socket_path) as client:
        yield client


async def admitted(limiter: Limiter, caller: Caller, times: int) -> int:
    """Ask so many times at once and return how often it was granted."""
    results = await asyncio.gather(*(limiter.reserve(caller) for _ in range(times)), return_exceptions=True)
    assert all(isinstance(result, RateLimited) for result in results if isinstance(result, BaseException))
    return sum(not isinstance(result, BaseException) for result in results)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (limits(), ()),
        (limits(minute=5), (Rule("minute", 5, 60),)),
        (limits(hour=7), (Rule("hour", 7, 3600),)),
        (limits(5, 7), (Rule("minute", 5, 60), Rule("hour", 7, 3600))),
    ],
)
def test_a_limit_of_zero_is_no_bucket(settings: LimitsSettings, expected: tuple[Rule, ...]) -> None:
    assert rules_of(settings) == expected


async def test_without_limits_nobody_is_refused_and_redis_is_not_asked(
    store: Store, metrics: Metrics, caller: Caller, direct: redis.Redis
) -> None:
    limiter = Limiter(limits(), store, metrics)
    assert await admitted(limiter, caller, 100) == 100
    assert direct.exists(keys.quota(caller.tenant, caller.user)) == 0


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


async def test_users_and_tenants_do_not_share_a_limit(store: Store, metrics: Metrics, caller: Caller) -> None:
    limiter = Limiter(limits(hour=1), store, metrics)
    bob, stranger = Caller(caller.tenant, "bob"), Caller(caller.tenant + "2", caller.user)
    for each in (caller, bob, stranger):
        assert await admitted(limiter, each, 2) == 1


async def test_a_permit_shows_what_is_left(store: Store, metrics: Metrics, caller: Caller) -> None:
    limiter = Limiter(limits(hour=10), store, metrics)
    await limiter.reserve(caller)
    headers = dict((await limiter.reserve(caller)).headers)
    assert headers[b"x-ratelimit-limit-requests"] == b"10"
    assert headers[b"x-ratelimit-remaining-requests"] == b"8"
    assert headers[b"x-ratelimit-reset-requests"].startswith((b"12m0s", b"11m59"))


async def test_a_refusal_says_when_to_come_back(store: Store, metrics: Metrics, caller: Caller) -> None:
    limiter = Limiter(limits(minute=2), store, metrics)
    await admitted(limiter, caller, 2)
    with pytest.raises(RateLimited) as caught:
        await limiter.reserve(caller)
    assert 25_000 < (caught.value.retry_after_ms or 0) <= 30_000
    assert "try again in 2" in caught.value.message or "try again in 30s" in caught.value.message
    assert dict(caught.value.headers)[b"x-ratelimit-remaining-requests"] == b"0"


async def test_a_permit_that_was_not_used_is_given_back(store: Store, metrics: Metrics, caller: Caller) -> None:
    limiter = Limiter(limits(minute=2, hour=2), store, metrics)
    for _ in range(5):
        with await limiter.reserve(caller):
            pass
        await store.ping()  # Behind the refund, which nobody waits for.
    assert await admitted(limiter, caller, 3) == 2


async def test_a_permit_is_given_back_when_the_request_fails(store: Store, metrics: Metrics, caller: Caller) -> None:
    limiter = Limiter(limits(hour=1), store, metrics)
    with pytest.raises(RuntimeError), await limiter.reserve(caller):
        raise RuntimeError
    await store.ping()
    assert await admitted(limiter, caller, 2) == 1


async def test_a_permit_that_was_used_is_kept(store: Store, metrics: Metrics, caller: Caller) -> None:
    limiter = Limiter(limits(hour=1), store, metrics)
    with await limiter.reserve(caller) as permit:
        permit.used = True
    await store.ping()
    assert await admitted(limiter, caller, 1) == 0


async def test_a_refund_never_fills_a_bucket_above_its_capacity(store: Store, metrics: Metrics, caller: Caller) -> None:
    limiter = Limiter(limits(hour=2), store, metrics)
    await limiter.reserve(caller)
    for _ in range(5):
        limiter._refund(caller)
    await store.ping()
    assert await admitted(limiter, caller, 5) == 2


async def test_a_refund_to_a_bucket_that_has_gone_makes_no_key(
    store: Store, metrics: Metrics, caller: Caller, direct: redis.Redis
) -> None:
    limiter = Limiter(limits(hour=2), store, metrics)
    limiter._refund(caller)
    await store.ping()
    assert direct.exists(keys.quota(caller.tenant, caller.user)) == 0


async def test_a_bucket_is_forgotten_when_it_must_be_full_again(
    store: Store, metrics: Metrics, caller: Caller, direct: redis.Redis
) -> None:
    await Limiter(limits(minute=5, hour=5), store, metrics).reserve(caller)
    left_seconds: Any = direct.ttl(keys.quota(caller.tenant, caller.user))
    assert 3600 <= left_seconds <= 7200


# The script against the model.


@dataclass(frozen=True)
class _Step:
    pause_seconds: float
    need: int


STEPS = st.lists(
    st.builds(_Step, st.floats(min_value=0, max_value=100) | st.just(0.0), st.integers(min_value=1, max_value=3)),
    min_size=1,
    max_size=25,
)
CAPACITIES = st.tuples(st.integers(min_value=3, max_value=8), st.integers(min_value=3, max_value=12))


class _Script:
    """reserve.lua as it runs in Redis. Time passes by moving the buckets' own moments back, not by sleeping."""

    def __init__(self, client: redis.Redis, rules: tuple[Rule, ...]) -> None:
        self._client = client
        self._rules = rules
        self._key = keys.quota(uuid.uuid4().hex, "u")
        self._passed_us = 0
        self._script = client.register_script(_RESERVE.text)

    def pause(self, seconds: float) -> None:
        """Let time pass for the buckets."""
        shift = round(seconds * 1e6)
        self._passed_us += shift
        for rule in self._rules:
            if self._client.hexists(self._key, f"{rule.name}:at"):
                self._client.hincrby(self._key, f"{rule.name}:at", -shift)

    def now(self) -> float:
        """Return the time that the buckets live in."""
        seconds, microseconds = self._client.time()
        return (seconds * 1_000_000 + microseconds + self._passed_us) / 1e6

    def reserve(self, need: int) -> tuple[float, tuple[float, ...]]:
        """Return the wait in seconds and the balances shown."""
        arguments: list[Any] = [
            part for rule in self._rules for part in (rule.name, rule.capacity, rule.window_seconds)
        ]
        wait_ms, *thousandths = self._script([self._key], [need, *arguments])
        return wait_ms / 1000, tuple(value / 1000 for value in thousandths)

    def stored(self) -> tuple[Balance, ...]:
        """Return the buckets as Redis keeps them, in the time that they live in."""
        found: dict[bytes, bytes] = self._client.hgetall(self._key)  # type: ignore[assignment]
        return tuple(
            Balance(
                float(found[rule.name.encode()]),
                (int(found[f"{rule.name}:at".encode()]) + self._passed_us) / 1e6,
            )
            for rule in self._rules
        )


@settings(max_examples=40, deadline=None)
@given(capacities=CAPACITIES, steps=STEPS)
def test_the_script_does_what_the_model_does_on_any_history(
    redis_server: RedisServer, capacities: tuple[int, int], steps: list[_Step]
) -> None:
    rules = (Rule("minute", capacities[0], 60), Rule("hour", capacities[1], 3600))
    with redis.Redis(unix_socket_path=redis_server.socket_path) as client:
        script = _Script(client, rules)
        model: tuple[Balance, ...] | None = None
        for step in steps:
            script.pause(step.pause_seconds)
            # The script reads Redis's clock between these two readings of it, and more time never means less balance.
            earliest = script.now()
            wait, shown = script.reserve(step.need)
            latest = script.now()
            model = model or tuple(Balance(rule.capacity, earliest) for rule in rules)
            longest_wait, _ = reserve(rules, model, earliest, step.need)
            shortest_wait, current = reserve(rules, model, latest, step.need)
            assert shortest_wait - 0.001 <= wait <= longest_wait + 0.002
            if wait == 0:
                # A little less than was taken, as the model would refuse what is short by a rounding error.
                _, model = reserve(rules, model, script.stored()[0].at_seconds, step.need - 1e-4)
                for kept, expected in zip(script.stored(), model, strict=True):
                    assert kept.at_seconds == expected.at_seconds
                    assert kept.amount == pytest.approx(expected.amount, abs=2e-4)
                model = script.stored()
            elif shortest_wait > 0:
                for value, expected in zip(shown, current, strict=True):
                    assert value == pytest.approx(expected.amount, abs=0.01)


def test_the_scripts_balances_never_leave_their_bounds_after_a_clock_went_back(direct: redis.Redis) -> None:
    rules = (Rule("minute", 5, 60),)
    script = _Script(direct, rules)
    assert script.reserve(1)[0] == 0
    script.pause(-1000)
    assert script.reserve(1) == (0, (3.0,))
    script.pause(5000)
    assert script.reserve(1) == (0, (4.0,))


def test_a_lowered_limit_holds_at_once_for_a_bucket_that_is_fuller(direct: redis.Redis) -> None:
    script = _Script(direct, (Rule("minute", 100, 60),))
    script.reserve(1)
    script._rules = (Rule("minute", 2, 60),)
    assert script.reserve(1) == (0, (1.0,))


# Redis away.


async def test_a_frozen_redis_is_found_out_within_its_time_and_this_process_counts_alone(
    private_redis: RedisServer, store_at: StoreAt, metrics: Metrics, caller: Caller
) -> None:
    store = store_at(private_redis, timeout_seconds=0.1, connect_timeout_seconds=0.5, breaker_seconds=60)
    limiter = Limiter(limits(hour=3), store, metrics)
    await limiter.reserve(caller)
    private_redis.stop()
    started = time.perf_counter()
    assert await admitted(limiter, caller, 10) == 3
    assert time.perf_counter() - started < 2
    for _ in range(50):
        with pytest.raises(RateLimited):
            await limiter.reserve(caller)
    assert time.perf_counter() - started < 2, "each refusal waited for a Redis that is known to be away"
    private_redis.cont()
    assert metrics.registry.get_sample_value("gateway_limits_degraded_total") == 60


async def test_a_killed_redis_is_found_out_at_once(
    private_redis: RedisServer, store_at: StoreAt, metrics: Metrics, caller: Caller
) -> None:
    limiter = Limiter(limits(hour=3), store_at(private_redis, breaker_seconds=60), metrics)
    await limiter.reserve(caller)
    private_redis.kill()
    started = time.perf_counter()
    assert await admitted(limiter, caller, 10) == 3
    assert time.perf_counter() - started < 2


async def test_the_policy_closed_lets_nobody_pass_while_redis_is_away(
    private_redis: RedisServer, store_at: StoreAt, metrics: Metrics, caller: Caller
) -> None:
    store = store_at(private_redis, breaker_seconds=0.01)
    limiter = Limiter(limits(hour=3, closed=True), store, metrics)
    await limiter.reserve(caller)
    private_redis.kill()
    with pytest.raises(StoreDown):
        await limiter.reserve(caller)
    private_redis.start()
    await asyncio.sleep(0.05)
    await store.ping()
    assert await admitted(limiter, caller, 3) == 2
    assert metrics.registry.get_sample_value("gateway_limits_degraded_total") == 0


async def test_a_permit_of_this_process_alone_is_given_back_to_this_process(
    private_redis: RedisServer, store_at: StoreAt, metrics: Metrics, caller: Caller
) -> None:
    limiter = Limiter(limits(hour=1), store_at(private_redis, breaker_seconds=60), metrics)
    private_redis.kill()
    for _ in range(3):
        with await limiter.reserve(caller):
            pass
    assert await admitted(limiter, caller, 3) == 1


async def test_a_permit_of_this_process_alone_is_not_given_back_to_redis(
    private_redis: RedisServer, store_at: StoreAt, metrics: Metrics, caller: Caller
) -> None:
    store = store_at(private_redis, breaker_seconds=0.01)
    limiter = Limiter(limits(hour=2), store, metrics)
    await limiter.reserve(caller)
    private_redis.kill()
    with await limiter.reserve(caller):
        private_redis.start()
        await asyncio.sleep(0.05)
        await store.ping()
    await store.ping()
    assert await admitted(limiter, caller, 3) == 1


async def test_the_local_buckets_refill_with_time(
    private_redis: RedisServer, store_at: StoreAt, metrics: Metrics, caller: Caller
) -> None:
    now = [100.0]
    limiter = Limiter(limits(minute=2), store_at(private_redis, breaker_seconds=60), metrics, clock=lambda: now[0])
    private_redis.kill()
    assert await admitted(limiter, caller, 3) == 2
    now[0] += 30
    assert await admitted(limiter, caller, 3) == 1


async def test_the_local_buckets_are_bounded(
    private_redis: RedisServer, store_at: StoreAt, metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.quota.limiter._MAX_LOCAL_USERS", 3)
    limiter = Limiter(limits(hour=5), store_at(private_redis, breaker_seconds=60), metrics)
    private_redis.kill()
    for number in range(10):
        await limiter.reserve(Caller("t", f"u{number}"))
    assert [user for _, user in limiter._local] == ["u7", "u8", "u9"]
