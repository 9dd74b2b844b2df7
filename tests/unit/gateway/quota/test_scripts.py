"""The scripts against the model: thousands of histories with kills, replays and clocks that jump."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st

from config import LimitsSettings
from gateway.domain import Caller, Limits, RequestId, Tier, Usage
from gateway.quota.calls import RESERVE, SETTLE, reserve_arguments, settle_arguments
from gateway.quota.estimate import Expected
from gateway.quota.permit import NO_USAGE, Charge
from gateway.quota.plan import Plan, plan_of
from gateway.quota.terms import Calendar
from gateway.quota.upkeep import REAP, RENEW
from gateway.store import keys
from tests.fakes.redis_server import RedisServer
from tests.unit.gateway.quota.model import Model

LEASE_SECONDS = 30.0
START_US = 1_700_000_000_000_000
SETTINGS = LimitsSettings(lease_seconds=LEASE_SECONDS)


class Scripts:
    """The scripts as they run in Redis, at moments that the test gives."""

    def __init__(self, client: redis.Redis) -> None:
        self.tenant = uuid.uuid4().hex
        self.now_us = START_US
        self.terms = Calendar(SETTINGS).today()
        self._client = client
        self._run = {script.sha: client.register_script(script.text) for script in (RESERVE, SETTLE, RENEW, REAP)}

    @property
    def now(self) -> float:
        """The moment in seconds."""
        return self.now_us / 1e6

    def reserve(self, request_id: str, plan: Plan, expected: Expected) -> tuple[int, int, list[float]]:
        """Return the wait in milliseconds, what is waited for, and the balances."""
        call = plan.calls.reserve
        arguments: list[Any] = [*call.arguments, *reserve_arguments(RequestId(request_id), expected)]
        arguments[1] = self.now_us
        wait_ms, waits_for, *thousandths = self._run[RESERVE.sha](call.keys, arguments)
        return wait_ms, waits_for, [value / 1000 for value in thousandths]

    def settle(
        self, request_id: str, plan: Plan, expected: Expected, charge: Charge, usage: Usage, alone: bool = False
    ) -> bool:
        """Return whether it did anything."""
        estimate = Usage(expected.prompt_tokens, expected.output_tokens)
        used = {Charge.USAGE: usage, Charge.RESERVED: estimate, Charge.NOTHING: NO_USAGE}[charge]
        call = charge.call_of(plan.calls)
        last = settle_arguments(RequestId(request_id), expected, used, alone=alone)
        arguments: list[Any] = [*call.arguments, *last]
        arguments[0] = self.now_us
        return bool(self._run[SETTLE.sha](call.keys, arguments))

    def renew(self, permits: dict[str, Plan]) -> None:
        """Hold them for another lease."""
        held: dict[str, list[str]] = {keys.leases(self.tenant): list(permits)}
        for request_id, plan in permits.items():
            for key in plan.set_keys:
                held.setdefault(key, []).append(request_id)
        arguments: list[Any] = [self.terms.lease_us, self.now_us]
        for ids in held.values():
            arguments += [len(ids), *ids]
        self._run[RENEW.sha](list(held), arguments)

    def reap(self) -> int:
        """Return how many were booked."""
        names = (keys.leases(self.tenant), keys.reservations(self.tenant), keys.reaped(self.tenant))
        lease_us = self.terms.lease_us
        ledger = keys.usage(self.tenant, self.terms.day)
        return int(self._run[REAP.sha]([*names, ledger], [lease_us, lease_us, self.now_us, 1000, 500]))

    def ledger(self) -> dict[str, int]:
        """Return what is booked and not zero."""
        found: Any = self._client.hgetall(keys.usage(self.tenant, self.terms.day))
        return {field.decode(): int(amount) for field, amount in found.items() if int(amount)}

    def open(self) -> set[str]:
        """Return the ids of open reservations."""
        found: Any = self._client.hkeys(keys.reservations(self.tenant))
        leased: Any = self._client.zrange(keys.leases(self.tenant), 0, -1)
        assert set(found) == set(leased)
        return {each.decode() for each in found}

    def places(self, key: str) -> set[str]:
        """Return who holds a place among the concurrent requests."""
        found: Any = self._client.zrange(key, 0, -1)
        return {each.decode() for each in found}


LIMITS = st.builds(
    Limits,
    requests_per_minute=st.sampled_from([0, 3, 7]),
    requests_per_hour=st.sampled_from([0, 11]),
    tokens_per_minute=st.sampled_from([0, 90, 400]),
    tokens_per_day=st.sampled_from([0, 1300]),
    concurrent_requests=st.sampled_from([0, 1, 3]),
)
TIERS = st.builds(Tier, st.just("t"), LIMITS, LIMITS, LIMITS)
USAGES = st.builds(Usage, st.integers(0, 300), st.integers(0, 300), st.integers(0, 9))
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("reserve"), st.integers(0, 3), st.builds(Expected, st.integers(0, 200), st.integers(0, 200))),
        # Few requests and many settles: most are of one that was refused, or settled before.
        st.tuples(st.just("settle"), st.integers(0, 7), st.sampled_from(Charge), USAGES),
        st.tuples(st.just("kill"), st.integers(0, 7)),
        st.tuples(st.just("renew")),
        st.tuples(st.just("reap")),
        st.tuples(st.just("pause"), st.sampled_from([0.001, 0.5, 1.0, 11.0, 31.0, 61.0, 4000.0, 90_000.0])),
        st.tuples(st.just("pause"), st.sampled_from([-0.5, -31.0, -4000.0])),
    ),
    min_size=12,
    max_size=30,
)


class History:
    """One history, told to both."""

    def __init__(self, client: redis.Redis, tier: Tier) -> None:
        self.scripts = Scripts(client)
        self.model = Model(LEASE_SECONDS)
        callers = [Caller(self.scripts.tenant, user) for user in ("ann", "bob")]
        self.plans = [plan_of(caller, name, tier, self.scripts.terms) for caller in callers for name in ("m", "n")]
        self.ids: list[tuple[str, Plan, Expected]] = []
        self.alive: dict[str, Plan] = {}

    def step(self, step: tuple[Any, ...]) -> None:
        """Do one thing to both and compare."""
        getattr(self, f"_{step[0]}")(*step[1:])

    def _pause(self, seconds: float) -> None:
        self.scripts.now_us += round(seconds * 1e6)

    def _reserve(self, index: int, expected: Expected) -> None:
        plan, now = self.plans[index], self.scripts.now
        request_id = f"req_{len(self.ids)}"
        before = self.model.current(plan, now)
        expected_wait = self.model.wait(plan, expected, now)
        wait_ms, waits_for, balances = self.scripts.reserve(request_id, plan, expected)
        assert wait_ms == pytest.approx(expected_wait * 1000, abs=2, rel=1e-6)
        if wait_ms == 0:
            assert expected_wait < 0.001
            self.model.take(request_id, plan, expected, now)
            self.alive[request_id] = plan
            before = self.model.current(plan, now)
        else:
            assert waits_for != 0
        assert balances == pytest.approx([balance.amount for balance in before], abs=0.01)
        self.ids.append((request_id, plan, expected))

    def _settle(self, index: int, charge: Charge, usage: Usage) -> None:
        if self.ids:
            request_id, plan, expected = self.ids[index % len(self.ids)]
            told = self.scripts.settle(request_id, plan, expected, charge, usage)
            assert told == self.model.settle(request_id, plan, expected, charge, usage, self.scripts.now)
            self.alive.pop(request_id, None)

    def _kill(self, index: int) -> None:
        if self.ids:
            self.alive.pop(self.ids[index % len(self.ids)][0], None)

    def _renew(self) -> None:
        self.scripts.renew(self.alive)
        self.model.renew(list(self.alive), self.scripts.now)
        self.model.renew_places(self.alive, self.scripts.now)

    def _reap(self) -> None:
        assert self.scripts.reap() == self.model.reap(LEASE_SECONDS, self.scripts.now)

    def check(self) -> None:
        """Compare all that is left."""
        assert self.scripts.open() == set(self.model.open)
        for key, places in self.model.places.items():
            assert self.scripts.places(key) == set(places)
        booked = {f"{field}:{what}": amount for (field, what), amount in self.model.ledger.items() if amount}
        assert self.scripts.ledger() == booked
        # No request is ever booked twice, whatever was killed, replayed or reaped.
        granted = len(self.model.open) + sum(
            amount for (_, what), amount in self.model.ledger.items() if what == "requests"
        )
        assert granted <= len(self.ids)


def play(redis_server: RedisServer, tier: Tier, steps: list[tuple[Any, ...]]) -> None:
    """Play a history to its end."""
    with redis.Redis(unix_socket_path=redis_server.socket_path) as client:
        history = History(client, tier)
        for step in steps:
            history.step(step)
        history.check()


@settings(max_examples=50, deadline=None)
@given(tier=TIERS, steps=STEPS)
def test_the_scripts_do_what_the_model_does_on_any_history(
    redis_server: RedisServer, tier: Tier, steps: list[tuple[Any, ...]]
) -> None:
    play(redis_server, tier, steps)


@pytest.mark.slow
@pytest.mark.timeout(600)
@settings(max_examples=1000, deadline=None)
@given(tier=TIERS, steps=STEPS)
def test_the_scripts_do_what_the_model_does_on_a_thousand_histories(
    redis_server: RedisServer, tier: Tier, steps: list[tuple[Any, ...]]
) -> None:
    play(redis_server, tier, steps)


# What the histories do not show: other callers, other limits, other settings.

EXPECTED = Expected(30, 20)
TOKENS = Tier("t", user=Limits(requests_per_minute=5, tokens_per_minute=600, concurrent_requests=9))


@pytest.fixture
def scripts(redis_server: RedisServer) -> Any:
    """The scripts on a tenant of their own."""
    with redis.Redis(unix_socket_path=redis_server.socket_path) as client:
        yield Scripts(client)


def plan(scripts: Scripts, tier: Tier = TOKENS, user: str = "ann") -> Plan:
    """Return a plan of the scripts' tenant."""
    return plan_of(Caller(scripts.tenant, user), "m", tier, scripts.terms)


@pytest.mark.parametrize("charge", Charge)
def test_a_settle_counts_once_and_only_for_what_was_granted(scripts: Scripts, charge: Charge) -> None:
    mine = plan(scripts)
    scripts.reserve("a", mine, EXPECTED)
    for request_id, told in (("a", [True, False, False]), ("never", [False, False])):
        assert [scripts.settle(request_id, mine, EXPECTED, charge, Usage(7, 3)) for _ in told] == told
    assert scripts.ledger().get(f"{mine.ledger_field}:requests", 0) == (charge is not Charge.NOTHING)


def test_the_wait_is_for_the_slowest_bucket(scripts: Scripts) -> None:
    mine = plan(scripts, Tier("t", user=Limits(requests_per_hour=1, tokens_per_minute=60)))
    scripts.reserve("a", mine, EXPECTED)
    assert scripts.reserve("b", mine, EXPECTED)[:2] == (3_600_000, 1)


def test_what_was_reserved_of_a_bucket_is_charged_and_no_more(scripts: Scripts) -> None:
    mine = plan(scripts)
    scripts.reserve("a", mine, Expected(30, 8000))
    scripts.settle("a", mine, Expected(30, 8000), Charge.RESERVED, NO_USAGE)
    assert scripts.reserve("b", mine, EXPECTED)[0] == 5000, "the bucket is empty, not in debt"


def test_a_day_of_the_ledger_is_forgotten_after_its_time(scripts: Scripts) -> None:
    mine = plan(scripts)
    scripts.reserve("a", mine, EXPECTED)
    scripts.settle("a", mine, EXPECTED, Charge.USAGE, Usage(7, 3))
    left: Any = scripts._client.ttl(keys.usage(scripts.tenant, scripts.terms.day))
    assert scripts.terms.ledger_seconds - 60 < left <= scripts.terms.ledger_seconds


def test_a_lowered_limit_holds_at_once_for_a_bucket_that_is_fuller(scripts: Scripts) -> None:
    scripts.reserve("a", plan(scripts, Tier("t", user=Limits(requests_per_minute=100))), EXPECTED)
    lowered = plan(scripts, Tier("t", user=Limits(requests_per_minute=2)))
    assert scripts.reserve("b", lowered, EXPECTED) == (0, 0, [1.0])


def test_a_bucket_is_forgotten_when_it_must_be_full_again_and_not_before_its_debt_is_paid(scripts: Scripts) -> None:
    mine, key = plan(scripts), keys.quota_of_user(scripts.tenant, "ann")
    scripts.reserve("a", mine, EXPECTED)
    left: Any = scripts._client.ttl(key)
    assert 60 < left <= 73
    scripts.settle("a", mine, EXPECTED, Charge.USAGE, Usage(6000, 0))
    left = scripts._client.ttl(key)
    assert 600 < left <= 661


def test_a_refund_to_a_bucket_that_has_gone_makes_no_key(scripts: Scripts) -> None:
    mine, key = plan(scripts), keys.quota_of_user(scripts.tenant, "ann")
    scripts.reserve("a", mine, EXPECTED)
    scripts._client.delete(key)
    assert scripts.settle("a", mine, EXPECTED, Charge.NOTHING, Usage(0, 0))
    assert scripts._client.exists(key) == 0


def test_a_debt_to_a_bucket_that_has_gone_is_not_forgiven(scripts: Scripts) -> None:
    mine = plan(scripts)
    scripts.reserve("a", mine, EXPECTED)
    scripts._client.delete(keys.quota_of_user(scripts.tenant, "ann"))
    scripts.settle("a", mine, EXPECTED, Charge.USAGE, Usage(1050, 0))
    assert scripts.reserve("b", mine, EXPECTED)[0] == 45_000


def test_what_a_gateway_granted_alone_is_booked_once_whether_redis_knew_of_it_or_not(scripts: Scripts) -> None:
    mine = plan(scripts)
    scripts.reserve("known", mine, EXPECTED)
    for request_id in ("known", "unknown"):
        told = [scripts.settle(request_id, mine, EXPECTED, Charge.USAGE, Usage(7, 3), alone=True) for _ in range(3)]
        assert told == [True, False, False]
    assert scripts.ledger() == {f"{mine.ledger_field}:{what}": n for what, n in
                                (("requests", 2), ("prompt", 14), ("completion", 6))}  # fmt: skip
    assert scripts.reap() == 0


@pytest.mark.parametrize("expected", [Expected(0, 0), Expected(30, 0), Expected(0, 20)])
def test_what_was_reaped_is_taken_back_when_it_settles_late_even_where_nothing_was_expected(
    scripts: Scripts, expected: Expected
) -> None:
    mine = plan(scripts)
    scripts.reserve("a", mine, expected)
    scripts.now_us += 100_000_000
    assert scripts.reap() == 1
    assert scripts.settle("a", mine, expected, Charge.USAGE, Usage(7, 3))
    assert scripts.ledger() == {f"{mine.ledger_field}:{what}": n for what, n in
                                (("requests", 1), ("prompt", 7), ("completion", 3))}  # fmt: skip


def test_a_users_name_may_hold_anything(scripts: Scripts) -> None:
    for user in ('"]:requests', "ä:{}", "a b"):
        mine = plan(scripts, user=user)
        scripts.reserve(user, mine, EXPECTED)
        scripts.now_us += 100_000_000
        assert scripts.reap() == 1
        assert scripts.ledger()[f"{mine.ledger_field}:unsettled"] == 1


def test_places_are_forgotten_when_nobody_renews_them_any_more(scripts: Scripts) -> None:
    mine, key = plan(scripts), keys.concurrent_of_user(scripts.tenant, "ann")
    scripts.reserve("a", mine, EXPECTED)
    left: Any = scripts._client.pttl(key)
    assert LEASE_SECONDS * 1000 < left <= 2 * LEASE_SECONDS * 1000
    scripts._client.persist(key)
    scripts.renew({"a": mine})
    left = scripts._client.pttl(key)
    assert LEASE_SECONDS * 1000 < left <= 2 * LEASE_SECONDS * 1000
