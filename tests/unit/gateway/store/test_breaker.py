"""The breaker: open after a failure, one try a period, closed after a success."""

from __future__ import annotations

from gateway.store.breaker import Breaker


class _Time:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_it_is_closed_until_something_fails() -> None:
    breaker = Breaker(1.0, _Time())
    assert breaker.closed
    assert [breaker.allows() for _ in range(3)] == [True, True, True]


def test_it_is_open_for_its_period_after_a_failure() -> None:
    time = _Time()
    breaker = Breaker(1.0, time)
    breaker.failed()
    assert not breaker.closed
    assert not breaker.allows()
    time.now += 0.999
    assert not breaker.allows()


def test_after_the_period_exactly_one_call_may_try() -> None:
    time = _Time()
    breaker = Breaker(1.0, time)
    breaker.failed()
    time.now += 1.0
    assert [breaker.allows() for _ in range(3)] == [True, False, False]
    assert not breaker.closed


def test_a_try_whose_end_is_never_told_does_not_keep_it_open_for_ever() -> None:
    time = _Time()
    breaker = Breaker(1.0, time)
    breaker.failed()
    for _ in range(3):
        time.now += 1.0
        assert [breaker.allows() for _ in range(2)] == [True, False]


def test_a_try_that_fails_opens_it_for_another_period_from_then() -> None:
    time = _Time()
    breaker = Breaker(1.0, time)
    breaker.failed()
    time.now += 1.0
    assert breaker.allows()
    time.now += 0.6
    breaker.failed()
    time.now += 0.9
    assert not breaker.allows()
    time.now += 0.1
    assert breaker.allows()


def test_a_try_that_succeeds_closes_it() -> None:
    time = _Time()
    breaker = Breaker(1.0, time)
    breaker.failed()
    time.now += 1.0
    assert breaker.allows()
    breaker.succeeded()
    assert breaker.closed
    assert [breaker.allows() for _ in range(3)] == [True, True, True]
