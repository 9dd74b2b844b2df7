"""Second tries are a share of the traffic."""

from __future__ import annotations

from gateway.routing.retry_budget import RetryBudget


def test_some_are_there_at_once_and_then_no_more() -> None:
    budget = RetryBudget(share=0.2)
    assert [budget.withdraw() for _ in range(21)] == [True] * 20 + [False]


def test_in_an_outage_they_are_no_more_than_their_share() -> None:
    budget = RetryBudget(share=0.2)
    allowed = 0
    for _ in range(10_000):
        budget.deposit()
        allowed += budget.withdraw()
    assert 2000 <= allowed <= 2025


def test_a_quiet_time_saves_up_no_more_than_at_the_start() -> None:
    budget = RetryBudget(share=1.0)
    for _ in range(1000):
        budget.deposit()
    assert [budget.withdraw() for _ in range(21)].count(True) == 20


def test_a_share_of_nothing_is_the_spare_ones_alone() -> None:
    budget = RetryBudget(share=0.0)
    for _ in range(100):
        budget.deposit()
        budget.withdraw()
    assert not budget.withdraw()
