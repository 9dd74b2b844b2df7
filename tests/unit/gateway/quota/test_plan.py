"""Plans are worked out once, and anew when what they stand on has changed."""

from __future__ import annotations

import time

import pytest

from config import LimitsSettings
from gateway.domain import Caller, Limits, Tier
from gateway.quota import plan
from gateway.quota.plan import Plans
from gateway.quota.rules import default_tier
from gateway.quota.terms import Calendar

MIDNIGHT = 1_800_057_600
ANN = Caller("t", "ann")


@pytest.fixture
def plans(monkeypatch: pytest.MonkeyPatch) -> Plans:
    """Plans, a second before midnight."""
    set_clock(monkeypatch, MIDNIGHT - 1)
    settings = LimitsSettings()
    return Plans(default_tier(settings), Calendar(settings))


def set_clock(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Make it that moment."""
    monkeypatch.setattr(time, "time", lambda: seconds)


def test_a_caller_keeps_its_plan(plans: Plans) -> None:
    first = plans.of(ANN, "m")
    assert plans.of(Caller("t", "ann"), "m") is first
    assert plans.of(ANN, "n") is not first
    assert plans.of(Caller("t", "bob"), "m") is not first


def test_another_tier_makes_another_plan_and_the_same_tier_read_again_does_not(plans: Plans) -> None:
    first = plans.of(Caller("t", "ann", tier=Tier("a", user=Limits(5))), "m")
    assert plans.of(Caller("t", "ann", tier=Tier("a", user=Limits(5))), "m") is first
    assert plans.of(Caller("t", "ann", tier=Tier("a", user=Limits(6))), "m") is not first


def test_a_request_is_booked_on_the_day_it_was_admitted(plans: Plans, monkeypatch: pytest.MonkeyPatch) -> None:
    days = []
    for moment in (MIDNIGHT - 0.1, MIDNIGHT, MIDNIGHT + 86_399, MIDNIGHT - 5):
        set_clock(monkeypatch, moment)
        (ledger,) = (key for key in plans.of(ANN, "m").calls.usage.keys if ":usage:" in key)
        days.append(ledger.rpartition(":")[2])
    assert days == ["2027-01-15", "2027-01-16", "2027-01-16", "2027-01-15"]


def test_without_a_ledger_nothing_is_booked() -> None:
    settings = LimitsSettings(usage_retention_days=0)
    made = Plans(default_tier(settings), Calendar(settings)).of(ANN, "m")
    assert made.ledger_field not in (*made.calls.usage.arguments, *made.calls.reserve.arguments)


def test_so_many_plans_are_kept_and_the_oldest_is_made_anew(plans: Plans, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "_MAX_PLANS", 2)
    first, second, third = (plans.of(ANN, model) for model in ("a", "b", "c"))
    assert (plans.of(ANN, "b"), plans.of(ANN, "c")) == (second, third)
    assert plans.of(ANN, "a") is not first
