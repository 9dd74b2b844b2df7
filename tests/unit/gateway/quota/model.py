"""What limits in Redis are, in plain Python: the scripts are held to it on histories that no test would think of."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from gateway.domain import Usage
from gateway.quota.bucket import Balance, given_back, refilled, wait_seconds
from gateway.quota.estimate import Expected
from gateway.quota.permit import Charge
from gateway.quota.plan import Plan

BucketKey = tuple[str, str]
CONCURRENT_WAIT_SECONDS = 1.0


@dataclass
class Open:
    """A reservation under way."""

    plan: Plan
    expected: Expected
    lease_ends: float


@dataclass
class Model:
    """Redis's keys of one tenant. Every method takes the moment in seconds."""

    lease_seconds: float
    balances: dict[BucketKey, Balance] = field(default_factory=dict)
    open: dict[str, Open] = field(default_factory=dict)
    places: dict[str, dict[str, float]] = field(default_factory=dict)
    reaped: dict[str, Expected] = field(default_factory=dict)
    ledger: Counter[tuple[str, str]] = field(default_factory=Counter)

    def current(self, plan: Plan, now: float) -> list[Balance]:
        """Return the plan's buckets as they are now."""
        full = [Balance(rule.capacity, now) for rule in plan.rules]
        found = [
            self.balances.get((key, rule.name), balance)
            for key, rule, balance in zip(plan.rule_keys, plan.rules, full, strict=True)
        ]
        return [refilled(rule, balance, now) for rule, balance in zip(plan.rules, found, strict=True)]

    def wait(self, plan: Plan, expected: Expected, now: float) -> float:
        """Return how long the request has to wait: 0 for none."""
        wait = 0.0
        for key, (_, limit) in zip(plan.set_keys, plan.sets, strict=True):
            places = self.places.setdefault(key, {})
            for request_id in [each for each, ends in places.items() if ends <= now]:
                del places[request_id]
            if len(places) >= limit:
                wait = CONCURRENT_WAIT_SECONDS
                self.places[key] = {each: min(ends, now + self.lease_seconds) for each, ends in places.items()}
        for rule, balance in zip(plan.rules, self.current(plan, now), strict=True):
            wait = max(wait, wait_seconds(rule, balance, rule.need(expected.tokens)))
        return wait

    def take(self, request_id: str, plan: Plan, expected: Expected, now: float) -> None:
        """Grant the request."""
        for key, rule, balance in zip(plan.rule_keys, plan.rules, self.current(plan, now), strict=True):
            self.balances[key, rule.name] = Balance(balance.amount - rule.need(expected.tokens), now)
        for key in plan.set_keys:
            self.places[key][request_id] = now + self.lease_seconds
        self.open[request_id] = Open(plan, expected, now + self.lease_seconds)

    def settle(self, request_id: str, plan: Plan, expected: Expected, charge: Charge, usage: Usage, now: float) -> bool:
        """Close it, once. Return whether it was open, or booked unsettled."""
        for key in plan.set_keys:
            self.places.get(key, {}).pop(request_id, None)
        if request_id in self.reaped:
            booked = self.reaped.pop(request_id)
            self._book(plan, -1, Usage(-booked.prompt_tokens, -booked.output_tokens), unsettled=-1)
        elif request_id in self.open:
            del self.open[request_id]
        else:
            return False
        for key, rule in zip(plan.rule_keys, plan.rules, strict=True):
            if charge is Charge.NOTHING:
                back = rule.need(expected.tokens)
            elif charge is Charge.USAGE and rule.counts_tokens:
                back = rule.need(expected.tokens) - usage.total_tokens
            else:
                back = 0.0
            if back:
                self.balances[key, rule.name] = given_back(rule, self.balances[key, rule.name], now, back)
        if charge is Charge.USAGE:
            self._book(plan, 1, usage)
        elif charge is Charge.RESERVED:
            self._book(plan, 1, Usage(expected.prompt_tokens, expected.output_tokens), unmetered=1)
        return True

    def renew(self, request_ids: list[str], now: float) -> None:
        """Hold them for another lease."""
        for request_id in request_ids:
            if request_id in self.open:
                self.open[request_id].lease_ends = now + self.lease_seconds

    def renew_places(self, request_ids: dict[str, Plan], now: float) -> None:
        """Hold their places, taking again those that were lost."""
        for request_id, plan in request_ids.items():
            for key in plan.set_keys:
                self.places.setdefault(key, {})[request_id] = now + self.lease_seconds

    def reap(self, patience_seconds: float, now: float) -> int:
        """Book what was left open."""
        late = [each for each, open_ in self.open.items() if open_.lease_ends <= now - patience_seconds]
        for request_id in late:
            open_ = self.open.pop(request_id)
            used = Usage(open_.expected.prompt_tokens, open_.expected.output_tokens)
            self._book(open_.plan, 1, used, unsettled=1)
            self.reaped[request_id] = open_.expected
        for open_ in self.open.values():
            open_.lease_ends = min(open_.lease_ends, now + self.lease_seconds)
        return len(late)

    def _book(self, plan: Plan, requests: int, used: Usage, unmetered: int = 0, unsettled: int = 0) -> None:
        amounts = {
            "requests": requests,
            "prompt": used.prompt_tokens,
            "completion": used.completion_tokens,
            "cached": used.cached_tokens,
            "unmetered": unmetered,
            "unsettled": unsettled,
        }
        for what, amount in amounts.items():
            self.ledger[plan.ledger_field, what] += amount
