"""Waits double up to a bound, within a budget that fills up again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config import EngineSettings
from engine.restart import RestartPolicy

POLICY = RestartPolicy(initial_seconds=1, max_seconds=10, budget=6, window_seconds=100)


@pytest.mark.parametrize(
    ("restarts", "now", "wait_seconds"),
    [
        ((), 0.0, 1),
        ((0.0,), 1.0, 2),
        ((0.0, 1.0), 3.0, 4),
        ((0.0, 1.0, 3.0), 7.0, 8),
        ((0.0, 1.0, 3.0, 7.0), 15.0, 10),
        ((0.0, 1.0, 3.0, 7.0, 15.0), 25.0, 10),
        ((0.0, 1.0, 3.0, 7.0, 15.0, 25.0), 35.0, None),
        # The first is forgotten once it is a whole window old, and not before.
        ((0.0, 1.0, 3.0, 7.0, 15.0, 25.0), 99.9, None),
        ((0.0, 1.0, 3.0, 7.0, 15.0, 25.0), 100.0, 10),
        ((0.0, 1.0, 3.0, 7.0, 15.0, 25.0), 1000.0, 1),
    ],
)
def test_the_wait_doubles_up_to_a_bound_until_the_budget_is_used_up(
    restarts: tuple[float, ...], now: float, wait_seconds: float | None
) -> None:
    assert POLICY.next_wait_seconds(restarts, now) == wait_seconds


def test_a_budget_of_none_allows_no_restart() -> None:
    assert RestartPolicy(1, 10, 0, 100).next_wait_seconds((), 0.0) is None


def test_the_settings_say_the_policy() -> None:
    settings = EngineSettings(
        restart_initial_seconds=2, restart_max_seconds=3, restart_budget=4, restart_window_seconds=5
    )
    assert RestartPolicy.of(settings) == RestartPolicy(2, 3, 4, 5)


@given(
    restarts=st.lists(st.floats(0, 1000), max_size=50).map(sorted).map(tuple),
    later=st.floats(0, 2000),
    budget=st.integers(0, 60),
)
def test_a_wait_is_always_within_its_bounds_and_refused_only_for_the_budget(
    restarts: tuple[float, ...], later: float, budget: int
) -> None:
    policy = RestartPolicy(1, 10, budget, 100)
    now = max(restarts, default=0.0) + later
    wait_seconds = policy.next_wait_seconds(restarts, now)
    counted = policy.recent(restarts, now)
    assert (wait_seconds is None) == (len(counted) >= budget)
    assert wait_seconds is None or 1 <= wait_seconds <= 10
    assert all(now - at < 100 for at in counted)


def test_thousands_of_restarts_are_counted_too() -> None:
    policy = RestartPolicy(1, 10, 5000, 1e9)
    assert policy.next_wait_seconds(tuple(map(float, range(4000))), 4000.0) == 10
