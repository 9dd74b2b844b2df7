"""Token-bucket arithmetic, pure. The Lua script does the same; a property test holds the two together."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rule:
    """A bucket that holds `capacity` and refills continuously, so that it is full again after `window_seconds`."""

    name: str
    capacity: int
    window_seconds: int

    @property
    def refill_per_second(self) -> float:
        """Continuous, so there is no window edge at which twice the limit fits."""
        return self.capacity / self.window_seconds


@dataclass(frozen=True, slots=True)
class Balance:
    """What a bucket held at a moment."""

    amount: float
    at_seconds: float


def refilled(rule: Rule, balance: Balance, now_seconds: float) -> Balance:
    """Return the balance at `now_seconds`; a clock that went back adds nothing."""
    elapsed = max(0.0, now_seconds - balance.at_seconds)
    return Balance(
        min(rule.capacity, balance.amount + elapsed * rule.refill_per_second), max(now_seconds, balance.at_seconds)
    )


def wait_seconds(rule: Rule, balance: Balance, need: float) -> float:
    """Return how long until `need` is there; 0 if it is now."""
    return max(0.0, (need - balance.amount) / rule.refill_per_second)


def reserve(
    rules: tuple[Rule, ...], balances: tuple[Balance, ...], now_seconds: float, need: float = 1.0
) -> tuple[float, tuple[Balance, ...]]:
    """Take `need` from every bucket or from none. Return the seconds to wait (0: taken) and the balances after."""
    current = tuple(refilled(rule, balance, now_seconds) for rule, balance in zip(rules, balances, strict=True))
    wait = max((wait_seconds(rule, b, need) for rule, b in zip(rules, current, strict=True)), default=0.0)
    if wait > 0:
        return wait, current
    return 0.0, tuple(Balance(b.amount - need, b.at_seconds) for b in current)
