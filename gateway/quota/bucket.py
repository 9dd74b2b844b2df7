"""Token-bucket arithmetic, pure. The Lua scripts do the same; a property test holds the two together."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rule:
    """A bucket that holds `capacity` and refills continuously, so that it is full again after `window_seconds`."""

    name: str
    capacity: float
    window_seconds: int
    counts_tokens: bool = False
    """Of prompt and answer; else it counts requests."""

    @property
    def refill_per_second(self) -> float:
        """Continuous, so there is no window edge at which twice the limit fits."""
        return self.capacity / self.window_seconds

    def need(self, tokens: float) -> float:
        """Return what a request takes. Never more than there can be: the rest becomes debt when it is settled."""
        return min(tokens, self.capacity) if self.counts_tokens else 1.0


@dataclass(frozen=True, slots=True)
class Balance:
    """What a bucket held at a moment; less than nothing where more was used than had been reserved."""

    amount: float
    at_seconds: float


def refilled(rule: Rule, balance: Balance, now_seconds: float) -> Balance:
    """Return the balance at `now_seconds`. A clock that went back adds nothing, and refills from there on."""
    elapsed = max(0.0, now_seconds - balance.at_seconds)
    return Balance(min(rule.capacity, balance.amount + elapsed * rule.refill_per_second), now_seconds)


def wait_seconds(rule: Rule, balance: Balance, need: float) -> float:
    """Return how long until `need` is there; 0 if it is now."""
    return max(0.0, (need - balance.amount) / rule.refill_per_second)


def reserve(
    rules: tuple[Rule, ...], balances: tuple[Balance, ...], now_seconds: float, tokens: float = 0.0
) -> tuple[float, int, tuple[Balance, ...]]:
    """Take a request of `tokens` from every bucket or from none.

    Return the seconds to wait (0: taken), the index of the bucket that is waited for longest, and the balances after.
    """
    current = tuple(refilled(rule, balance, now_seconds) for rule, balance in zip(rules, balances, strict=True))
    waits = [wait_seconds(rule, b, rule.need(tokens)) for rule, b in zip(rules, current, strict=True)]
    longest = max(waits, default=0.0)
    if longest > 0:
        return longest, waits.index(longest), current
    taken = (Balance(b.amount - rule.need(tokens), b.at_seconds) for rule, b in zip(rules, current, strict=True))
    return 0.0, 0, tuple(taken)


def given_back(rule: Rule, balance: Balance, now_seconds: float, amount: float) -> Balance:
    """Return the balance with `amount` back, or taken where it is negative: debt is allowed, more than full is not."""
    current = refilled(rule, balance, now_seconds)
    return Balance(min(rule.capacity, current.amount + amount), now_seconds)
