"""Failures are counted for each address, for a while, and for a bounded number of addresses."""

from __future__ import annotations

import pytest

from gateway.identity import failed_attempts
from gateway.identity.failed_attempts import FailedAttempts


class Clock:
    """A clock that a test moves."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_so_many_a_minute_and_then_a_wait_that_is_just_enough() -> None:
    clock = Clock()
    attempts = FailedAttempts(6, clock)
    assert [attempts.failed("a") for _ in range(6)] == [0] * 6
    assert attempts.failed("a") == attempts.failed("a") == 10_000
    clock.now = 9.0
    assert attempts.failed("a") == 1000
    clock.now = 10.0
    assert attempts.failed("a") == 0
    assert attempts.failed("a") == 10_000


def test_addresses_count_apart_and_a_minute_forgives_all() -> None:
    clock = Clock()
    attempts = FailedAttempts(2, clock)
    assert [attempts.failed("a") for _ in range(3)][-1] > 0
    assert attempts.failed("b") == 0
    clock.now = 60.0
    assert [attempts.failed("a") == 0 for _ in range(3)] == [True, True, False]


def test_without_a_limit_nothing_is_counted() -> None:
    attempts = FailedAttempts(0)
    assert {attempts.failed("a") for _ in range(1000)} == {0}
    assert not attempts._left


def test_addresses_are_bounded_and_the_one_least_seen_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failed_attempts, "_MAX_ADDRESSES", 3)
    attempts = FailedAttempts(1, Clock())
    for address in "abcad":
        attempts.failed(address)
    assert list(attempts._left) == ["c", "a", "d"]
