"""Token-bucket arithmetic: never more than the limit, never less than was promised."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.quota.bucket import Balance, Rule, given_back, refilled, reserve, wait_seconds

MINUTE = Rule("minute", 60, 60)
HOUR = Rule("hour", 100, 3600)
RULES = st.builds(
    Rule, st.just("r"), st.integers(min_value=1, max_value=1000), st.integers(min_value=1, max_value=3600)
)
MOMENTS = st.floats(min_value=0, max_value=10_000)


@pytest.mark.parametrize(
    ("balance", "now", "expected"),
    [
        (Balance(0, 0), 1, Balance(1, 1)),
        (Balance(0, 0), 60, Balance(60, 60)),
        (Balance(0, 0), 6000, Balance(60, 6000)),
        (Balance(60, 0), 10, Balance(60, 10)),
        (Balance(5, 10), 10, Balance(5, 10)),
        (Balance(5, 10), 3, Balance(5, 3)),
        (Balance(-10, 0), 5, Balance(-5, 5)),
    ],
)
def test_a_bucket_refills_continuously_up_to_its_capacity(balance: Balance, now: float, expected: Balance) -> None:
    assert refilled(MINUTE, balance, now) == expected


@pytest.mark.parametrize(("amount", "need", "expected"), [(1, 1, 0), (5, 1, 0), (0, 1, 1), (0.5, 1, 0.5), (-1, 2, 3)])
def test_the_wait_is_until_what_is_needed_is_there(amount: float, need: float, expected: float) -> None:
    assert wait_seconds(MINUTE, Balance(amount, 0), need) == expected


def test_a_request_is_taken_from_every_bucket() -> None:
    full = (Balance(60, 0), Balance(100, 0))
    assert reserve((MINUTE, HOUR), full, 0) == (0.0, 0, (Balance(59, 0), Balance(99, 0)))


def test_a_refused_request_takes_from_none_and_waits_for_the_slowest() -> None:
    wait, index, after = reserve((MINUTE, HOUR), (Balance(60, 0), Balance(0, 0)), 0)
    assert (wait, index) == (36, 1)
    assert after == (Balance(60, 0), Balance(0, 0))


def test_without_buckets_everything_passes() -> None:
    assert reserve((), (), 0) == (0.0, 0, ())


@given(RULES, st.lists(st.floats(min_value=0, max_value=100), min_size=1, max_size=100))
def test_no_window_lets_more_through_than_the_capacity_and_its_refill(rule: Rule, pauses: list[float]) -> None:
    now, admitted = 0.0, 0
    balances: tuple[Balance, ...] = (Balance(rule.capacity, 0.0),)
    for pause in pauses:
        now += pause
        wait, _, balances = reserve((rule,), balances, now)
        admitted += wait == 0
        assert -1e-6 <= balances[0].amount <= rule.capacity
        assert admitted <= rule.capacity + now * rule.refill_per_second + 1e-6


@given(RULES, st.floats(min_value=0, max_value=1), MOMENTS)
def test_whoever_waits_as_long_as_told_is_let_through(rule: Rule, share: float, now: float) -> None:
    before = (Balance(rule.capacity * share * 0.999, now),)
    wait, _, after = reserve((rule,), before, now)
    if wait > 0:
        again, *_ = reserve((rule,), after, now + wait + 1e-6)
        assert again == 0


@given(RULES, MOMENTS, MOMENTS)
def test_a_clock_that_went_back_adds_nothing_and_takes_nothing(rule: Rule, at: float, now: float) -> None:
    balance = Balance(rule.capacity / 2, max(at, now))
    assert refilled(rule, balance, min(at, now)).amount == balance.amount


TOKENS = Rule("tokens", 600, 60, counts_tokens=True)


def test_tokens_are_taken_from_the_buckets_that_count_them() -> None:
    _, _, after = reserve((MINUTE, TOKENS), (Balance(60, 0), Balance(600, 0)), 0, 250)
    assert after == (Balance(59, 0), Balance(350, 0))


@pytest.mark.parametrize(("amount", "wait"), [(600, 0), (599, 0.1), (-60, 66)])
def test_a_request_larger_than_the_bucket_is_let_through_when_the_bucket_is_full(amount: float, wait: float) -> None:
    waits, _, after = reserve((TOKENS,), (Balance(amount, 0),), 0, 10_000)
    assert waits == pytest.approx(wait)
    assert after[0].amount == (0 if wait == 0 else amount)


@pytest.mark.parametrize(
    ("amount", "back", "expected"), [(100, 50, 150), (590, 50, 600), (100, -150, -50), (600, -1000, -400)]
)
def test_what_was_not_used_comes_back_and_what_was_used_above_is_debt(
    amount: float, back: float, expected: float
) -> None:
    assert given_back(TOKENS, Balance(amount, 0), 0, back) == Balance(expected, 0)


def test_the_refill_comes_before_the_debt_so_that_a_full_bucket_pays_all_of_it() -> None:
    assert given_back(TOKENS, Balance(599, 0), 60, -100) == Balance(500, 60)
