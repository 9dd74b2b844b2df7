"""How long who waits will wait, by what has been measured."""

from __future__ import annotations

import pytest

from gateway.routing.service_rate import ServiceRate, retry_after_ms


def test_nothing_is_known_before_anything_has_ended() -> None:
    rate = ServiceRate()
    assert rate.wait_seconds(5, 4) is None
    rate.ended(1.0)
    assert rate.wait_seconds(5, 0) is None


def test_the_line_moves_as_fast_as_full_engines_end_requests() -> None:
    rate = ServiceRate()
    for _ in range(10):
        rate.ended(2.0)
    assert rate.wait_seconds(0, 4) == pytest.approx(0.5)
    assert rate.wait_seconds(7, 4) == pytest.approx(4.0)


def test_a_change_is_learnt_within_some_dozens_of_requests() -> None:
    rate = ServiceRate()
    for _ in range(1000):
        rate.ended(1.0)
    for _ in range(150):
        rate.ended(5.0)
    assert rate.hold_seconds == pytest.approx(5.0, rel=0.02)


@pytest.mark.parametrize(
    ("seconds", "spread", "expected"),
    [(None, 0.5, 1000), (2.0, 0.0, 2000), (2.0, 1.0, 2500), (0.001, 0.0, 100)],
)
def test_who_is_refused_is_told_when_the_line_will_have_been_served(
    seconds: float | None, spread: float, expected: int
) -> None:
    assert retry_after_ms(seconds, spread) == expected
