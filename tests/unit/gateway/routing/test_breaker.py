"""Engines that fail requests are taken out, for longer each time, and come back slowly."""

from __future__ import annotations

import pytest

from config import RoutingSettings
from gateway.domain import Replica
from gateway.routing import breaker
from gateway.routing.member import Member

SETTINGS = RoutingSettings(breaker_failures=3, breaker_seconds=5, breaker_max_seconds=15, slow_start_seconds=9)


def engine() -> Member:
    """Return an engine that is new."""
    return Member(Replica("a", "h", 1))


def test_so_many_failures_in_a_row_trip_it_and_an_answer_starts_the_count_anew() -> None:
    member = engine()
    assert [breaker.tripped(member, SETTINGS) for _ in range(2)] == [False, False]
    breaker.answered(member)
    assert [breaker.tripped(member, SETTINGS) for _ in range(3)] == [False, False, True]


def test_the_time_out_doubles_up_to_a_bound() -> None:
    member = engine()
    until = []
    for _ in range(4):
        breaker.eject(member, SETTINGS, now=100.0)
        until.append(member.ejected_until - 100.0)
    assert until == [5, 10, 15, 15]


def test_on_trial_one_failure_is_enough() -> None:
    member = engine()
    breaker.eject(member, SETTINGS, now=0.0)
    breaker.come_back(member)
    assert breaker.tripped(member, SETTINGS)


def test_it_comes_back_by_and_by_and_then_the_past_is_forgotten() -> None:
    member = engine()
    breaker.eject(member, SETTINGS, now=0.0)
    breaker.come_back(member)
    shares = [member.share]
    for _ in range(9):
        breaker.grow(member, SETTINGS, seconds=1.0)
        shares.append(member.share)
    assert shares == pytest.approx([0.1 + k / 9 for k in range(9)] + [1.0])
    assert member.ejections == 0
    assert not breaker.tripped(member, SETTINGS)
