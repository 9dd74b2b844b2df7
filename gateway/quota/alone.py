"""The buckets of this process, for while Redis is away: each gateway grants its share of every limit."""

from __future__ import annotations

from collections import Counter, OrderedDict

from gateway.domain import Clock
from gateway.quota.bucket import Balance, Rule, given_back, reserve
from gateway.quota.decision import Decision
from gateway.quota.plan import Plan

_MAX_BUCKETS = 40_000
_CONCURRENT_WAIT_SECONDS = 1.0


class LocalBuckets:
    """Limits divided by the gateways last seen. What an outage has used up is remembered for the next."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._balances: OrderedDict[tuple[str, str], Balance] = OrderedDict()
        self._running: Counter[str] = Counter()

    def reserve(self, plan: Plan, tokens: float, gateways: int) -> Decision:
        """Take a request from this gateway's share of every bucket, or from none."""
        for number, (at_once, (_, limit)) in enumerate(zip(plan.set_keys, plan.sets, strict=True), 1):
            if self._running[at_once] >= max(1, limit // gateways):
                return Decision(_CONCURRENT_WAIT_SECONDS, -number, self._amounts(plan))
        now = self._clock()
        rules = _shares(plan, gateways)
        keys = self._keys(plan)
        before = tuple(
            self._balances.get(key) or Balance(rule.capacity, now) for key, rule in zip(keys, rules, strict=True)
        )
        wait_seconds, index, after = reserve(rules, before, now, tokens)
        for key, balance in zip(keys, after, strict=True):
            self._keep(key, balance)
        if wait_seconds == 0:
            self._running.update(plan.set_keys)
        return Decision(wait_seconds, index + 1, tuple(balance.amount for balance in after))

    def settle(self, plan: Plan, reserved: float, used: float, gateways: int, *, whole: bool) -> None:
        """Give back the tokens that were not used, with `whole` the request too."""
        now = self._clock()
        for at_once in plan.set_keys:
            self._running[at_once] -= 1
            if self._running[at_once] <= 0:
                del self._running[at_once]
        for key, rule in zip(self._keys(plan), _shares(plan, gateways), strict=True):
            back = rule.need(reserved) - used if rule.counts_tokens else float(whole)
            if back and key in self._balances:
                self._keep(key, given_back(rule, self._balances[key], now, back))

    def _amounts(self, plan: Plan) -> tuple[float, ...]:
        found = map(self._balances.get, self._keys(plan))
        return tuple(rule.capacity if b is None else b.amount for b, rule in zip(found, plan.rules, strict=True))

    def _keep(self, key: tuple[str, str], balance: Balance) -> None:
        self._balances[key] = balance
        self._balances.move_to_end(key)
        if len(self._balances) > _MAX_BUCKETS:
            self._balances.popitem(last=False)

    @staticmethod
    def _keys(plan: Plan) -> tuple[tuple[str, str], ...]:
        return tuple((key, rule.name) for key, rule in zip(plan.rule_keys, plan.rules, strict=True))


def _shares(plan: Plan, gateways: int) -> tuple[Rule, ...]:
    """Return this gateway's share of each bucket: at least one request fits, though it may refill slowly."""
    return tuple(
        Rule(rule.name, max(1.0, rule.capacity / gateways), rule.window_seconds, rule.counts_tokens)
        for rule in plan.rules
    )
